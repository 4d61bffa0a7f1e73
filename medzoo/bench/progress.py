"""Progress on standard error: one line that changes on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medzoo.bench.pace import Pace, in_words
from medzoo.files.streams import is_terminal
from medzoo.progress import is_notebook

Tell = Callable[[str, str, int, int], None]
"""Called with the contender, what is under way, and how much of it is done: (done, total), 0 where nobody knows."""
LOG_EVERY = 30.0  # seconds


def silent(contender: str, what: str, done: int, total: int) -> None:
    """Say nothing."""


@contextmanager
def shown(pace: Pace) -> Iterator[Tell]:
    """What shows the progress and how long the rest takes."""
    if not is_terminal(sys.stderr) and not is_notebook():
        yield _logged(pace)
        return
    from tqdm.auto import tqdm

    with tqdm(bar_format="{desc} [{elapsed}{postfix}]", dynamic_ncols=True, leave=False) as bar:

        def show(contender: str, what: str, done: int, total: int) -> None:
            bar.set_description_str(f"{contender}: {what}" + (f" {done}/{total}" if total else ""), refresh=False)
            bar.set_postfix_str(f"{in_words(pace.left)} left")

        yield show


def _logged(pace: Pace) -> Tell:
    said: tuple[str, str, float] = ("", "", 0.0)

    def log(contender: str, what: str, done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if said[:2] != (contender, what) or now - said[2] > LOG_EVERY:
            said = (contender, what, now)
            count = f" {done}/{total}" if done else ""
            print(f"{contender}: {what}{count} ({in_words(pace.left)} left)", file=sys.stderr, flush=True)

    return log
