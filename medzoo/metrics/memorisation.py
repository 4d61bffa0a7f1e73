"""Does a generator give back its training images? What features say of it.

Distances to training images are read against those of held-out real images to the same ones (``nearer_than_1``,
``nearer_than_5``) and against those among the training images (``authenticity``). The features of mirrored training
images are not known: what is said of mirrored copies depends on how far the extractor ignores mirroring.

Authenticity: Alaa et al. (How faithful is your synthetic data?, ICML 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score
from medzoo.metrics._nearness import Floats, Nearest, share_interval, share_nearer
from medzoo.metrics._search import BLOCK, checked, nearest, nearest_others


def measure(case: Case, block: int = BLOCK) -> Mapping[str, Score]:
    """Scores of a case with features and training images; ``block``: rows searched at once."""
    if case.training is None or len(case.training) < 2:
        raise ValueError("memorisation needs at least 2 training images to compare with")
    views = (case.fake, case.real, case.training)
    features = [view.features for view in views if view.features is not None]
    if len(features) < 3:
        raise ValueError("memorisation needs the features of fake, real and training images")
    fake_features, real_features, training_features = map(checked, features, ("fake", "real", "training"))
    spacing = nearest_others(training_features, block=block).distances[:, 0]
    fake, heldout = (nearest_features(rows, training_features, block=block) for rows in (fake_features, real_features))
    return {
        "nearer_than_1": share_nearer(case, fake, heldout, 1),
        "nearer_than_5": share_nearer(case, fake, heldout, 5, "features"),
        "authenticity": _authenticity(case, fake, heldout, spacing),
    }


def nearest_features(queries: NDArray[Any], training: NDArray[Any], *, block: int = BLOCK) -> Nearest:
    """Of feature vectors ``queries`` [n, d] among ``training`` [t, d].

    >>> nearest_features(np.array([[0.0], [6.0]]), np.array([[1.0], [4.0]])).indices.tolist()
    [0, 1]
    """
    neighbours = nearest(queries, training, block=block)
    n = len(neighbours.distances)
    return Nearest(neighbours.distances[:, 0], neighbours.indices[:, 0], np.zeros(n, bool), np.full(n, np.nan))


def authentic(fake: Nearest, spacing: Floats) -> NDArray[np.bool_]:
    """Which images [n] are farther from their nearest training image than its nearest other is, ``spacing`` [t]."""
    authentic: NDArray[np.bool_] = fake.distances > spacing[fake.indices]
    return authentic


def _authenticity(case: Case, fake: Nearest, heldout: Nearest, spacing: Floats) -> Score:
    good = authentic(fake, spacing)
    value = float(good.mean())
    bounds = share_interval(value, good.sum(keepdims=True), len(good), np.random.default_rng(case.seed))
    twins = int((spacing == 0).sum())
    note = f"{twins} of {len(spacing)} training images have an equal: only equal images count as copies of these"
    detail = {"heldout": float(authentic(heldout, spacing).mean())}
    return Score(value, *bounds, note=note if twins else None, detail=detail)


METRIC = Metric(
    name="memorisation",
    group="memorisation",
    scales=(
        Scale(
            "nearer_than_1",
            "Nearer than 1 %",
            "lower",
            "Share nearer to a training image, in features, than all but 1 % of new real images are: 0.01 is expected.",
            percent=True,
        ),
        Scale(
            "nearer_than_5",
            "Nearer than 5 %",
            "lower",
            "Share nearer to a training image, in features, than all but 5 % of new real images are: 0.05 is expected.",
            percent=True,
        ),
        Scale(
            "authenticity",
            "Authenticity",
            "higher",
            "Share farther from a training image, in features, than that from its nearest other (Alaa et al. 2022).",
            percent=True,
        ),
    ),
    measure=measure,
    needs=("features", "training"),
    floor="heldout",
    references=("real", "copies", "blur"),
)
