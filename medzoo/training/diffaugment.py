"""DiffAugment (Zhao et al., NeurIPS 2020): the same differentiable augmentations for real and generated images.

Images are [n, c, h, w] in [-1, 1]. Colour changes touch the first ``colours`` channels only; geometry moves every
channel alike, so a mask stays on its image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def diffaugment(x: Tensor, policy: Sequence[str], colours: int, generator: torch.Generator) -> Tensor:
    """Apply the parts of ``policy`` (``color``, ``translation``, ``cutout``) with the published strengths."""
    for name in policy:
        x = PARTS[name](x, colours, generator)
    return x


def color(x: Tensor, colours: int, generator: torch.Generator) -> Tensor:
    """Brightness +-0.5, saturation 0-2, contrast 0.5-1.5, each uniform and per image."""
    image, rest = x[:, :colours], x[:, colours:]
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, generator=generator).to(x)
    image = image + (brightness - 0.5)
    grey = image.mean(1, keepdim=True)
    image = (image - grey) * (saturation * 2) + grey
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * (contrast + 0.5) + mean
    return torch.cat([image, rest], 1)


def translation(x: Tensor, colours: int, generator: torch.Generator, ratio: float = 0.125) -> Tensor:
    """Shift by up to 1/8 of each side, whole pixels, zeros coming in."""
    n, _, h, w = x.shape
    dy = torch.randint(-round(h * ratio), round(h * ratio) + 1, (n, 1), generator=generator)
    dx = torch.randint(-round(w * ratio), round(w * ratio) + 1, (n, 1), generator=generator)
    rows = (torch.arange(h) + dy + 1).clamp(0, h + 1)
    cols = (torch.arange(w) + dx + 1).clamp(0, w + 1)
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    moved = padded[torch.arange(n)[:, None, None], rows[:, :, None].to(x.device), cols[:, None, :].to(x.device)]
    return moved.permute(0, 3, 1, 2)


def cutout(x: Tensor, colours: int, generator: torch.Generator, ratio: float = 0.5) -> Tensor:
    """Zero a square of half the side, centred anywhere."""
    n, _, h, w = x.shape
    cut_h, cut_w = round(h * ratio), round(w * ratio)
    top = torch.randint(0, h + 1 - cut_h % 2, (n, 1), generator=generator) - cut_h // 2
    left = torch.randint(0, w + 1 - cut_w % 2, (n, 1), generator=generator) - cut_w // 2
    rows, cols = torch.arange(h), torch.arange(w)
    inside = ((rows >= top) & (rows < top + cut_h))[:, :, None] & ((cols >= left) & (cols < left + cut_w))[:, None, :]
    return x * (~inside)[:, None].to(x)


PARTS = {"color": color, "translation": translation, "cutout": cutout}
