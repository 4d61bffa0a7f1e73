"""The progress bar of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medzoo.files.streams import is_terminal
from medzoo.training.pace import KNOWN, Pace, duration

SHORT, LONG = 60.0, 900.0  # seconds of a run that need no words, and for which shorter ones are named
Report = Callable[[int, dict[str, float]], None]  # called after every step with its number and losses


@contextmanager
def bar(total: int, *, quiet: bool, shorter: Callable[[float], str] = lambda seconds: "") -> Iterator[Report]:
    """A bar on standard error, up to ``total`` steps, and what the run is going to take after three of them.

    Args:
        quiet: show nothing.
        shorter: seconds of a step -> what to type for a shorter run; empty for nothing.
    """
    from tqdm import tqdm

    # In a log file a bar line every half minute will do.
    pause = 0.5 if is_terminal(sys.stderr) else 30.0
    quiet = quiet or sys.stderr is None
    with tqdm(total=total, unit="step", disable=quiet, mininterval=pause, smoothing=0.05, dynamic_ncols=True) as shown:
        pace = Pace(total)

        def report(step: int, losses: dict[str, float]) -> None:
            pace.count()
            if pace.made == 1:  # rate and time left count this session's steps, without those made before
                shown.initial = shown.n = shown.last_print_n = step - 1
            shown.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
            shown.update()
            left = pace.left(step)
            if pace.made == KNOWN and left > SHORT and not quiet:
                advice = shorter(pace.seconds) if left > LONG else ""
                words = f"{total - step} steps left: about {duration(left)} here, {duration(pace.seconds)} a step"
                shown.write(f"{words}{'; ' if advice else ''}{advice}", file=sys.stderr)

        yield report
