"""Progress of long work: a bar where a person sees it, the caller's own function, or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from medzoo.files.streams import is_terminal

if TYPE_CHECKING:
    from tqdm import tqdm

ENVIRONMENT = "MEDZOO_PROGRESS"  # 0 for no bars that nobody asked for
PATIENCE = 1.0  # seconds of work that show no such bar

# (samples done, of how many, (network calls done, of how many) of the batch under way or None)
Progress = Callable[[int, int, tuple[int, int] | None], None]


@contextmanager
def shown(progress: bool | Progress | None, unit: str = "image") -> Iterator[Progress]:
    """What to call as work goes on.

    Args:
        progress: True for a bar on stderr; None for one where a person sees it (a terminal, a notebook), once the work
            takes longer than a second, and unless the environment variable MEDZOO_PROGRESS is 0; False for none; or a
            function of one's own.
        unit: what is counted, in the words of the bar.
    """
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not is_wanted()):
        yield lambda done, n, step: None
        return
    bars: list[tqdm[Any]] = []

    def show(done: int, n: int, step: tuple[int, int] | None) -> None:
        if not bars:  # it appears when the first are under way
            bars.append(_bar(n, done, unit, delay=0.0 if progress else PATIENCE))
        if step is not None:
            bars[0].set_postfix_str(f"step {step[0]} of {step[1]}", refresh=False)
        bars[0].update(done - bars[0].n)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()


def is_wanted() -> bool:
    """Whether a bar that nobody asked for is shown: a person sees it, and the environment does not refuse it."""
    if os.environ.get(ENVIRONMENT, "").strip() == "0":
        return False
    return is_terminal(sys.stderr) or is_notebook()


def is_notebook() -> bool:
    """Whether this is the kernel of a notebook; imports nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _bar(n: int, done: int, unit: str, delay: float) -> tqdm[Any]:
    import warnings

    with warnings.catch_warnings():  # of a notebook without widgets, where a plain bar does as well
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    # In a log file a line every ten seconds will do.
    pace = 0.1 if is_terminal(sys.stderr) or is_notebook() else 10.0
    return tqdm(total=n, initial=done, unit=unit, mininterval=pace, miniters=0, dynamic_ncols=True, delay=delay)
