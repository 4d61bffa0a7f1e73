"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al., ICLR 2018).

Unlike the Frechet distance it has no bias from few samples; it can be slightly negative for equal distributions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, effects_error, effects_interval
from medzoo.metrics._discrepancy import Rows, checked, discrepancy

SUBSETS = 100
SUBSET_SIZE = 1000
CHUNK = 64  # rows of a kernel made at once: they stay in the processor's cache


class KernelDistance(NamedTuple):
    """Mean over subsets, and how well it is known.

    Attributes:
        value: the mean.
        error: standard deviation over subsets divided by the root of their number, as published. Subsets are drawn
            from the same samples and overlap, so it says how well the mean over subsets is known, and is smaller
            than the uncertainty due to the samples themselves. nan for one subset.
        spread: standard error due to the choice of the samples (first-order effect of each row; where the
            distributions are equal it is too large rather than too small).
    """

    value: float
    error: float
    spread: float


def measure(case: Case, subset_size: int = SUBSET_SIZE) -> dict[str, Score]:
    """``kid`` of the features of generated and held-out real images.

    As published, the mean of 100 pairs of subsets of ``subset_size`` rows, where both sets have them; of fewer images
    one estimate of all rows of both sets, which is then exact, and whose error is that due to the choice of the images.
    """
    real, fake = case.real.features, case.fake.features
    assert real is not None and fake is not None
    if min(len(real), len(fake)) < subset_size:
        estimate = discrepancy(*_prepared(real, fake), _cubic)
        error = effects_error(estimate.x, estimate.y)
        low, high = effects_interval(estimate.unbiased, estimate.x, estimate.y)
        note = f"one estimate of all {len(real)} real and {len(fake)} generated images, no subsets of {subset_size}"
        return {"kid": Score(estimate.unbiased, low, high, error, note)}
    value, error, spread = kernel_distance(real, fake, subset_size=subset_size, seed=case.seed)
    return {"kid": Score(value, value - 1.96 * spread, value + 1.96 * spread, None if math.isnan(error) else error)}


def kernel_distance(
    real: NDArray[Any],
    fake: NDArray[Any],
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """KID of ``real`` [n, d] and ``fake`` [m, d], averaged over random subsets.

    >>> kernel_distance(np.zeros((2, 1)), np.ones((2, 1))).value
    7.0

    Args:
        real: features [n, d].
        fake: features [m, d].
        subsets: how many pairs of subsets are drawn.
        subset_size: rows of each, without replacement; at most min(n, m) are taken. With the size of both sets
            there is only one pair of subsets: the value is exact and ``error`` is nan.
        seed: of the drawing.

    Raises:
        ValueError: fewer than two rows, different widths, values that are not finite, or no subset.
    """
    real, fake = _prepared(real, fake)
    size = min(subset_size, len(real), len(fake))
    if size < 2 or subsets < 1:
        raise ValueError(f"at least 2 rows and 1 subset are needed, found {size} and {subsets}")
    if size == len(real) == len(fake):
        subsets = 1
    rng = np.random.default_rng(seed)
    values, variances = np.empty(subsets), np.empty((subsets, 2))
    real_subset, fake_subset = (
        np.empty((size, real.shape[1]), rows.dtype) for rows in (real, fake)
    )  # new memory costs time
    for i in range(subsets):
        for rows, picked in ((real, real_subset), (fake, fake_subset)):
            np.take(rows, rng.choice(len(rows), size, replace=False), axis=0, out=picked, mode="clip")
        estimate = discrepancy(real_subset, fake_subset, _cubic)
        values[i] = estimate.unbiased
        variances[i] = estimate.x.var(ddof=1), estimate.y.var(ddof=1)
    error = values.std(ddof=1) / np.sqrt(subsets) if subsets > 1 else math.nan
    spread = np.sqrt(np.sum(variances.mean(0) / (len(real), len(fake))))
    return KernelDistance(float(values.mean()), float(error), float(spread))


def polynomial_mmd(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Unbiased estimate for k(a, b) = (a.b / d + 1)^3, from ``x`` [n, d] and ``y`` [m, d].

    >>> polynomial_mmd(np.zeros((2, 1)), np.ones((2, 1)))  # 1 + (1 + 1)^3 - 2
    7.0
    """
    return discrepancy(*_prepared(x, y), _cubic).unbiased


def _prepared(real: NDArray[Any], fake: NDArray[Any]) -> tuple[Rows, Rows]:
    """Both scaled so that inner products are divided by the number of features."""
    scale = 1 / math.sqrt(real.shape[1])
    real, fake = checked(real, fake)
    return real * scale, fake * scale


def _cubic(products: Rows) -> Rows:
    for start in range(0, len(products), CHUNK):
        part = products[start : start + CHUNK]
        part += 1
        square = part * part  # a power with ** is ten times slower
        part *= square
    return products


METRIC = Metric(
    name="kernel",
    group="fidelity",
    scales=(
        Scale(
            "kid", "KID", "lower", "kernel distance of features, unbiased, 0 for equal distributions (Binkowski 2018)"
        ),
    ),
    measure=measure,
    needs=("features",),
)
