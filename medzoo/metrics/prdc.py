"""How much of the real images is covered, and how much of the generated lies among them: four nearest-neighbour scores.

Improved precision and recall (Kynkaanniemi et al., NeurIPS 2019): around each image of a set lies a ball that reaches
to its k-th nearest neighbour of the same set. Precision is the share of generated images inside a ball of a real one,
recall the share of real images inside a ball of a generated one. One outlier has a huge ball, in which anything counts
as precise. Density and coverage (Naeem et al., ICML 2020) therefore count all balls of real images that a generated
image lies in, over k (1 is expected of new real images, and more is possible), and the share of real images with at
least one generated image in their ball.

Neighbours are 3 for precision and recall and 5 for density and coverage, as published. An image exactly at the radius
is outside, as in the code of Naeem et al.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score
from medzoo.metrics._search import BLOCK, checked, count_inside, nearest_others

PAIRS = 10**6  # of images, above which an interval takes fewer halves
FEW = 1000  # images below which the balls are so wide that the scores depend on their number


class Coverage(NamedTuple):
    """One value an image; the scores are the means.

    Attributes:
        precision: [m] of generated images, 1 inside a ball of a real one, else 0.
        recall: [n] of real images, 1 inside a ball of a generated one, else 0.
        density: [m] of generated images, balls of real ones that it lies in, over k.
        coverage: [n] of real images, 1 with a generated one in its ball, else 0.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    density: NDArray[np.float64]
    coverage: NDArray[np.float64]


def coverage(
    real: NDArray[Any], fake: NDArray[Any], *, k_precision: int = 3, k_density: int = 5, block: int = BLOCK
) -> Coverage:
    """The four scores of features ``real`` [n, d] and ``fake`` [m, d], image by image.

    >>> real, fake = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[0.5], [0.6]])
    >>> found = coverage(real, fake, k_precision=1, k_density=1)
    >>> {name: float(values.mean()) for name, values in found._asdict().items()}
    {'precision': 1.0, 'recall': 0.0, 'density': 2.0, 'coverage': 0.5}

    Args:
        real: [n, d], any unit.
        fake: [m, d] of the same extractor.
        k_precision: neighbours of precision and recall, ``k_density``: of density and coverage.
        block: rows searched at once.

    Raises:
        ValueError: an empty set, different widths, values that are not finite, or no more images than neighbours.
    """
    real, fake = checked(real, "real features"), checked(fake, "fake features")
    most = max(k_precision, k_density)
    for name, n, k in (("real", len(real), most), ("fake", len(fake), k_precision)):
        if not 1 <= min(k_precision, k_density) <= k < n:
            raise ValueError(f"{k} nearest neighbours need at least {k + 1} {name} images, found {n}")
    radii = nearest_others(real, most, block=block).distances
    fake_radii = nearest_others(fake, k_precision, block=block).distances[:, -1]
    precise, dense, recalled = count_inside(
        real, fake, around_a=[radii[:, k_precision - 1], radii[:, k_density - 1]], around_b=[fake_radii], block=block
    )
    return Coverage(
        precision=(precise.b > 0).astype(np.float64),
        recall=(recalled.a > 0).astype(np.float64),
        density=dense.b / k_density,
        coverage=(dense.a > 0).astype(np.float64),
    )


def measure(case: Case, block: int = BLOCK) -> Mapping[str, Score]:
    """Scores of a case with features; ``block``: rows searched at once."""
    if case.real.features is None or case.fake.features is None:
        raise ValueError("precision, recall, density and coverage need features")
    by_image = coverage(case.real.features, case.fake.features, block=block)
    spread = spreads(case.real.features, case.fake.features, case.repeats, case.seed)
    note = _note(len(case.real), len(case.fake))
    scores = {}
    for name, values in by_image._asdict().items():
        value, top = float(values.mean()), np.inf if name == "density" else 1.0
        if spread is None:
            scores[name] = Score(value, note=note)
            continue
        reach = 1.96 * spread[name]
        scores[name] = Score(value, max(value - reach, 0.0), min(value + reach, top), spread[name], note)
    return scores


def spreads(real: NDArray[Any], fake: NDArray[Any], repeats: int, seed: int) -> dict[str, float] | None:
    """Standard error of each score for the choice of the images; None of fewer than 12 of either set.

    Scores of random halves of both sets, balls and all: half of n without replacement varies as n does anew (a delete-d
    jackknife, Shao and Wu 1989). Resampling the images within fixed balls would be half as wide as the truth. Of 60 and
    200 Gaussian rows, 1.96 standard errors held the expected value 88 to 100 times of 100. Large sets get fewer halves,
    12 at the least.
    """
    if min(len(real), len(fake)) < 12:
        return None
    halves = int(np.clip(repeats * PAIRS / (len(real) * len(fake)), min(12, repeats), repeats))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(halves):
        half_of_real, half_of_fake = (rows[rng.permutation(len(rows))[: len(rows) // 2]] for rows in (real, fake))
        draws.append([float(values.mean()) for values in coverage(half_of_real, half_of_fake)])
    return dict(zip(Coverage._fields, np.std(draws, axis=0, ddof=1).tolist(), strict=True))


def _note(real: int, fake: int) -> str | None:
    notes = []
    if min(real, fake) < FEW:
        notes.append(
            f"{min(real, fake)} images: fewer make wider balls and higher scores, compare only with equal numbers"
        )
    if real != fake:
        notes.append(f"{real} real and {fake} fake images: recall and coverage change with the ratio")
    return "; ".join(notes) or None


METRIC = Metric(
    name="prdc",
    group="coverage",
    scales=(
        Scale(
            "precision",
            "Precision",
            "higher",
            "Share of generated images among the real ones (3 neighbours, Kynkaanniemi et al. 2019).",
            percent=True,
        ),
        Scale(
            "recall",
            "Recall",
            "higher",
            "Share of real images among the generated ones (3 neighbours, Kynkaanniemi et al. 2019).",
            percent=True,
        ),
        Scale(
            "density",
            "Density",
            "higher",
            "How densely real images lie around generated ones; 1 for new real images (Naeem et al. 2020).",
        ),
        Scale(
            "coverage",
            "Coverage",
            "higher",
            "Share of real images with a generated one as near as their 5th neighbour (Naeem et al. 2020).",
            percent=True,
        ),
    ),
    measure=measure,
    needs=("features",),
)
