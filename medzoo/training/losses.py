"""What recipes give the trainer, and the losses that families share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

Copies = tuple[Tensor, ...]  # images [n, c, s, s] in [-1, 1], and smaller copies of them where a family has any


@dataclass(frozen=True)
class Loss:
    """What a network without a discriminator learns from.

    Attributes:
        total: a scalar with its gradient.
        parts: numbers for the log that ``total`` is made of, the same names in every step.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What the discriminator says of a generated batch after its own update.

    Attributes:
        loss: the generator's, with its gradient.
        logits: [n, p], with the gradient.
        parts: numbers for the log that ``loss`` is made of.
    """

    loss: Tensor
    logits: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One look at a real and a generated batch.

    Attributes:
        loss: the discriminator's, with its gradient.
        real, fake: logits [n, p], with the gradient.
        again: what the discriminator, as it has become, says of the generated batch, for the generator.
        parts: numbers for the log that ``loss`` is made of.
    """

    loss: Tensor
    real: Tensor
    fake: Tensor
    again: Callable[[], Reply]
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def minus_mean(logits: Tensor) -> Reply:
    """The generator's side of the hinge and Wasserstein losses."""
    return Reply(-logits.mean(), logits)


def hinge_real(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Hinge loss of real logits with a margin drawn from U(0.8, 1) for each element (FastGAN's code)."""
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin - logits).mean()


def hinge_fake(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Hinge loss of generated logits, margin as in :func:`hinge_real`."""
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin + logits).mean()


def non_saturating(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of the discriminator, -log s(real) - log(1 - s(fake)), each averaged."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()
