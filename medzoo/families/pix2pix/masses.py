"""Random masks of breast masses, drawn from uniform numbers alone: the same numbers give the same mask.

Shapes as in medigan's mask generator: a closed curve of cubic Bezier pieces through a few random points, three for an
oval mass, five or six for a lobulated one. Its numbers are those of 256 pixels; other sizes scale them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Tries to find points that lie apart, and the most points of a shape.
TRIES, MOST_POINTS = 16, 6
# Uniform numbers that one mass takes.
MASS_NUMBERS = 4 + TRIES * MOST_POINTS * 2
# Points of a shape, and how far its tangents reach, in units of the distance between neighbours.
OVAL, LOBULATED = ((3, 3), (0.3, 0.51)), ((5, 6), (0.3, 0.61))
EXTENT = (140 / 256, 150 / 256)  # of the square that the points lie in
OUTLINE = 120  # corners of the polygon that stands for the curve
# Grey levels of a filled mask, chosen here: a mass brighter than the tissue around it, both with grain.
MASS, TISSUE, GRAIN = 0.6, 0.35, 0.15


def masses(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Oval and lobulated masks, half of each in the long run, in the middle of the image.

    Args:
        numbers: U[0, 1) [B, MASS_NUMBERS].
        size: (height, width) in pixels.

    Returns float32 [B, 1, height, width] of 0 and 1.
    """
    numbers = numbers.float()
    tries = numbers[:, 4:].reshape(-1, TRIES, MOST_POINTS, 2)
    (fewest, most), reach, extent = _parameters(numbers[:, :4])
    points = fewest + (numbers[:, 1] * (most - fewest + 1)).long()
    outline = numbers.new_empty(len(numbers), OUTLINE, 2)
    for n in sorted({*range(OVAL[0][0], OVAL[0][1] + 1), *range(LOBULATED[0][0], LOBULATED[0][1] + 1)}):
        rows = points == n
        outline[rows] = bezier(_apart(tries[rows, :, :n]), reach[rows])
    outline = outline - outline.mean(dim=1, keepdim=True)
    outline = outline * (extent * min(size))[:, None, None] + outline.new_tensor(size) / 2
    return fill_outline(outline, size)


def fill_texture(masks: Tensor, numbers: Tensor) -> Tensor:
    """Grey levels for masks [B, 1, H, W] of 0 and 1: grain of U[0, 1) ``numbers`` [B, 1, H, W] on two levels, [0, 1].

    It stands for the patches of real breast texture that the published package takes from its example images.
    """
    smooth = F.avg_pool2d(numbers, 3, 1, 1, count_include_pad=False)
    return TISSUE + (MASS - TISSUE) * masks + GRAIN * (2 * smooth - 1)


def fill_outline(outline: Tensor, size: tuple[int, int]) -> Tensor:
    """The inside of closed polygons: corners [B, P, 2] (row, column) in pixels -> float32 [B, 1, height, width].

    A pixel is 1 if the polygon winds around its centre. Each edge crosses some rows of centres; the windings of a
    pixel are the crossings to its left, those up less those down.
    """
    height, width = size
    start, end = outline, outline.roll(-1, dims=1)
    rows = torch.arange(height, device=outline.device) + 0.5
    (y0, x0), (y1, x1) = start.unbind(2), end.unbind(2)
    below = rows[:, None] >= y0[:, None, :]  # [B, H, P]
    crossing = (rows[:, None] >= y1[:, None, :]).int() - below.int()
    share = (rows[:, None] - y0[:, None, :]) / torch.where(y1 == y0, 1.0, y1 - y0)[:, None, :]
    column = x0[:, None, :] + share * (x1 - x0)[:, None, :]
    first = (column - 0.5).ceil().nan_to_num().clamp(0, width).long()  # first centre to the right of the crossing
    windings = crossing.new_zeros(len(outline), height, width + 1).scatter_add_(2, first, crossing).cumsum(2)
    return (windings[:, None, :, :width] != 0).float()


def bezier(points: Tensor, reach: Tensor) -> Tensor:
    """A closed curve of cubic Bezier pieces through points in this order, leaving each along the mean direction of
    its two edges.

    Args:
        points: [B, n, 2], n a divisor of OUTLINE.
        reach: distance of the two inner control points, in units of the distance between neighbours, [B].

    Returns the polygon [B, OUTLINE, 2].
    """
    following = points.roll(-1, dims=1)
    edge = following - points
    length = edge.norm(dim=2, keepdim=True)
    direction = edge / length.clamp_min(1e-9)
    tangent = direction + direction.roll(1, dims=1)
    tangent = tangent / tangent.norm(dim=2, keepdim=True).clamp_min(1e-9)
    step = reach[:, None, None] * length
    controls = (points, points + step * tangent, following - step * tangent.roll(-1, dims=1), following)
    pieces = OUTLINE // points.shape[1]
    t = (torch.arange(pieces, device=points.device) / pieces)[:, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    curves = [weight * control[:, :, None] for weight, control in zip(weights, controls, strict=True)]
    return torch.stack(curves).sum(0).flatten(1, 2)


def _parameters(numbers: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """U[0, 1) [B, 4] -> fewest and most points, reach of the tangents, extent; the first number says which shape."""
    oval = numbers[:, 0] < 0.5

    def chosen(of_oval: float, of_lobulated: float) -> Tensor:
        return torch.where(oval, of_oval, of_lobulated)

    (fewest, most), (low, high) = (map(chosen, *pair) for pair in zip(OVAL, LOBULATED, strict=True))
    reach = low + (high - low) * numbers[:, 2]
    return (fewest.long(), most.long()), reach, EXTENT[0] + (EXTENT[1] - EXTENT[0]) * numbers[:, 3]


def _apart(tries: Tensor) -> Tensor:
    """Tries [B, T, n, 2] in the unit square -> one of each, ordered by angle around its mean: [B, n, 2].

    The first whose neighbours lie 0.7 / n apart, or the last.
    """
    offset = tries - tries.mean(dim=2, keepdim=True)
    order = torch.atan2(offset[..., 0], offset[..., 1]).argsort(dim=2)
    ordered = tries.gather(2, order[..., None].expand_as(tries))
    apart = (ordered.roll(-1, dims=2) - ordered).norm(dim=3).amin(dim=2) >= 0.7 / tries.shape[2]
    apart[:, -1] = True
    first = apart.int().argmax(dim=1)  # argmax gives the first of several
    return ordered[torch.arange(len(ordered), device=tries.device), first]
