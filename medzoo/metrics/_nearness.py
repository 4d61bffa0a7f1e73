"""How near images come to training images: what the scores of features and of pixels share.

A distance alone says nothing, so it is read against the distances of held-out real images to the same training images.
Held-out images come from the same hospital, sometimes the same patient, so this is a mild standard: a clean result is
no proof of privacy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Score

PAIRS = 8
DRAWS = 4000  # of an interval, at least

Floats = NDArray[np.float64]


class Nearest(NamedTuple):
    """The nearest training image of each image [n].

    Attributes:
        distances: to it, Euclidean.
        indices: which.
        mirrored: whether it is nearest left-right mirrored.
        ratios: distance, over the mean distance to the 50 nearest; nan where only the nearest was looked for.
    """

    distances: Floats
    indices: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    ratios: Floats


def nearer_than(fake: Floats, heldout: Floats, percent: float) -> float:
    """Share of distances ``fake`` [n] below that percentile of ``heldout`` [m], which new real images have as well.

    A percentile below 100 / (m + 1) is the smallest held-out distance, below which new real images have 1 / (m + 1).
    """
    return float((fake < _quantile(heldout, percent)).mean())


def share_nearer(case: Case, fake: Nearest, heldout: Nearest, percent: float, space: str | None = None) -> Score:
    """Share of ``fake`` nearer to a training image than ``percent`` of held-out images: new ones have that share too.

    The interval resamples the held-out images, on which the percentile rests, and draws the share itself from what its
    count leaves open. ``space`` names what distances are of, and asks for pairs and histograms in the detail.
    """
    m = len(heldout.distances)
    rng = np.random.default_rng(case.seed)
    again = heldout.distances[rng.integers(m, size=(max(case.repeats, 1), m))]
    counts = np.searchsorted(np.sort(fake.distances), _quantile(again, percent))
    value = nearer_than(fake.distances, heldout.distances, percent)
    note = None
    if percent * (m + 1) < 100:
        note = f"of {m} held-out images the smallest distance is the measure: new images have {1 / (m + 1):.1%}"
    detail = None
    if space:
        detail = {
            "space": space,
            "pairs": closest_pairs(fake, fake.distances),
            "fake_distances": _histogram(fake, heldout),
            "heldout_distances": _histogram(heldout, fake),
        }
    return Score(value, *share_interval(value, counts, len(fake.distances), rng), note=note, detail=detail)


def share_interval(value: float, counts: NDArray[Any], n: int, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of a share ``value`` of ``n``, of which resampling makes ``counts`` [any].

    Jeffreys': 0 of 100 has an upper bound as well.
    """
    size = (-(-DRAWS // len(counts)), len(counts))
    low, high = np.quantile(rng.beta(counts + 0.5, n - counts + 0.5, size), [0.025, 0.975])
    return (0.0 if value == 0 else min(float(low), value)), (1.0 if value == 1 else max(float(high), value))


def closest_pairs(nearest: Nearest, by: Floats) -> list[dict[str, Any]]:
    """The closest pairs, each generated image once."""
    return [
        {
            "fake": int(i),
            "training": int(nearest.indices[i]),
            "distance": float(nearest.distances[i]),
            "mirrored": bool(nearest.mirrored[i]),
        }
        | ({} if np.isnan(nearest.ratios[i]) else {"ratio": float(nearest.ratios[i])})
        for i in np.argsort(by, kind="stable")[:PAIRS]
    ]


def _quantile(distances: Floats, percent: float) -> Any:
    """Along the last axis. Weibull's rule, rank / (m + 1): a new value lies below it with just that probability."""
    return np.quantile(distances, percent / 100, axis=-1, method="weibull")


def _histogram(of: Nearest, beside: Nearest) -> dict[str, list[float]]:
    """Counts of distances between 41 edges from 0 to the largest of both."""
    top = float(max(of.distances.max(), beside.distances.max())) or 1.0
    counts, edges = np.histogram(of.distances, bins=40, range=(0.0, top))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
