"""What every discriminator gives the trainer, and the hinge loss of FastGAN's code that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[Tensor, Tensor]  # images [n, c, s, s] in [-1, 1] and their small copies


@dataclass(frozen=True)
class Comparison:
    """One look at a real and a generated batch.

    Attributes:
        loss: the discriminator's, with its gradient.
        real, fake: logits, without gradient.
        reconstruction: the self-supervision that ``loss`` holds, before its weight; zero where there is none.
        again: logits of the generated batch by the discriminator as it has become, with the generator's gradient.
    """

    loss: Tensor
    real: Tensor
    fake: Tensor
    reconstruction: Tensor
    again: Callable[[], Tensor]


def hinge_real(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Hinge loss of real logits with a margin drawn from U(0.8, 1) for each element."""
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin - logits).mean()


def hinge_fake(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Hinge loss of generated logits, margin as in :func:`hinge_real`."""
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin + logits).mean()
