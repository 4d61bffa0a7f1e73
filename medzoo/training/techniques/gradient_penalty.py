"""Gradient penalty of WGAN-GP (Gulrajani et al., NeurIPS 2017, algorithm 1): slope 1 between data and samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from medzoo.entry import Record
from medzoo.training.techniques._base import Look, Technique
from medzoo.training.techniques._slope import steepness


class Options(Record):
    """What a configuration may state.

    Attributes:
        weight: lambda.
    """

    weight: Annotated[float, Field(gt=0)] = 10.0


class GradientPenalty(Technique[Options]):
    """lambda x (|grad D| - 1)^2 at a random place between each real and generated image, in every critic update."""

    Options = Options

    def loss_d(self, look: Look) -> Tensor:
        n = min(len(look.real_seen), len(look.fake_seen))
        return penalty(look.judge, look.real_seen[:n], look.fake_seen[:n], self.options.weight, look.rng)


def penalty(
    judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, weight: float, rng: torch.Generator
) -> Tensor:
    """The mean over the images [n, c, h, w]."""
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    between = share * real.detach() + (1 - share) * fake.detach().to(real)
    # The slope of sqrt at 0 is infinite, and a dead critic would become NaN.
    slope = (steepness(judge, between) + 1e-16).sqrt()
    return weight * (slope - 1).square().mean()


TECHNIQUE = GradientPenalty
