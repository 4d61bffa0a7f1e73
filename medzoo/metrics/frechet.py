"""Frechet distance between two sets of feature vectors, each taken as a Gaussian (Heusel et al., NIPS 2017).

    |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

The trace of the root is the nuclear norm of S1^(1/2) S2^(1/2), a sum of singular values. With S = X^T X for centred
and scaled features X it is that of X1 X2^T, an [n, m] matrix: no matrix root is ever taken, fewer samples than
dimensions need no special case, and nothing complex can appear.

The estimate is biased upward by a finite number of samples: compare only numbers with equal n and m.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class Interval(NamedTuple):
    """A value with the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


def frechet_distance(real: NDArray[Any], fake: NDArray[Any]) -> float:
    """Distance between the Gaussians of ``real`` [n, d] and ``fake`` [m, d], covariances with n - 1 and m - 1.

    The unit is that of the features, squared. Symmetric, 0 for equal sets, at least 0.

    Raises:
        ValueError: not two matrices of the same width with at least two finite rows each.
    """
    real, fake = _checked(real, "real"), _checked(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real has {real.shape[1]} features, fake {fake.shape[1]}")
    (mu1, x1), (mu2, x2) = _centred(real), _centred(fake)
    return _distance(mu1, mu2, float(np.sum(x1**2)), float(np.sum(x2**2)), _trace_root(x1, x2))


def frechet_from_statistics(mu1: NDArray[Any], sigma1: NDArray[Any], mu2: NDArray[Any], sigma2: NDArray[Any]) -> float:
    """The same from means [d] and covariances [d, d] (symmetric, positive semi-definite, of any rank).

    Raises:
        ValueError: shapes that do not fit, or a covariance with a clearly negative eigenvalue.
    """
    mu1, mu2 = np.asarray(mu1, np.float64), np.asarray(mu2, np.float64)
    d = len(mu1)
    for name, sigma in (("sigma1", sigma1), ("sigma2", sigma2)):
        if np.shape(sigma) != (d, d) or len(mu2) != d:
            raise ValueError(f"means of length {d} and {len(mu2)}, but {name} has shape {np.shape(sigma)}")
    root1, root2 = _root(sigma1, "sigma1"), _root(sigma2, "sigma2")
    cross = float(np.linalg.svd(root1 @ root2, compute_uv=False).sum())
    return _distance(mu1, mu2, float(np.trace(sigma1)), float(np.trace(sigma2)), cross)


def frechet_interval(
    real: NDArray[Any], fake: NDArray[Any], *, repeats: int = 100, level: float = 0.95, seed: int = 0
) -> Interval:
    """``frechet_distance`` with a bootstrap interval for the choice of the samples.

    Resampling with replacement draws some rows twice, which lowers the number of different samples and so raises
    the distance. The spread of the resampled distances is therefore laid around the value itself (their mean taken
    off): it says how far the number would move with other samples of the same sizes, and not how biased it is.

    Args:
        real: [n, d].
        fake: [m, d].
        repeats: resamplings, each a singular value decomposition of an [n, m] matrix.
        level: share of the resampled distances inside the interval.
        seed: of the resampling.
    """
    value = frechet_distance(real, fake)
    rng = np.random.default_rng(seed)
    draws = np.empty(repeats)
    for i in range(repeats):
        rows = rng.integers(len(real), size=len(real))
        columns = rng.integers(len(fake), size=len(fake))
        draws[i] = frechet_distance(real[rows], fake[columns])
    tail = (1 - level) / 2
    low, high = np.quantile(draws - draws.mean(), [tail, 1 - tail])
    return Interval(value, max(value + float(low), 0.0), value + float(high))


def _checked(features: NDArray[Any], name: str) -> Matrix:
    matrix = np.asarray(features, np.float64)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise ValueError(f"{name} features must be [n, d] with n at least 2, found {list(matrix.shape)}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} features hold values that are not finite")
    return matrix


def _centred(features: Matrix) -> tuple[Matrix, Matrix]:
    """Mean [d], and X [min(n, d), d] with X^T X = covariance."""
    mu = features.mean(0)
    x = (features - mu) / np.sqrt(len(features) - 1)
    # With more samples than dimensions the triangular factor says the same in fewer rows.
    if len(x) > x.shape[1]:
        x = np.asarray(np.linalg.qr(x, mode="r"))
    return mu, x


def _trace_root(x1: Matrix, x2: Matrix) -> float:
    """tr (S1 S2)^(1/2): the singular values of X1 X2^T are the roots of the eigenvalues of S1 S2."""
    return float(np.linalg.svd(x1 @ x2.T, compute_uv=False).sum())


def _root(sigma: NDArray[Any], name: str) -> Matrix:
    """Symmetric square root; eigenvalues that rounding made negative are 0."""
    sigma = np.asarray(sigma, np.float64)
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    if values[0] < -1e-6 * max(values[-1], 1e-300):
        raise ValueError(f"{name} is no covariance: smallest eigenvalue {values[0]:g}")
    root: Matrix = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def _distance(mu1: Matrix, mu2: Matrix, trace1: float, trace2: float, cross: float) -> float:
    return max(float(np.sum((mu1 - mu2) ** 2)) + trace1 + trace2 - 2 * cross, 0.0)
