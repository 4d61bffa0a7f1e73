"""How far apart the images of a set are from each other in feature space, beside real images.

A generator that makes few kinds of images has small distances within its set, however real each image looks. It is
the mean over all pairs, so a few images that are far off raise it: read it beside recall and coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, around

BLOCK = 1024  # rows compared at once: memory does not grow with the number of images


def measure(case: Case) -> Mapping[str, Score]:
    """The ratio with a bootstrap interval over the images of both sets.

    Raises:
        ValueError: sets that ``feature_distance`` refuses.
    """
    if case.fake.features is None or case.real.features is None:
        raise ValueError("feature_distance needs the features of both sets")
    fake, real = _within(case.fake.features, case.real.features)
    value = _ratio(float(fake.mean()), float(real.mean()))
    rng = np.random.default_rng(case.seed)
    draws = [_ratio(_draw(fake, rng), _draw(real, rng)) for _ in range(case.repeats)]
    low, high = around(value, np.array(draws))
    detail = {"fake_distance": float(fake.mean()), "real_distance": float(real.mean())}
    note = None if detail["real_distance"] else "all real images have the same features"
    return {"feature_distance": Score(value, max(low, 0.0), high, note=note, detail=detail)}


def feature_distance(fake: NDArray[Any], real: NDArray[Any]) -> float:
    """Mean Euclidean distance between two of ``fake`` [n, d], divided by that between two of ``real`` [m, d].

    >>> feature_distance(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))
    0.5

    1 is as diverse as the real images, 0 is one image over and over; nan where all real ones are the same.

    Raises:
        ValueError: not two matrices of the same width with at least two finite rows each.
    """
    within_fake, within_real = _within(fake, real)
    return _ratio(float(within_fake.mean()), float(within_real.mean()))


def mean_distances(features: NDArray[Any], *, block: int = BLOCK) -> NDArray[np.float64]:
    """Mean Euclidean distance [n] of each of ``features`` [n, d] to the n - 1 others.

    >>> mean_distances(np.array([[0.0], [1.0], [2.0]]))
    array([1.5, 1. , 1.5])
    """
    n = len(features)
    # The square is expanded, so the mean is taken off first: large common parts would eat the digits.
    centred = (features - features.mean(0, dtype=np.float64)).astype(np.float32)
    squares = np.einsum("nd,nd->n", centred, centred)
    sums = np.zeros(n)
    for i in range(0, n, block):
        for j in range(i, n, block):
            rows, columns = slice(i, i + block), slice(j, j + block)
            squared = squares[rows, None] + squares[None, columns] - 2 * centred[rows] @ centred[columns].T
            if i == j:
                np.fill_diagonal(squared, 0)
            distances = np.sqrt(np.maximum(squared, 0, out=squared), out=squared)
            sums[rows] += distances.sum(1, dtype=np.float64)
            if i != j:
                sums[columns] += distances.sum(0, dtype=np.float64)
    return sums / (n - 1)


def _within(fake: NDArray[Any], real: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    for name, features in (("fake", fake), ("real", real)):
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"{name} features must be [n, d] with n at least 2, found {list(features.shape)}")
        if not np.isfinite(features).all():
            raise ValueError(f"{name} features hold values that are not finite")
    if fake.shape[1] != real.shape[1]:
        raise ValueError(f"real has {real.shape[1]} features, fake {fake.shape[1]}")
    return mean_distances(fake), mean_distances(real)


def _draw(distances: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Mean over pairs of a resampled set, to first order.

    A pair has two images, so images drawn with replacement move the mean over pairs twice as far as the mean of
    their own distances. Pairs of an image with itself, of distance 0, never come in.
    """
    n = len(distances)
    return float(2 * distances[rng.integers(n, size=n)].mean() - distances.mean())


def _ratio(fake: float, real: float) -> float:
    return fake / real if real > 0 else float("nan")


METRIC = Metric(
    name="diversity",
    group="coverage",
    scales=(
        Scale(
            "feature_distance",
            "Feature distance",
            "neither",
            "Mean feature distance between two generated images, divided by that of two real images: "
            "1 is as diverse as real, less is too alike, more is too far apart.",
        ),
    ),
    measure=measure,
    needs=("features",),
)
