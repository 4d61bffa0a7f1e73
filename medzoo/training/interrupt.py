"""Ctrl-C in training: the step under way is finished and saved, and then the run ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medzoo.training.run import Run

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run was interrupted (Ctrl-C or SIGTERM), and its state is saved: the same call goes on from there.

    Attributes:
        run: as it was saved.
        signum: the signal.
    """

    def __init__(self, run: Run, signum: int) -> None:
        super().__init__(
            f"step {run.step} of {run.steps} is saved in {run.folder}; to go on from there, call train again in the "
            "same way"
        )
        self.run, self.signum = run, signum


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) only fills the list, so that the step under way is finished; the second ends.

    Outside of the main thread, where Python handles no signals, the list stays empty.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        restore()
        print("\nSaving after this step (again: end at once) ...", file=sys.stderr)

    def restore() -> None:
        for watched, handler in before.items():
            signal.signal(watched, handler)

    before = {watched: signal.getsignal(watched) for watched in WATCHED}
    for watched in WATCHED:
        signal.signal(watched, note)
    try:
        yield caught
    finally:
        restore()
