"""The progress bar of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medzoo.files.streams import is_terminal

Report = Callable[[int, dict[str, float]], None]  # called after every step with its number and losses


@contextmanager
def bar(total: int, *, quiet: bool) -> Iterator[Report]:
    """A bar on standard error, up to ``total`` steps; ``quiet`` shows nothing."""
    from tqdm import tqdm

    # In a log file a bar line every half minute will do.
    pace = 0.5 if is_terminal(sys.stderr) else 30.0
    quiet = quiet or sys.stderr is None
    with tqdm(total=total, unit="step", disable=quiet, mininterval=pace, smoothing=0.05, dynamic_ncols=True) as shown:
        begun = False

        def report(step: int, losses: dict[str, float]) -> None:
            nonlocal begun
            if not begun:  # rate and time left count this session's steps, without those made before
                shown.initial = shown.n = shown.last_print_n = step - 1
                begun = True
            shown.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
            shown.update()

        yield report
