"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al., ICLR 2018).

Unlike the Frechet distance it has no bias from few samples; it can be slightly negative for equal distributions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class KernelDistance(NamedTuple):
    """Mean over subsets, and the standard deviation over subsets divided by the root of their number.

    Subsets are drawn from the same samples and overlap, so ``error`` says how well the mean over subsets is known,
    and is smaller than the uncertainty due to the samples themselves.
    """

    value: float
    error: float


def kernel_distance(
    real: NDArray[Any], fake: NDArray[Any], *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """KID of ``real`` [n, d] and ``fake`` [m, d], averaged over random subsets.

    Args:
        real: features [n, d].
        fake: features [m, d].
        subsets: how many pairs of subsets are drawn.
        subset_size: rows of each, without replacement; at most min(n, m) are taken. With the size of both sets
            there is only one pair of subsets: the value is exact and ``error`` is nan.
        seed: of the drawing.

    Raises:
        ValueError: fewer than two rows, different widths, or no subset.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(f"features must be [n, d] and [m, d], found {list(real.shape)} and {list(fake.shape)}")
    size = min(subset_size, len(real), len(fake))
    if size < 2 or subsets < 1:
        raise ValueError(f"at least 2 rows and 1 subset are needed, found {size} and {subsets}")
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    if size == len(real) == len(fake):
        return KernelDistance(polynomial_mmd(real, fake), float("nan"))
    rng = np.random.default_rng(seed)
    values = np.array(
        [
            polynomial_mmd(
                real[rng.choice(len(real), size, replace=False)], fake[rng.choice(len(fake), size, replace=False)]
            )
            for _ in range(subsets)
        ]
    )
    error = values.std(ddof=1) / np.sqrt(subsets) if subsets > 1 else float("nan")
    return KernelDistance(float(values.mean()), float(error))


def polynomial_mmd(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Unbiased estimate for k(a, b) = (a.b / d + 1)^3, from ``x`` [n, d] and ``y`` [m, d]."""
    n, m = len(x), len(y)
    return float(_off_diagonal_sum(x) / (n * (n - 1)) + _off_diagonal_sum(y) / (m * (m - 1)) - 2 * _kernel(x, y).mean())


def _off_diagonal_sum(x: NDArray[Any]) -> float:
    kernel = _kernel(x, x)
    return float(kernel.sum() - np.trace(kernel))


def _kernel(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    kernel: NDArray[Any] = (a @ b.T / a.shape[1] + 1) ** 3
    return kernel
