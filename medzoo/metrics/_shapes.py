"""Measures of single binary masks, many at once: pieces, outline, convex hull, border, their image along the outline.

A pixel is a unit square, so areas are numbers of pixels. Anything but 0 is foreground.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22  # pixels looked at together: memory does not grow with the number of masks

Numbers = NDArray[np.float64]


def count_components(masks: NDArray[Any], *, block: int = BLOCK) -> NDArray[np.int64]:
    """Number [n] of 4-connected pieces (pixels that touch at a corner alone are apart) of ``masks`` [n, H, W].

    >>> count_components(np.eye(2)[None])
    array([2])
    """
    n, height, width = masks.shape
    step = max(1, block // max(height * width, 1))
    return np.concatenate([_pieces(masks[i : i + step] != 0) for i in range(0, n, step)] or [np.zeros(0, np.int64)])


def perimeters(masks: NDArray[Any]) -> Numbers:
    """Length [n] of the outlines of ``masks`` [n, H, W] in pixels: holes and where they meet the border included.

    Lines along rows, columns and both diagonals are laid over the mask, and the crossings counted (Cauchy and
    Crofton's formula with four directions): right for a disc, 5 % short for a large square along the axes.
    """
    padded = np.pad(masks != 0, ((0, 0), (1, 1), (1, 1)))
    along = _changes(padded[:, 1:], padded[:, :-1]) + _changes(padded[..., 1:], padded[..., :-1])
    diagonal = _changes(padded[:, 1:, 1:], padded[:, :-1, :-1]) + _changes(padded[:, 1:, :-1], padded[:, :-1, 1:])
    lengths: Numbers = np.pi / 8 * (along + diagonal / np.sqrt(2))
    return lengths


def hull_areas(masks: NDArray[Any]) -> Numbers:
    """Area [n] of the convex hull of all foreground pixels of ``masks`` [n, H, W]; 0 for empty ones.

    >>> hull_areas(np.eye(2)[None])
    array([3.])

    Of the whole squares, not of their centres: the hull of a rectangle is itself.
    """
    on = masks != 0
    rows = on.any(2)
    first, last = on.argmax(2), on.shape[2] - on[..., ::-1].argmax(2)
    return np.array(
        [_hull_area(np.flatnonzero(used), a[used], b[used]) for used, a, b in zip(rows, first, last, strict=True)]
    )


def touches_border(masks: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a pixel of the first or last row or column of ``masks`` [n, H, W] is foreground, [n].

    >>> touches_border(np.eye(2)[None])
    array([ True])
    """
    on = masks != 0
    touching: NDArray[np.bool_] = on[:, [0, -1]].any((1, 2)) | on[..., [0, -1]].any((1, 2))
    return touching


def contrasts(images: NDArray[Any], masks: NDArray[Any], partners: list[NDArray[Any]]) -> Numbers:
    """How much more each image changes along the outline of a mask than elsewhere, [len(partners), n, K].

    The mean gradient magnitude on the pixels where the mask changes, divided by that of the other pixels: about 1
    where masks have nothing to do with their images (and more where outlines prefer busy regions, so compare with
    the masks of other images). nan where a mask has no outline or its image is flat elsewhere.

    Args:
        images: [n, C, H, W], any scale.
        masks: [n, K, H, W].
        partners: each [n]: for each image the number of the mask that is laid over it.

    Raises:
        ValueError: shapes that do not fit, or no image.
    """
    if images.ndim != 4 or masks.ndim != 4 or 0 in images.shape or len(images) != len(masks):
        raise ValueError(f"images and masks must be [n, ., H, W], found {list(images.shape)} and {list(masks.shape)}")
    if images.shape[2:] != masks.shape[2:] or min(images.shape[2:]) < 2:
        raise ValueError(f"images of {list(images.shape[2:])} pixels and masks of {list(masks.shape[2:])}: at least 2")
    ratios = np.full((len(partners), *masks.shape[:2]), np.nan)
    step = max(1, BLOCK // images[0].size)
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        down, right = np.gradient(images[rows].astype(np.float32), axis=(2, 3))
        change = np.hypot(down, right).mean(1, keepdims=True)
        total = change.sum((2, 3), dtype=np.float64)
        for i, partner in enumerate(partners):
            outline = _outline(masks[partner[rows]] != 0)
            length = np.count_nonzero(outline, axis=(2, 3))
            along = np.sum(np.broadcast_to(change, outline.shape), axis=(2, 3), where=outline, dtype=np.float64)
            rest, others = total - along, change[0].size - length
            known = (length > 0) & (others > 0) & (rest > 1e-9 * total)
            np.divide(along * others, rest * length, out=ratios[i, rows], where=known)
    return ratios


def _outline(on: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose two neighbours along a row or along a column differ (themselves in place of one beyond a border)."""
    tall = np.pad(on, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    wide = np.pad(on, ((0, 0), (0, 0), (0, 0), (1, 1)), mode="edge")
    outline: NDArray[np.bool_] = (tall[:, :, 2:] != tall[:, :, :-2]) | (wide[..., 2:] != wide[..., :-2])
    return outline


def _changes(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Numbers:
    return np.asarray(np.count_nonzero(one != other, axis=(1, 2)), np.float64)


def _pieces(on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Runs of all rows of all masks, joined where runs of two rows touch."""
    n, height, width = on.shape
    # All masks as one line of pixels, with background after each row and before each mask: no run leaves its row,
    # and none touches one of another mask.
    line = np.zeros((n, height + 1, width + 1), np.int8)
    line[:, 1:, :-1] = on
    edges = np.diff(line.ravel(), prepend=0)
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    # The runs above a run are those that end after its begin and begin before its end, one row up.
    first = np.searchsorted(ends, begins - (width + 1), side="right")
    beyond = np.searchsorted(begins, ends - (width + 1), side="left")
    counts = np.maximum(beyond - first, 0)
    below = np.repeat(np.arange(len(begins)), counts)
    above = np.arange(len(below)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    roots = _join(len(begins), below, above) == np.arange(len(begins))
    return np.bincount(begins[roots] // ((height + 1) * (width + 1)), minlength=n)


def _join(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Root of each of ``count`` nodes joined by edges (one, other).

    In each round a root takes the smallest root it has an edge to as its parent, if smaller, and then every node its
    root. A handful of rounds is enough for spirals and noise.
    """
    parents = np.arange(count)
    while len(one):
        one, other = parents[one], parents[other]
        open_edges = one != other
        one, other = one[open_edges], other[open_edges]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(parents, shorter := parents[parents]):
            parents = shorter
    return parents


def _hull_area(rows: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> float:
    """Area of the hull of runs [first, last) of ``rows``, one run a row (what lies between cannot matter)."""
    if not len(rows):
        return 0.0
    # A row gives its two upper and its two lower corners.
    y = np.repeat(rows, 2)
    y[1::2] += 1
    left = _chain(y.tolist(), np.repeat(first, 2).tolist())
    right = _chain(y.tolist(), np.repeat(-last, 2).tolist())
    return -sum(
        (y2 - y1) * (x1 + x2) / 2
        for chain in (left, right)
        for (y1, x1), (y2, x2) in zip(chain, chain[1:], strict=False)
    )


def _chain(y: list[int], x: list[int]) -> list[tuple[int, int]]:
    """Points (y, x), y not falling, on the smallest convex function through or below all (Andrew, 1979)."""
    chain: list[tuple[int, int]] = []
    for point in sorted(zip(y, x, strict=True)):
        if chain and chain[-1][0] == point[0]:
            continue  # of equal y the smallest x came first
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
