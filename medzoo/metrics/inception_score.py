"""Inception score (Salimans et al., NIPS 2016): are single images sure of a class, and all together of many classes?

exp of the mean Kullback-Leibler divergence of p(class | image) from the mean over images: 1 for a classifier that
says the same of every image, the number of classes for one that is sure each time and finds all equally often. It
never sees a real image. Of a classifier of ImageNet's classes it says little about medical images, which are none of
them: then it compares generators of one dataset with each other and with its real images, at best.

Published with 50,000 images in 10 splits, the mean over splits. A split of n images cannot score above n, and few
images score too low; so fewer than 10,000 images are taken as one split here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, effects_error

SPLITS = 10
SMALLEST_SPLIT = 1000


def measure(case: Case, smallest_split: int = SMALLEST_SPLIT) -> dict[str, Score]:
    """``is`` of the class probabilities of generated images; one split where ten would be below ``smallest_split``."""
    probabilities = case.fake.probabilities
    assert probabilities is not None
    n, classes = probabilities.shape
    splits = SPLITS if n >= SPLITS * smallest_split else 1
    scores = inception_scores(probabilities, splits)
    value = float(scores.mean())
    # The logarithm of the score of all images is a mean over images, to first order also of the mean over them.
    spread = 1.96 * effects_error(_divergences(np.asarray(probabilities, np.float64)))
    error = float(scores.std()) if splits > 1 else None
    note = f"one split of all {n} images: too low by few images" if splits == 1 else None
    low, high = max(value * math.exp(-spread), 1.0), min(value * math.exp(spread), float(classes))
    return {"is": Score(value, low, high, error, note, {"classes": classes, "splits": splits})}


def inception_scores(probabilities: NDArray[Any], splits: int = SPLITS) -> NDArray[np.float64]:
    """Score [splits] of each split of ``probabilities`` [n, classes], cut in order; each between 1 and classes.

    >>> inception_scores(np.eye(4), splits=1).round(6)
    array([4.])

    Raises:
        ValueError: fewer than two rows a split, or rows that are no probabilities.
    """
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or splits < 1 or len(rows) < 2 * splits:
        raise ValueError(
            f"probabilities must be [n, classes] with n at least {2 * max(splits, 1)}, found {list(rows.shape)}"
        )
    if not np.isfinite(rows).all() or rows.min() < 0 or np.abs(rows.sum(1) - 1).max() > 1e-3:
        raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row")
    return np.array([math.exp(_divergences(part).mean()) for part in np.array_split(rows, splits)])


def _divergences(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(row | mean of rows) [n]; 0 log 0 is 0. Also the effect of each row on their mean."""
    mean = rows.mean(0)
    tiny = np.finfo(np.float64).tiny
    divergences: NDArray[np.float64] = (rows * (np.log(np.maximum(rows, tiny)) - np.log(np.maximum(mean, tiny)))).sum(1)
    return divergences


METRIC = Metric(
    name="inception_score",
    group="fidelity",
    scales=(
        Scale(
            "is",
            "Inception score",
            "higher",
            "sure of each image, many classes in all: 1 to their number; says little with ImageNet's (Salimans 2016)",
        ),
    ),
    measure=measure,
    needs=("probabilities",),
)
