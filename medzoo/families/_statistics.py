"""Norms by the statistics of each sample, from one reading of a map whose memory is channels_last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Pixels summed in one go (few, so that little is lost to rounding), and numbers held in a cache at a time.
RUN, PIECE = 64, 2**17
# Maps up to this many pixels, and those of odd sizes, are left to torch: its exact sums are slow on large ones only.
SMALL = 1024


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over height and width of [n, c, h, w], float32 [n, c], to six digits.

    The sums are of differences from a rough mean: squares of large numbers would leave few digits for the variance.
    """
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2).float()
    n, count, channels = pixels.shape
    if count <= SMALL or count % RUN:
        variance, mean = torch.var_mean(pixels, dim=1, correction=0)
        return mean, variance
    rough = pixels[:, :: max(1, count // 256)].mean(dim=1)
    ones = pixels.new_ones(1, RUN)  # a matrix product reads faster than a sum
    total = squares = pixels.new_zeros(())
    for part in pixels.view(n, -1, RUN, channels).split(max(1, PIECE // (RUN * channels * n)), dim=1):
        difference = part - rough[:, None, None]
        total = total + (ones @ difference).sum((1, 2))
        squares = squares + (ones @ difference.square_()).sum((1, 2))
    offset = total / count
    return rough + offset, (squares / count - offset.square()).clamp_min(0)


def instance_norm_(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Instance norm without anything learned, [n, c, h, w]; overwrites ``x`` on a CPU."""
    if x.device.type != "cpu":
        return F.instance_norm(x, eps=eps)
    mean, variance = moments(x)
    scale = torch.rsqrt(variance + eps)
    return _scaled(x, scale, -mean * scale, out=x)


def group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Group norm [n, c, h, w]. (In channels_last memory on a CPU torch's own is exact to four digits only.)"""
    if x.device.type != "cpu":
        return F.group_norm(x, groups, weight, bias, eps)
    means, variances = (part.unflatten(1, (groups, -1)) for part in moments(x))
    mean = means.mean(2, keepdim=True)
    variance = (variances + (means - mean).square()).mean(2, keepdim=True)
    scale = torch.rsqrt(variance + eps).expand_as(means).flatten(1) * weight
    return _scaled(x, scale, bias - mean.expand_as(means).flatten(1) * scale)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor | None = None) -> Tensor:
    scale, shift = (part[:, :, None, None].to(x.dtype) for part in (scale, shift))
    return torch.addcmul(shift, x, scale) if out is None else torch.addcmul(shift, x, scale, out=out)
