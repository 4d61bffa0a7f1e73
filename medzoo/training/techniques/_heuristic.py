"""How strong an augmentation should be, from how sure the discriminator is of the real images it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field
from torch import Tensor

from medzoo.entry import PositiveFloat, PositiveInt
from medzoo.training.techniques._base import Options, Technique


class AdaptiveOptions(Options):
    """What ADA and APA share, at the published defaults.

    Attributes:
        target: of r, the mean sign of the logits of real images: 0 while real and generated look alike to the
            discriminator, 1 when it has learned the real images by heart.
        interval: steps between two corrections of the probability.
        kimg: thousands of real images over which the probability rises from 0 to 1; the papers take 100 where
            training goes on from trained networks.
        start: probability to begin with.
        limit: the probability stays at most this: from 1 on, no untouched real image would be seen any more, and the
            generator could learn the augmented ones.
    """

    target: Annotated[float, Field(gt=-1, lt=1)] = 0.6
    interval: PositiveInt = 4
    kimg: PositiveFloat = 500
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    limit: Annotated[float, Field(gt=0, lt=1)] = 0.99


A = TypeVar("A", bound=AdaptiveOptions)


class Adaptive(Technique[A]):
    """A technique whose strength is ``heuristic.p``; ``after`` of a subclass shows the heuristic each step's logits."""

    def __init__(self, options: A, batch: int) -> None:
        super().__init__(options, batch)
        self.heuristic = Heuristic(options, batch)

    def state(self) -> dict[str, Any]:
        return self.heuristic.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.heuristic.load_state(state)


class Heuristic:
    """Raises the probability while r is above its target, lowers it while below (Karras et al. 2020, section 3).

    Attributes:
        p: the probability, from 0 to ``options.limit``.
        r: the last mean sign that was acted on; before the first, 0.

    Args:
        batch: real images of one step.
    """

    def __init__(self, options: AdaptiveOptions, batch: int) -> None:
        self.options, self.batch = options, batch
        self.p, self.r = min(options.start, options.limit), 0.0
        self.total, self.seen = 0.0, 0

    def see(self, logits: Tensor) -> None:
        """The logits of the real images of one step, of any shape."""
        options = self.options
        self.total += float(logits.sign().mean())
        self.seen += 1
        if self.seen < options.interval:
            return
        self.r, self.total, self.seen = self.total / self.seen, 0.0, 0
        way = (self.r > options.target) - (self.r < options.target)
        step = self.batch * options.interval / (options.kimg * 1000)
        self.p = min(max(self.p + way * step, 0.0), options.limit)

    def state(self) -> dict[str, Any]:
        return {"p": self.p, "r": self.r, "total": self.total, "seen": self.seen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.p, self.r = float(state["p"]), float(state["r"])
        self.total, self.seen = float(state["total"]), int(state["seen"])
