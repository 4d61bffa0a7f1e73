"""Gradient penalty of WGAN-GP (Gulrajani et al., NeurIPS 2017, algorithm 1): slope 1 between data and samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medzoo.entry import PositiveFloat
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._slope import steepness


class GradientPenaltyOptions(Options):
    """What a configuration may state.

    Attributes:
        weight: lambda.
    """

    weight: PositiveFloat = 10.0


class GradientPenalty(Technique[GradientPenaltyOptions]):
    """lambda x (|grad D| - 1)^2 at a random place between each real and generated image, in every update of D."""

    Options = GradientPenaltyOptions

    def loss_d(self, view: StepView) -> Tensor:
        n = min(len(view.real_seen), len(view.fake_seen))
        return penalty(view.discriminate, view.real_seen[:n], view.fake_seen[:n], self.options.weight, view.rng)


def penalty(
    discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, weight: float, rng: torch.Generator
) -> Tensor:
    """``weight`` x (|grad D| - 1)^2 at a random place between each real and generated image, a scalar.

    Args:
        discriminate: images -> logits [n, p], whose mean over p is the D of an image.
        real, fake: images [n, c, h, w]; no gradient goes to them.
        rng: draws the places, on the CPU.
    """
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    between = share * real.detach() + (1 - share) * fake.detach().to(real)
    # The slope of sqrt at 0 is infinite, and a dead discriminator would become NaN.
    slope = (steepness(discriminate, between) + 1e-16).sqrt()
    return weight * (slope - 1).square().mean()


TECHNIQUE = GradientPenalty
