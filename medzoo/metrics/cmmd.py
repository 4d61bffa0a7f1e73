"""CMMD: squared maximum mean discrepancy with a Gaussian kernel, x 1000 (Jayasumana et al., CVPR 2024).

The kernel is exp(-|a - b|^2 / (2 x 10^2)) of embeddings scaled to length 1. The authors use those of CLIP ViT-L/14 at
336 px; any features are taken here, and numbers of different ones do not compare.

Their text speaks of the unbiased estimate, their code takes the biased one, over all pairs, each row with itself
included, and so does this one. It is above 0 for equal distributions, by more the fewer images there are; ``detail``
has the unbiased estimate beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, effects_interval
from medzoo.metrics._discrepancy import Discrepancy, Matrix, Rows, checked, discrepancy

SIGMA = 10.0
FACTOR = 1000.0
BIASED = 0.1  # share of the value that is bias from which on it is worth a word


def measure(case: Case) -> dict[str, Score]:
    """``cmmd`` of the features of generated and held-out real images."""
    real, fake = case.real.features, case.fake.features
    assert real is not None and fake is not None
    distance = _discrepancy(real, fake)
    value, unbiased = max(FACTOR * distance.biased, 0.0), FACTOR * distance.unbiased  # rounding can take it below 0
    low, high = effects_interval(value, FACTOR * distance.x, FACTOR * distance.y)
    note = None
    if value - unbiased > BIASED * value:
        note = f"{value - unbiased:.2g} of {value:.2g} is bias of few images: compare only with rows of equal n"
    return {"cmmd": Score(value, max(low, 0.0), high, note=note, detail={"unbiased": unbiased})}


def cmmd(real: NDArray[Any], fake: NDArray[Any]) -> float:
    """CMMD of features [n, d] and [m, d], at least 0; rows are scaled to length 1 (rows of zeros stay).

    >>> round(cmmd(np.array([[1.0, 0.0]] * 2), np.array([[0.0, 1.0]] * 2)), 2)  # 2000 (1 - exp(-0.01))
    19.9

    Raises:
        ValueError: fewer than two rows, different widths, or values that are not finite.
    """
    return max(FACTOR * _discrepancy(real, fake).biased, 0.0)


def _discrepancy(real: NDArray[Any], fake: NDArray[Any]) -> Discrepancy:
    real, fake = checked(real, fake)
    return discrepancy(_on_the_sphere(real), _on_the_sphere(fake), _gaussian)


def _on_the_sphere(rows: Rows) -> Rows:
    """Rows of length 1 / sigma."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Rows = rows / (SIGMA * np.where(length > 0, length, 1))
    return unit


def _gaussian(products: Rows) -> Matrix:
    """k - 1: the 1 cancels in every estimate, and without it nothing is rounded off."""
    exponent = np.subtract(products, 1 / SIGMA**2, dtype=np.float64)
    return np.expm1(exponent, out=exponent)


METRIC = Metric(
    name="cmmd",
    group="fidelity",
    scales=(
        Scale(
            "cmmd",
            "CMMD",
            "lower",
            "Gaussian-kernel distance of unit features, x 1000; published with CLIP's, here of any (Jayasumana 2024)",
        ),
    ),
    measure=measure,
    needs=("features",),
)
