"""Affine maps of images, exact where pixels land on pixels and band-limited elsewhere.

Positions are (x right, y down) in pixels from the middle of the image. A map is a matrix [n, 3, 3] in float64 that
takes positions of the input to positions of the output; ``b @ a`` is a, then b. The image goes on beyond its borders
as in a mirror, without repeating the border pixels.

Between pixels, images are up-sampled to twice the size with the sym6 wavelet, interpolated linearly there, and
down-sampled with the same filter turned round (Karras et al., NeurIPS 2020, appendix B). The two filterings undo each
other, since the wavelet is orthonormal. Everything is linear in the pixels and differentiable as often as wanted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Scaling filter of the symlet with six vanishing moments (Daubechies, "Ten Lectures on Wavelets", table 6.3).
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
REACH = len(SYM6) // 2 - 1  # fine samples before those of a pixel, at which its filter begins
# Not being symmetric, the filter brings smooth images this many fine samples late. Where that were not reckoned with, a
# flipped image would lie a tenth of a pixel off.
DELAY = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6) - REACH


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Move images [n, c, h, w] by maps [n, 3, 3]; the shape, type and place of the images are kept.

    Images under the identity come back bit by bit, and so do pixels that land on pixels: flips, quarter turns, whole
    shifts.
    """
    inverse = torch.linalg.inv(maps.double().cpu())
    kinds = [kind(one, images.shape[2], images.shape[3]) for one in inverse]
    if not any(kinds):
        return images
    order = sorted(range(len(kinds)), key=kinds.__getitem__)
    parts = []
    for which, move in enumerate((None, gather, resample)):
        chosen = [i for i in order if kinds[i] == which]
        if chosen:
            part = images if len(chosen) == len(images) else images[chosen]
            parts.append(part if move is None else move(part, inverse[chosen]))
    moved = parts[0] if len(parts) == 1 else torch.cat(parts)
    return moved if order == sorted(order) else moved[torch.tensor(order).argsort().to(moved.device)]


def kind(inverse: Tensor, height: int, width: int) -> int:
    """0 for the identity, 1 where pixels come from pixels, 2 for the rest."""
    if torch.equal(inverse, torch.eye(3, dtype=inverse.dtype)):
        return 0
    corner = inverse @ inverse.new_tensor([(1 - width) / 2, (1 - height) / 2, 1])
    whole = torch.cat([inverse[:2, :2].flatten(), corner[:2] + corner.new_tensor([(width - 1) / 2, (height - 1) / 2])])
    return 1 if bool(((whole - whole.round()).abs() < 1e-9).all()) else 2


def gather(images: Tensor, inverse: Tensor) -> Tensor:
    """Each pixel of the output is a pixel of the input."""
    n, c, h, w = images.shape
    positions = inverse @ pixels(h, w, inverse.dtype)
    cols = mirrored((positions[:, 0] + (w - 1) / 2).round().long(), w)
    rows = mirrored((positions[:, 1] + (h - 1) / 2).round().long(), h)
    index = (rows * w + cols).to(images.device)[:, None].expand(n, c, h * w)
    return images.flatten(2).gather(2, index).reshape(n, c, h, w)


def resample(images: Tensor, inverse: Tensor) -> Tensor:
    """Up-sample what the output needs of the mirrored plane, interpolate, down-sample."""
    h, w = images.shape[2:]
    # The output needs a filter's reach of fine samples around its pixels.
    rows, cols = (torch.arange(-REACH, 2 * n + REACH, dtype=torch.float64) for n in (h, w))
    corners = come_from(inverse, rows[[0, -1]], cols[[0, -1]], h, w)
    (left, right), (top, bottom) = ((math.floor(float(at.min())), math.floor(float(at.max())) + 2) for at in corners)
    with torch.autocast(images.device.type, enabled=False):
        x = images if images.dtype == torch.float64 else images.float()
        fine = up(h, top, bottom).to(x) @ x @ up(w, left, right).to(x).T
        x_at, y_at = come_from(inverse.to(x), rows.to(x), cols.to(x), h, w)
        grid = torch.stack([2 * (x_at - left) / (right - left - 1) - 1, 2 * (y_at - top) / (bottom - top - 1) - 1], -1)
        seen = F.grid_sample(fine, grid, "bilinear", "zeros", align_corners=True)
        return (down(h).to(x) @ seen @ down(w).to(x).T).to(images.dtype)


def come_from(inverse: Tensor, rows: Tensor, cols: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where, among the fine samples of the input, those of the output lie: x and y, each [n, rows, cols].

    Fine sample j lies at pixel (j - DELAY) / 2.
    """
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    x, y = (cols - DELAY) / 2 - x0, (rows[:, None] - DELAY) / 2 - y0
    m = inverse[..., None, None]
    x_at, y_at = (m[:, axis, 0] * x + m[:, axis, 1] * y + m[:, axis, 2] for axis in (0, 1))
    return 2 * (x_at + x0) + DELAY, 2 * (y_at + y0) + DELAY


def up(n: int, first: int, last: int) -> Tensor:
    """Matrix [last - first, n] from n pixels to fine samples ``first`` to ``last - 1`` of the mirrored line."""
    matrix = torch.zeros(last - first, n, dtype=torch.float64)
    fine = torch.arange(first, last)
    for tap in range(len(SYM6)):
        on = (fine - tap + REACH) % 2 == 0
        pixel = (fine[on] - tap + REACH) // 2
        value = torch.full((int(on.sum()),), math.sqrt(2) * SYM6[tap], dtype=torch.float64)
        matrix.index_put_((on.nonzero().flatten(), mirrored(pixel, n)), value, accumulate=True)
    return matrix


def down(n: int) -> Tensor:
    """Matrix [n, 2n + 2 REACH] from fine samples -REACH, ... to n pixels."""
    matrix = torch.zeros(n, 2 * n + 2 * REACH, dtype=torch.float64)
    pixel = torch.arange(n)
    for tap, value in enumerate(SYM6):
        matrix[pixel, 2 * pixel + tap] = value / math.sqrt(2)
    return matrix


def mirrored(index: Tensor, n: int) -> Tensor:
    """Whole numbers -> 0 to n - 1: ..., 2, 1, 0, 1, ..., n - 2, n - 1, n - 2, ..."""
    period = max(2 * (n - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if n > 1 else index


def pixels(h: int, w: int, dtype: torch.dtype) -> Tensor:
    """Positions (x, y, 1) of all pixels, row by row: [3, h * w]."""
    y, x = torch.meshgrid(
        torch.arange(h, dtype=dtype) - (h - 1) / 2, torch.arange(w, dtype=dtype) - (w - 1) / 2, indexing="ij"
    )
    return torch.stack([x.flatten(), y.flatten(), torch.ones(h * w, dtype=dtype)])


def pick(on: Tensor, maps: Tensor) -> Tensor:
    """``maps`` where ``on`` [n], the identity elsewhere."""
    return torch.where(on[:, None, None], maps, torch.eye(3, dtype=maps.dtype))


def affine(n: int, xx: Tensor | float, xy: Tensor | float, yx: Tensor | float, yy: Tensor | float) -> Tensor:
    """Maps [n, 3, 3] of x' = xx x + xy y, y' = yx x + yy y."""
    maps = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    for (row, col), value in {(0, 0): xx, (0, 1): xy, (1, 0): yx, (1, 1): yy}.items():
        maps[:, row, col] = torch.as_tensor(value, dtype=torch.float64)
    return maps


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Larger by the factors x and y [n]; -1 is a flip."""
    return affine(len(x), x, 0.0, 0.0, y)


def turn(angle: Tensor) -> Tensor:
    """Counter-clockwise as seen, by angles [n] in radians."""
    cos, sin = angle.double().cos(), angle.double().sin()
    return affine(len(angle), cos, sin, -sin, cos)


def quarter_turns(count: Tensor) -> Tensor:
    """Counter-clockwise by 90 degrees, ``count`` times [n], in whole numbers."""
    cos, sin = torch.tensor([1.0, 0.0, -1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0, -1.0])
    which = count.long() % 4
    return affine(len(count), cos[which], sin[which], -sin[which], cos[which])


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Right by x and down by y pixels, each [n]."""
    maps = torch.eye(3, dtype=torch.float64).repeat(len(x), 1, 1)
    maps[:, 0, 2], maps[:, 1, 2] = x.double(), y.double()
    return maps
