"""The resize between the scales of SinGAN: through 8 bits and a cubic kernel, edges as its published code has them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def enlarge(image: Tensor, factor: float) -> Tensor:
    """Through 8 bits and a cubic enlargement: [n, c, h, w] -> [n, c, ceil(h factor), ceil(w factor)], in [-1, 1].

    Grey levels are truncated, not rounded, before; afterwards they stay fractions.
    """
    levels = ((image.float() + 1) / 2).clamp(0, 1).mul(255).floor()
    down, right = (cubic_weights(length, factor, image.device) for length in image.shape[-2:])
    larger = (down @ levels @ right.t()) / 255
    return ((larger - 0.5) * 2).clamp(-1, 1).to(image.dtype)


@lru_cache(maxsize=256)
def cubic_weights(length: int, factor: float, device: torch.device) -> Tensor:
    """Float32 [ceil(length factor), length]: the enlargement of one axis by the cubic kernel with a = -0.5.

    Pixel centres lie at halves. Past the last pixel the image is mirrored; before the first there is nothing, and the
    other weights are scaled to a sum of 1 (an unsigned overflow in the published code).
    """
    larger = math.ceil(length * factor)
    weights = torch.zeros(larger, length, dtype=torch.float64)
    for row in range(larger):
        centre = (row + 1) / factor + 0.5 * (1 - 1 / factor) - 1
        pixels = [pixel for pixel in range(math.floor(centre) - 2, math.floor(centre) + 4) if pixel >= 0]
        taps = [_cubic(abs(centre - pixel)) for pixel in pixels]
        for pixel, tap in zip(pixels, taps, strict=True):
            weights[row, pixel if pixel < length else 2 * length - 1 - pixel] += tap / sum(taps)
    return weights.float().to(device)


def _cubic(x: float) -> float:
    """Cubic convolution (Keys 1981) with a = -0.5, at distance x >= 0."""
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0
