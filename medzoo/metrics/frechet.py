"""Frechet distance of features (Heusel et al., NIPS 2017), and where it would end with endlessly many images.

``fd`` is biased upward by few images, on either side. ``fd_infinity`` takes that off by the rule of Chong and Forsyth
(CVPR 2020), that the bias falls with 1 / n: the distance is also measured between subsets, and the line through
distance against 1 / n is read off at 0. They draw subsets of the generated images alone and take the real ones for
infinitely many; reference sets of medical images are small and bias as much, so here both sides shrink by the same
factor and the line ends at infinitely many of both. Sizes n, 2/3 n and 1/2 n; subsets of one size overlap evenly, so
that every image counts equally often. The mean of 8 random cuts is taken (one where n, m and d are above 512: it then
scatters little, and takes long).

The rule holds once n is well above the number of features that vary. In a simulation with the spectrum of
EfficientNet-Lite0 features of colonoscopies (1280 features, equal distributions, truth 0) 1500 and 3000 images gave
fd 8.5 and fd_infinity 0.2, but 89 and 712 images gave 64 and 40: still far too high, if less so.

Intervals come from the first-order effect of each image (``effects_interval``), not from a bootstrap, whose repeated
rows lower the rank: in such simulations they were 1.1 to 2.0 times as wide as the true scatter (of ``fd_infinity``
1.1 to 2.2), those of a bootstrap 1.2 to 2.5 times. The line's intercept has the same effects to first order: every
image has the same share in every size, and the weights of the sizes sum to 1. Intervals say how far the numbers would
move with other images, as many, and not how biased they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, effects_interval
from medzoo.metrics._gaussian import EXACT, frechet_distance, frechet_effects

PARTS = (3, 2)  # 2/3 n as 3 windows that overlap by half, 1/2 n as 2 halves
CUTS = 8  # for the 89 and 712 images the intercepts of single cuts scatter by 0.65, their interval is 6 wide
FEWEST = 4  # halves of fewer have no covariance


def measure(case: Case) -> dict[str, Score]:
    """``fd`` and ``fd_infinity`` of the features of generated and held-out real images."""
    real, fake = case.real.features, case.fake.features
    assert real is not None and fake is not None
    effects = frechet_effects(real, fake)
    low, high = effects_interval(effects.value, effects.real, effects.fake)
    note = few(len(real), len(fake), real.shape[1])
    biased = f"{note}: biased upward; compare only with rows of equal n, see fd_infinity" if note else None
    fd = Score(effects.value, max(low, 0.0), high, note=biased)
    if min(len(real), len(fake)) < FEWEST:
        return {"fd": fd, "fd_infinity": Score(math.nan, note=f"{FEWEST} or more images of each kind are needed")}
    value, line = extrapolate(real, fake, effects.value, seed=case.seed)
    low, high = effects_interval(value, effects.real, effects.fake)
    how = "real and generated images subsampled together"
    limit = Score(
        value, low, high, note=f"{how}; {note}: only part of the bias is taken off, still too high" if note else how,
        detail={"n_over_size": [x for x, _ in line], "fd": [y for _, y in line]},
    )  # fmt: skip
    return {"fd": fd, "fd_infinity": limit}


def few(real: int, fake: int, d: int) -> str | None:
    """Words for a number of images that leaves a covariance of ``d`` features singular; None for enough.

    >>> few(100, 2000, 1280)
    'n of 100 real images is not above the 1280 features'
    """
    sides = [f"{n} {whose}" for n, whose in ((real, "real"), (fake, "generated")) if n <= d]
    return f"n of {' and '.join(sides)} images is not above the {d} features" if sides else None


def extrapolate(
    real: NDArray[Any], fake: NDArray[Any], whole: float, *, seed: int = 0
) -> tuple[float, list[tuple[float, float]]]:
    """The line through the distances of all rows and of subsets of both sides, at 1 / n = 0.

    Args:
        real: features [n, d], n at least 4.
        fake: features [m, d], m at least 4.
        whole: the distance of all rows.
        seed: of the order that subsets are cut from.

    Returns:
        The intercept, which may be slightly negative for equal distributions, and what the line was laid through:
        (n / size, mean distance) of each size, all rows first.
    """
    rng = np.random.default_rng(seed)
    cuts = CUTS if min(len(real), len(fake), real.shape[1]) <= EXACT else 1
    line = [(1.0, whole)]
    for parts in PARTS:
        sizes, values = [], []
        for _ in range(cuts):
            for real_rows, fake_rows in zip(
                _windows(len(real), parts, rng), _windows(len(fake), parts, rng), strict=True
            ):
                sizes.append((len(real) / len(real_rows) + len(fake) / len(fake_rows)) / 2)
                values.append(frechet_distance(real[real_rows], fake[fake_rows]))
        line.append((float(np.mean(sizes)), float(np.mean(values))))
    x, y = np.array(line).T
    return float(np.polyfit(x, y, 1)[1]), line


def _windows(n: int, parts: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """``parts`` windows of a ring of shuffled rows, each as long as 2 of 3 or 1 of 2 parts."""
    chunks = np.array_split(rng.permutation(n), parts)
    for i in range(parts):
        yield np.concatenate([chunks[(i + j) % parts] for j in range(parts - 1)])


METRIC = Metric(
    name="frechet",
    group="fidelity",
    scales=(
        Scale(
            "fd",
            "Fréchet distance",
            "lower",
            "distance of Gaussians laid through the features; biased upward by few images (Heusel 2017)",
        ),
        Scale(
            "fd_infinity",
            "Fréchet distance, n to infinity",
            "lower",
            "FD extrapolated over 1 / n to infinitely many real and generated images (Chong 2020)",
        ),
    ),
    measure=measure,
    needs=("features",),
)
