"""Multi-scale structural similarity between random images of one set (Wang, Simoncelli and Bovik, Asilomar 2003).

As Odena et al. (ICML 2017) use it: the more alike two images of a set are on average, the less diverse the set. The
real images are the aim, not the lowest number: noise is less alike than any two photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score

PAIRS = 500
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first (Wang et al., section 3.2)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for a range of 1
SMALLEST = WINDOW // 2 + 1  # pixels that can be mirrored to half a window
BLOCK = 1 << 18  # pixels of either side compared at once: what fits into a cache is fastest

Maps = NDArray[np.float32]


def measure(case: Case) -> Mapping[str, Score]:
    """Mean over pairs of generated images, and how far that is from the mean over pairs of real ones.

    Raises:
        ValueError: fewer than two images in a set, another shape, sets of different shapes.
    """
    fake, real = case.fake.images, case.real.images
    if fake.shape[1:] != real.shape[1:]:
        raise ValueError(f"real images are {list(real.shape[1:])} (channels, pixels), fake {list(fake.shape[1:])}")
    made, made_error = _within(fake, case.seed)
    aim, aim_error = _within(real, case.seed)
    margin = 1.96 * made_error
    gap, gap_margin = abs(made - aim), 1.96 * float(np.hypot(made_error, aim_error))
    used = scales(*fake.shape[2:])
    note = None if used == len(WEIGHTS) else f"{used} of 5 scales: the images are too small for more"
    detail = {"real": aim, "real_low": aim - 1.96 * aim_error, "real_high": aim + 1.96 * aim_error, "scales": used}
    return {
        "ms_ssim": Score(made, made - margin, made + margin, note=note, detail=detail),
        "ms_ssim_gap": Score(gap, float(np.maximum(gap - gap_margin, 0)), gap + gap_margin, note=note),
    }


def ms_ssim(x: NDArray[np.uint8], y: NDArray[np.uint8], *, block: int = BLOCK) -> NDArray[np.float64]:
    """Similarity [n] of each image of ``x`` [n, C, H, W] to that of ``y``: 1 for equal ones, at least 0.

    >>> image = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    >>> ms_ssim(image, image).round(6)
    array([1.])

    The product over scales, each half as large as the one before, of the mean contrast-structure term, and of the
    whole SSIM at the coarsest, to the power of the scale's weight. Means are over pixels and channels; a negative
    mean is 0. As many of the five scales are used as have at least 11 pixels, one at least, their weights scaled
    to the sum of all five. The contrast terms are taken where the window lies inside the image; the coarsest SSIM, of
    few pixels, with mirrored borders everywhere, which is what torchmetrics does and lets images be small.

    Args:
        x: uint8, 0..255.
        y: the same shape.
        block: pixels of either side compared at once.

    Raises:
        ValueError: another shape or type, different shapes, a side of less than 6 pixels.
    """
    for name, images in (("x", x), ("y", y)):
        _check(images, name)
    if x.shape != y.shape:
        raise ValueError(f"images of {list(x.shape)} and {list(y.shape)} cannot be compared one by one")
    step = max(1, block // (x.shape[1] * x.shape[2] * x.shape[3]))
    parts = [_similarity(x[i : i + step], y[i : i + step]) for i in range(0, len(x), step)]
    return np.concatenate(parts)


def scales(height: int, width: int) -> int:
    """Number of scales on which images have at least 11 pixels a side: 5 from 176 pixels on, 4 from 88, at least 1.

    >>> scales(256, 256), scales(128, 128), scales(28, 28)
    (5, 4, 2)
    """
    return max(1, sum(min(height, width) >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def random_pairs(n: int, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``count`` different pairs (i, j), j < i < n, or all n (n - 1) / 2 where there are no more than that.

    >>> [rows.tolist() for rows in random_pairs(3, 10, seed=0)]
    [[1, 2, 2], [0, 0, 1]]
    """
    total = n * (n - 1) // 2
    if total <= count:
        first, second = np.tril_indices(n, -1)
        return first, second
    chosen = np.random.default_rng(seed).choice(total, count, replace=False)
    # Pairs are numbered row by row of the lower triangle, row i beginning at i (i - 1) / 2.
    starts = np.arange(n) * (np.arange(n) - 1) // 2
    first = np.searchsorted(starts, chosen, side="right") - 1
    return first, chosen - starts[first]


def _within(
    images: NDArray[np.uint8],
    seed: int,
    pairs: int = PAIRS,
    similarity: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]] = ms_ssim,
) -> tuple[float, float]:
    """Mean over random pairs of one set, and its standard error."""
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(f"images must be [n, C, H, W] with n at least 2, found {list(images.shape)}")
    first, second = random_pairs(len(images), pairs, seed)
    values = similarity(images[first], images[second])
    return float(values.mean()), _error(values - values.mean(), first, second, len(images))


def _error(off: NDArray[np.float64], first: NDArray[Any], second: NDArray[Any], n: int) -> float:
    """Standard error of a mean over pairs of n images, some of which share an image; ``off`` is value - mean.

    The variance of the sum is the sum of the products of all pairs that share an image (Aronow et al., Political
    Analysis 2015); the sum of squares over images has each pair with itself twice, once too often. An estimate below
    the variance of pairs that share nothing, which is the least there can be, is chance.
    """
    if len(off) < 2:
        return float("nan")
    shared = np.bincount(first, off, n) + np.bincount(second, off, n)
    alone = np.sum(off**2)
    return float(np.sqrt(max(np.sum(shared**2) - alone, alone)) / len(off))


def _check(images: NDArray[Any], name: str) -> None:
    if images.ndim != 4 or 0 in images.shape or images.dtype != np.uint8:
        raise ValueError(f"{name} must be uint8 [n, C, H, W] with n at least 1, found {images.dtype} {images.shape}")
    if min(images.shape[2:]) < SMALLEST:
        raise ValueError(f"images of {images.shape[2]} x {images.shape[3]} pixels are too small: {SMALLEST} are needed")


def _similarity(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.float64]:
    one, other = x.astype(np.float32) / np.float32(255), y.astype(np.float32) / np.float32(255)
    used = scales(*x.shape[2:])
    weights = np.array(WEIGHTS[:used]) * sum(WEIGHTS) / sum(WEIGHTS[:used])
    result = np.ones(len(x))
    for scale, weight in enumerate(weights):
        last = scale == used - 1
        term = _terms(one, other, mirrored=last)[int(last)]
        result *= np.maximum(term, 0) ** weight
        if not last:
            one, other = _halved(one), _halved(other)
    return result


def _terms(x: Maps, y: Maps, *, mirrored: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means [n] of the contrast-structure term, and of it times the luminance term."""
    mean_x, mean_y = _smooth(x, mirrored), _smooth(y, mirrored)
    both = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    covariance = _smooth(x * y, mirrored) - both
    variances = _smooth(x * x + y * y, mirrored) - squares
    structure = (2 * covariance + C2) / (np.maximum(variances, 0) + C2)
    luminance = (2 * both + C1) / (squares + C1)
    return structure.mean((1, 2, 3), dtype=np.float64), (structure * luminance).mean((1, 2, 3), dtype=np.float64)


def _smooth(images: Maps, mirrored: bool) -> Maps:
    """Gaussian window over the last two axes: two products with matrices, faster than a sum of shifted images."""
    n, channels, height, width = images.shape
    rows, columns = _window(height, mirrored), _window(width, mirrored)
    along = images.reshape(-1, width) @ columns.T
    smooth: Maps = rows @ along.reshape(n * channels, height, -1)
    return smooth.reshape(n, channels, len(rows), len(columns))


@lru_cache(maxsize=32)
def _window(length: int, mirrored: bool) -> Maps:
    """Matrix [length or length - 10, length] that smooths a line, its ends mirrored or left out."""
    half = WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    padded = np.pad(np.eye(length), ((half, half), (0, 0)), mode="reflect") if mirrored else np.eye(length)
    lines = len(padded) - WINDOW + 1
    shifted = [weight * padded[i : i + lines] for i, weight in enumerate(weights)]
    matrix: Maps = np.sum(shifted, axis=0).astype(np.float32)
    return matrix


def _halved(images: Maps) -> Maps:
    """Means of 2 x 2 pixels; an odd last row or column is dropped."""
    height, width = images.shape[2] // 2 * 2, images.shape[3] // 2 * 2
    one = images[..., :height, :width]
    return (one[..., ::2, ::2] + one[..., 1::2, ::2] + one[..., ::2, 1::2] + one[..., 1::2, 1::2]) / np.float32(4)


METRIC = Metric(
    name="ms_ssim",
    group="coverage",
    scales=(
        Scale(
            "ms_ssim",
            "MS-SSIM",
            "neither",
            "Mean multi-scale structural similarity of two random generated images, 0..1: lower is more diverse, the "
            "value of real images is the aim (Wang et al. 2003, Odena et al., ICML 2017).",
        ),
        Scale(
            "ms_ssim_gap",
            "MS-SSIM gap",
            "lower",
            "Absolute difference of the mean multi-scale similarity within the generated and within the real images.",
        ),
    ),
    measure=measure,
)
