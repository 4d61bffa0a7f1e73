"""How steep a discriminator is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def steepness(discriminate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """|grad D(x)|^2 of each image [n], differentiable; D is the mean of the logits [n, p] of an image."""
    images = images.detach().requires_grad_(True)
    with unscaled(images.device):
        logits = discriminate(images).flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3))


def unscaled(device: torch.device) -> torch.autocast:
    """For gradients that are part of a loss: not in float16, which has no room for those that nobody scales."""
    kind = device.type
    wide = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) != torch.float16
    return torch.autocast(kind, torch.bfloat16, enabled=wide)
