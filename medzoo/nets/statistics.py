"""Norms by the statistics of each sample, from one reading of a map whose memory is channels_last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def moments(x: Tensor, piece: int = 2**17) -> tuple[Tensor, Tensor]:
    """Mean and variance over height and width, float32 [n, c], to six digits.

    The sums are of differences from a rough mean, lest the squares of large numbers leave few digits for the variance;
    of a few numbers at a time, which stay in a core's cache; as matrix products, which read fastest.
    """
    if x.is_contiguous():
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
        return mean, variance
    pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
    n, count, channels = pixels.shape
    rough = pixels[:, :: -(-count // 64)].float().mean(dim=1, keepdim=True)
    total = squares = rough.new_zeros(())
    for part in pixels.split(max(1, piece // (n * channels)), dim=1):
        difference = part - rough
        ones = rough.new_ones(part.shape[1])
        total, squares = total + ones @ difference, squares + ones @ difference.square_()
    offset = total / count
    return rough[:, 0] + offset, (squares / count - offset.square()).clamp_min(0)


def instance_norm_(
    x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, out: Tensor | None = None
) -> Tensor:
    """Norm of [n, c, h, w] by the statistics of each sample, into ``out``; without one it overwrites ``x`` on a CPU."""
    if x.device.type != "cpu":
        normed = F.instance_norm(x, weight=gain, bias=bias, eps=eps)
        return normed if out is None else out.copy_(normed)
    mean, variance = moments(x)
    scale = torch.rsqrt(variance + eps) if gain is None else gain * torch.rsqrt(variance + eps)
    shift = -mean * scale if bias is None else bias - mean * scale
    return _scaled(x, scale, shift, out=x if out is None else out)


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
