"""How long a benchmark still takes: a plan of its steps, and what each kind of step took so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

IMAGES, FEATURES, DRAWS = "images", "features", "draws"
# Seconds that a kind of step takes for 300 images of 128 pixels on one core of a laptop, until it has been seen.
_FIRST = {
    "agreement": 25.0, "classification": 30.0, "cmmd": 0.2, "cost": 15.0, "diversity": 0.1, "frechet": 0.5,
    "inception_score": 0.1, "kernel": 0.2, "masks": 1.0, "memorisation": 0.2, "mifid": 0.5, "ms_ssim": 4.0,
    "near_copies": 1.0, "prdc": 2.0, "segmentation": 30.0, "spectrum": 1.0, IMAGES: 10.0, FEATURES: 8.0,
}  # fmt: skip
_OTHER = 2.0


@dataclass(frozen=True)
class Step:
    """One thing to do for a row: a metric (by ``kind``), ``IMAGES`` or ``FEATURES``; ``weight``: times the usual."""

    kind: str
    weight: float = 1.0


@dataclass
class Pace:
    """The plan of a benchmark and its clock.

    Attributes:
        size: number of images, of the 300 that ``_FIRST`` holds for.
    """

    size: float = 1.0
    _plan: dict[str, list[Step]] = field(default_factory=dict)
    _seen: dict[str, float] = field(default_factory=dict)  # kind -> seconds of weight 1, the last time
    _now: tuple[str, Step, float] | None = None  # row, step, when it began
    _share: float = 0.0  # of the step under way, where it is known

    def plan(self, row: str, steps: Iterable[Step]) -> None:
        """What is to do for a row, instead of what was said before."""
        self._plan[row] = list(steps)

    def begin(self, row: str, kind: str) -> None:
        step = next((step for step in self._plan.get(row, ()) if step.kind == kind), Step(kind))
        self._now, self._share = (row, step, time.monotonic()), 0.0

    def inside(self, done: int, total: int) -> None:
        """How much of the images is made, or features where these are under way: nobody knows it of other steps."""
        if self._now is not None and self._now[1].kind in (IMAGES, FEATURES):
            self._share = done / total if total else 0.0

    def end(self) -> None:
        """The step under way is done."""
        if self._now is None:
            return
        row, step, began = self._now
        self._now = None
        self._seen[step.kind] = (time.monotonic() - began) / step.weight
        steps = self._plan.get(row, [])
        if step in steps:
            steps.remove(step)

    def drop(self, row: str) -> None:
        """Nothing more is to do for a row."""
        self._plan.pop(row, None)

    @property
    def left(self) -> float:
        """Seconds until all is done, as far as one can know."""
        total = sum(self._seconds(step) for steps in self._plan.values() for step in steps)
        if self._now is not None:
            passed = time.monotonic() - self._now[2]
            expected = self._seconds(self._now[1])
            if self._share > 0.05:
                expected = passed / self._share
            total += max(expected - passed, 0) - self._seconds(self._now[1])
        return max(total, 0.0)

    def seconds(self, kinds: Sequence[str]) -> float:
        """Of what is left, that which such steps take."""
        return sum(self._seconds(step) for steps in self._plan.values() for step in steps if step.kind in kinds)

    def _seconds(self, step: Step) -> float:
        if step.kind in self._seen:
            return self._seen[step.kind] * step.weight
        return _FIRST.get(step.kind, _OTHER) * self.size * self._slower * step.weight

    @property
    def _slower(self) -> float:
        """How much longer this machine took so far than ``_FIRST`` says."""
        known = [(seen, _FIRST.get(kind, _OTHER) * self.size) for kind, seen in self._seen.items() if seen > 0.2]
        return sum(seen for seen, _ in known) / sum(first for _, first in known) if known else 1.0


def in_words(seconds: float) -> str:
    """A time that is only about right.

    >>> in_words(8), in_words(96), in_words(7300)
    ('less than 15 s', 'about 2 min', 'about 2 h')
    """
    if seconds < 15:
        return "less than 15 s"
    if seconds < 55:
        return f"about {round(seconds / 10) * 10} s"
    if seconds < 5400:
        return f"about {max(round(seconds / 60), 1)} min"
    return f"about {round(seconds / 3600)} h"
