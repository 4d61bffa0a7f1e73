"""Images moved by whole pixels, each by its own shift."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def drawn(x: Tensor, draws: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Shifts [n, 1] down and right from U(0, 1) draws [2, n]: a ``share`` of x's sides at most, or a pixel."""
    reaches = (max(1, round(side * share)) for side in x.shape[2:])
    down, right = (whole(u, 2 * reach + 1)[:, None] - reach for u, reach in zip(draws, reaches, strict=True))
    return down, right


def zeros(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """x [n, c, h, w] shifted, zeros coming in."""
    h, w = x.shape[2:]
    rows, cols = ((torch.arange(side) - by + 1).clamp(0, side + 1) for side, by in ((h, down), (w, right)))
    return _gathered(F.pad(x, (1, 1, 1, 1)), rows, cols)


def mirrored(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """x [n, c, h, w] shifted, its mirror image at the border coming in."""
    h, w = x.shape[2:]
    rows, cols = (
        (side - 1 - (side - 1 - (torch.arange(side) - by).abs()).abs()) for side, by in ((h, down), (w, right))
    )
    return _gathered(x, rows, cols)


def whole(u: Tensor, count: int) -> Tensor:
    """U(0, 1) -> whole numbers 0 to ``count - 1``, all equally likely."""
    return (u.double() * count).long().clamp_max(count - 1)


def _gathered(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Pixels of x [n, c, H, W] at rows [n, h] and columns [n, w]: [n, c, h, w]."""
    each = torch.arange(len(x), device=x.device)[:, None, None]
    found = x.permute(0, 2, 3, 1)[each, rows[:, :, None].to(x.device), cols[:, None, :].to(x.device)]
    return found.permute(0, 3, 1, 2)
