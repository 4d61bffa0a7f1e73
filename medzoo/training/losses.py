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
class GeneratorLoss:
    """The generator's loss, after the discriminator's update.

    Attributes:
        loss: a scalar with its gradient.
        logits: [n, p], the discriminator's of the generated batch, with the gradient.
        parts: numbers for the log that ``loss`` is made of.
    """

    loss: Tensor
    logits: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What the discriminator makes of a real and a generated batch.

    Attributes:
        loss: the discriminator's, with its gradient.
        real, fake: logits [n, p] of the two batches, with the gradient.
        score_fakes: called after the discriminator's update: its logits of the generated batch, and the generator's
            loss.
        parts: numbers for the log that ``loss`` is made of.
    """

    loss: Tensor
    real: Tensor
    fake: Tensor
    score_fakes: Callable[[], GeneratorLoss]
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def minus_mean(logits: Tensor) -> GeneratorLoss:
    """The generator's loss beside the hinge and Wasserstein losses: minus the mean of its logits [n, p]."""
    return GeneratorLoss(-logits.mean(), logits)


def hinge_real(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Mean hinge loss of the logits [n, p] of real images, a scalar.

    The margin of each logit is drawn from U(0.8, 1), as in FastGAN's code, by ``generator`` on the CPU.
    """
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin - logits).mean()


def hinge_fake(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Mean hinge loss of the logits [n, p] of generated images, a scalar; margins as in :func:`hinge_real`."""
    margin = 0.8 + 0.2 * torch.rand(logits.shape, generator=generator).to(logits)
    return F.relu(margin + logits).mean()


def non_saturating(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of the discriminator: -log s(real) - log(1 - s(fake)), each averaged over its logits [n, p].

    s is the sigmoid.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()
