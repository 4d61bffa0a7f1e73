"""Frechet distance between two sets of feature vectors, each taken as a Gaussian (Heusel et al., NIPS 2017).

    |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

With S = F^T F the trace of the root is the nuclear norm of B = F1 F2^T, the sum of its singular values: no matrix root
is ever taken, and nothing complex can appear. F is the centred and scaled features themselves where there are no more
of them than dimensions (fewer samples than dimensions need no special case), else a d x d factor of their covariance.

The estimate is biased upward by a finite number of samples: compare only numbers with equal n and m.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Up to this many singular values they are computed as such; beyond, as roots of eigenvalues: 3 to 4 times faster. And
# beyond it torch's Cholesky factor and eigenvalues are used: 2 times faster than NumPy's where its wheels bring MKL.
EXACT = 512
CANCELLED = 1e-3  # unless the distance is a smaller share than this of what it is the difference of
BLOCK, STRIP = 2560, 512  # rows turned to float64 at once, columns multiplied at once
TINY = 1e-7  # singular values below this share of the largest change no effect that matters


class Effects(NamedTuple):
    """The distance, and how much each row pulls at it.

    The distance changes by about ``real[i] * w / n`` when row i of n counts 1 + w times: the first derivative, mean
    taken off (also called influence function, infinitesimal jackknife).
    """

    value: float
    real: Matrix
    fake: Matrix


class _Side(NamedTuple):
    mean: Matrix  # [d]
    factor: Matrix  # [min(n, d), d], S = factor^T factor
    trace: float


def frechet_distance(real: NDArray[Any], fake: NDArray[Any]) -> float:
    """Distance between the Gaussians of ``real`` [n, d] and ``fake`` [m, d], covariances with n - 1 and m - 1.

    >>> round(frechet_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])), 6)
    1.0

    The unit is that of the features, squared. Symmetric, 0 for equal sets, at least 0.

    Raises:
        ValueError: not two matrices of the same width with at least two finite rows each.
    """
    real_side, fake_side = (_side(features) for features in checked(real, fake))
    return _distance(real_side, fake_side, _cross(real_side, fake_side))


def frechet_from_statistics(mu1: NDArray[Any], sigma1: NDArray[Any], mu2: NDArray[Any], sigma2: NDArray[Any]) -> float:
    """The same from means [d] and covariances [d, d] (symmetric, positive semi-definite, of any rank).

    >>> frechet_from_statistics(np.zeros(1), np.eye(1), np.ones(1), 4 * np.eye(1))  # 1 + (1 - 2)^2
    2.0

    Raises:
        ValueError: shapes that do not fit, or a covariance with a clearly negative eigenvalue.
    """
    mu1, mu2 = np.asarray(mu1, np.float64), np.asarray(mu2, np.float64)
    d = len(mu1)
    for name, sigma in (("sigma1", sigma1), ("sigma2", sigma2)):
        if np.shape(sigma) != (d, d) or len(mu2) != d:
            raise ValueError(f"means of length {d} and {len(mu2)}, but {name} has shape {np.shape(sigma)}")
    first = _Side(mu1, _root(np.asarray(sigma1, np.float64), "sigma1"), float(np.trace(sigma1)))
    second = _Side(mu2, _root(np.asarray(sigma2, np.float64), "sigma2"), float(np.trace(sigma2)))
    return _distance(first, second, _cross(first, second))


def frechet_effects(real: NDArray[Any], fake: NDArray[Any]) -> Effects:
    """``frechet_distance`` and the effect of each row on it.

    With B = P s Q^T for rows counted by weights, the nuclear norm has the derivative n / 2 of (P s P^T)[i, i] in the
    weight of row i, and that diagonal is the sum over k of (F2^T Q)[:, k] . x_i, squared, divided by s[k].

    Raises:
        ValueError: as ``frechet_distance``.
    """
    real, fake = checked(real, fake)
    real_side, fake_side = _side(real), _side(fake)
    b = real_side.factor @ fake_side.factor.T
    left, values, right = _singular(b)
    value = _distance(real_side, fake_side, _accurate(real_side, fake_side, b, values))
    kept = values > TINY * values[:1].sum()  # none of none: constant features have no factor
    roots = np.sqrt(values[kept])
    shift = 2 * (real_side.mean - fake_side.mean)
    return Effects(
        value,
        _pull(real, real_side.mean, shift, fake_side.factor.T @ (right[:, kept] / roots)),
        _pull(fake, fake_side.mean, -shift, real_side.factor.T @ (left[:, kept] / roots)),
    )


def checked(
    real: NDArray[Any], fake: NDArray[Any], names: tuple[str, str] = ("real", "fake")
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as floating-point matrices [n, d] and [m, d].

    Raises:
        ValueError: not two matrices of the same width with at least two finite rows each.
    """
    matrices = []
    for name, features in zip(names, (real, fake), strict=True):
        matrix = np.asarray(features)
        if matrix.ndim != 2 or len(matrix) < 2:
            raise ValueError(f"{name} features must be [n, d] with n at least 2, found {list(matrix.shape)}")
        if matrix.dtype not in (np.float32, np.float64):
            matrix = matrix.astype(np.float64)
        if not np.isfinite(matrix).all():
            raise ValueError(f"{name} features hold values that are not finite")
        matrices.append(matrix)
    if matrices[0].shape[1] != matrices[1].shape[1]:
        raise ValueError(f"{names[0]} has {matrices[0].shape[1]} features, {names[1]} {matrices[1].shape[1]}")
    return matrices[0], matrices[1]


def _side(features: NDArray[Any]) -> _Side:
    n, d = features.shape
    mean = features.mean(0, dtype=np.float64)
    if n <= d:
        factor = (features - mean) / np.sqrt(n - 1)
        return _Side(mean, factor, float(np.sum(factor**2)))
    covariance, buffer = np.zeros((d, d)), np.empty((min(n, BLOCK), d))
    strips = [slice(first, min(first + STRIP, d)) for first in range(0, d, STRIP)]
    products = [np.empty((strip.stop - strip.start, d - strip.start)) for strip in strips]  # new memory costs time
    for start in range(0, n, BLOCK):
        rows = features[start : start + BLOCK]
        block = np.subtract(rows, mean, out=buffer[: len(rows)])
        for strip, product in zip(strips, products, strict=True):  # the upper triangle alone
            covariance[strip, strip.start :] += np.matmul(block[:, strip].T, block[:, strip.start :], out=product)
    for strip in strips:
        covariance[strip.stop :, strip] = covariance[strip, strip.stop :].T
    covariance /= n - 1
    return _Side(mean, _factor(covariance), float(np.trace(covariance)))


def _factor(covariance: Matrix) -> Matrix:
    """F with F^T F = covariance: Cholesky's, without the features that are constant."""
    moves = np.flatnonzero(np.diag(covariance) > 0)
    lower = _cholesky(covariance[np.ix_(moves, moves)] if len(moves) < len(covariance) else covariance)
    if lower is None:
        return _root(covariance, "the covariance")
    if len(moves) == len(covariance):
        return lower.T
    factor = np.zeros((len(moves), len(covariance)))
    factor[:, moves] = lower.T
    return factor


def _cholesky(matrix: Matrix) -> Matrix | None:
    """Lower triangle; None for a matrix of lower rank."""
    if len(matrix) > EXACT:
        import torch

        lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
        return None if failed else lower.numpy()
    try:
        return np.asarray(np.linalg.cholesky(matrix), np.float64)
    except np.linalg.LinAlgError:
        return None


def _root(sigma: Matrix, name: str) -> Matrix:
    """F with F^T F = sigma from its eigenvalues; those that rounding made negative are 0."""
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    if values[0] < -1e-6 * max(values[-1], 1e-300):
        raise ValueError(f"{name} is no covariance: smallest eigenvalue {values[0]:g}")
    root: Matrix = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    return root


def _cross(one: _Side, two: _Side) -> float:
    """tr (S1 S2)^(1/2), the sum of the singular values of F1 F2^T."""
    b = one.factor @ two.factor.T
    if min(b.shape) <= EXACT:
        return float(np.linalg.svd(b, compute_uv=False).sum())
    import torch

    squares = torch.linalg.eigvalsh(torch.from_numpy(b @ b.T if len(b) <= b.shape[1] else b.T @ b))
    return _accurate(one, two, b, np.sqrt(np.clip(squares.numpy(), 0, None)))


def _accurate(one: _Side, two: _Side, b: Matrix, values: Matrix) -> float:
    """Sum of the singular values of ``b``: of ``values`` if their rounding is no matter in the distance.

    A root of an eigenvalue is wrong by up to 1e-8 of the largest one, which counts only where nearly everything
    cancels.
    """
    cross = float(values.sum())
    if len(values) > EXACT and _distance(one, two, cross) < CANCELLED * (one.trace + two.trace):
        return float(np.linalg.svd(b, compute_uv=False).sum())
    return cross


def _singular(b: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """(P, s, Q) with b = P s Q^T, s falling; vectors of values below ``TINY`` are not to be used."""
    if min(b.shape) <= EXACT:
        left, values, right = np.linalg.svd(b, full_matrices=False)
        return left, values, right.T
    if len(b) > b.shape[1]:
        right_, values, left_ = _singular(b.T)
        return left_, values, right_
    squares, left = np.linalg.eigh(b @ b.T)
    left, values = left[:, ::-1], np.sqrt(np.clip(squares[::-1], 0, None))
    return left, values, (b.T @ left) / np.maximum(values, max(TINY * float(values[0]), 1e-300))


def _pull(features: NDArray[Any], mean: Matrix, shift: Matrix, weights: Matrix) -> Matrix:
    """Effects of rows [n, d]: shift . x + (|x|^2 - |x . weights|^2) n / (n - 1) of centred x, their mean taken off."""
    n = len(features)
    effects = np.empty(n)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        block = features[rows].astype(np.float64)
        block -= mean
        projected = block @ weights
        curved = np.einsum("nd,nd->n", block, block) - np.einsum("nk,nk->n", projected, projected)
        effects[rows] = block @ shift + curved * (n / (n - 1))
    effects -= effects.mean()
    return effects


def _distance(one: _Side, two: _Side, cross: float) -> float:
    return max(float(np.sum((one.mean - two.mean) ** 2)) + one.trace + two.trace - 2 * cross, 0.0)
