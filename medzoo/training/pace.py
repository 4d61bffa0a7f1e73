"""How long a run takes: measured while it trains, said after three steps, and kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable

KNOWN = 3  # steps after which a pace is said; the first one is often slower than the others


class Pace:
    """Seconds left of a run, from the steps that this process has made.

    Args:
        steps: of the whole run.
        clock: seconds since any time.
    """

    def __init__(self, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.clock = steps, clock
        self.made, self.begun = 0, clock()
        self.after_first = self.begun

    def count(self) -> None:
        """One more step was made."""
        self.made += 1
        if self.made == 1:
            self.after_first = self.clock()

    @property
    def seconds(self) -> float:
        """Of a step, without the first one; pictures and measurements between them are counted in."""
        if self.made < 2:
            return self.clock() - self.begun
        return (self.clock() - self.after_first) / (self.made - 1)

    def left(self, step: int) -> float:
        """Seconds from ``step`` to the last one."""
        return max(0, self.steps - step) * self.seconds


def duration(seconds: float) -> str:
    """``300 ms``, ``40 s``, ``12 min``, ``5.2 h``, ``2.1 days``: as exact as an estimate is."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    for unit, size, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * size:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"
