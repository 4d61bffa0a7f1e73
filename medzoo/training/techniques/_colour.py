"""Affine maps of colours: [n, 3, 4] in float64, three by three numbers and an offset, for values in [-1, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medzoo.errors import TrainingError

LUMA = torch.full((3, 3), 1 / 3, dtype=torch.float64)  # v v', v the grey axis (1, 1, 1) / sqrt 3
EYE = torch.eye(3, dtype=torch.float64)


def recolour(images: Tensor, maps: Tensor, colours: int) -> Tensor:
    """Images [n, c, h, w] with the first ``colours`` channels (1 or 3) mapped; the others, masks, stay as they are.

    A grey image is treated as one of three equal channels, of which the mean is kept.
    """
    if colours not in (1, 3):
        raise TrainingError(f"colour augmentation takes 1 or 3 image channels, found {colours}; leave it out")
    if torch.equal(maps, identity(len(maps))):
        return images
    if colours == 1:
        maps = torch.stack([maps[:, :, :3].mean(1).sum(1), maps[:, :, 3].mean(1)], 1)[:, None]
    maps = maps.to(images.device, torch.float64 if images.dtype == torch.float64 else torch.float32)
    with torch.autocast(images.device.type, enabled=False):
        image = images[:, :colours].flatten(2).to(maps.dtype)
        mapped = torch.baddbmm(maps[:, :, -1:], maps[:, :, :-1], image).to(images.dtype)
    return torch.cat([mapped.unflatten(2, images.shape[2:]), images[:, colours:]], 1)


def then(first: Tensor, second: Tensor) -> Tensor:
    """``first``, then ``second``."""
    linear = second[:, :, :3] @ first[:, :, :3]
    return torch.cat([linear, second[:, :, :3] @ first[:, :, 3:] + second[:, :, 3:]], 2)


def identity(n: int) -> Tensor:
    return linear_map(EYE.repeat(n, 1, 1))


def linear_map(matrices: Tensor) -> Tensor:
    """[n, 3, 3] with no offset."""
    return torch.cat([matrices, matrices.new_zeros(len(matrices), 3, 1)], 2)


def brightness(offset: Tensor) -> Tensor:
    """Add ``offset`` [n] to every channel."""
    maps = identity(len(offset))
    maps[:, :, 3] = offset.double()[:, None]
    return maps


def contrast(factor: Tensor) -> Tensor:
    """Multiply every channel by ``factor`` [n], about the middle of the range."""
    return linear_map(factor.double()[:, None, None] * EYE)


def luma_flip(on: Tensor) -> Tensor:
    """Where ``on`` [n], dark becomes bright and hue and saturation stay."""
    return linear_map(EYE - 2 * on.double()[:, None, None] * LUMA)


def hue(angle: Tensor) -> Tensor:
    """Turn about the grey axis by ``angle`` [n]; 2/3 pi takes red to green, green to blue and blue to red."""
    cos, sin = angle.double().cos()[:, None, None], angle.double().sin()[:, None, None]
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], dtype=torch.float64) / math.sqrt(3)
    return linear_map(cos * EYE + sin * cross + (1 - cos) * LUMA)


def saturation(factor: Tensor) -> Tensor:
    """Multiply the distance to grey by ``factor`` [n]."""
    wide = factor.double()[:, None, None]
    return linear_map(wide * EYE + (1 - wide) * LUMA)
