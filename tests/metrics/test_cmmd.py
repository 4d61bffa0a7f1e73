"""CMMD: against its authors' formula, its bias, and what does not change it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest

from medzoo.metrics import Case, Score, View
from medzoo.metrics.cmmd import METRIC, cmmd


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Over all pairs, each row with itself included: Gretton et al. (2012), equation 5, written out."""
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / 200))

    means = [np.mean([k(a, b) for a in one for b in two]) for one, two in ((x, x), (y, y), (x, y))]
    return float(1000 * (means[0] + means[1] - 2 * means[2]))


def test_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), rng.normal(1, 2, size=(9, 5))
    assert cmmd(x, y) == pytest.approx(by_definition(x, y), rel=1e-8)


def test_points_by_hand() -> None:
    # One direction against another at a right angle: 1 + 1 - 2 exp(-2 / 200), whatever the lengths.
    one, two = np.tile([3.0, 0.0], (4, 1)), np.tile([0.0, 0.1], (5, 1))
    assert cmmd(one, two) == pytest.approx(2000 * (1 - np.exp(-0.01)), rel=1e-10)
    assert cmmd(one, 7 * one) == pytest.approx(0, abs=1e-9)


def test_uniform_on_the_sphere() -> None:
    # Of unit vectors in three dimensions at uniform angles, E exp((cos - 1) / 100) = exp(-a) sinh(a) / a, a = 1 / 100.
    rng = np.random.default_rng(1)
    around, pole = rng.normal(size=(3000, 3)), np.tile([0.0, 0.0, 1.0], (50, 1))
    mean = np.exp(-0.01) * np.sinh(0.01) / 0.01
    score = measured(around, pole)["cmmd"]
    assert score.value == pytest.approx(1000 * (1 - mean), rel=0.05)
    assert score.low is not None and score.high is not None
    assert score.low < 1000 * (1 - mean) < score.high


def test_duplication_and_order_do_not_count() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 6)), rng.normal(0.5, 1, size=(30, 6))
    assert cmmd(np.repeat(x, 3, axis=0), y) == pytest.approx(cmmd(x, y), rel=1e-9)
    assert cmmd(x[::-1], rng.permutation(y)) == pytest.approx(cmmd(x, y), rel=1e-9)


def test_farther_is_more() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 8)), rng.normal(size=(80, 8))
    values = [cmmd(x, y + shift) for shift in (0, 0.3, 0.6, 1.2)]
    assert values == sorted(values) and values[0] > 0


def test_the_bias_of_few_images_is_said() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=(40, 8))
    score = measured(x, y)["cmmd"]
    assert score.note is not None and "bias of few images" in score.note
    detail = json.loads(json.dumps(score.detail))
    assert abs(detail["unbiased"]) < score.value
    assert measured(x, y + 2)["cmmd"].note is None


def test_the_interval_is_as_wide_as_new_samples_scatter() -> None:
    rng = np.random.default_rng(5)
    draws = [measured(rng.normal(size=(60, 4)), rng.normal(0.6, 1, size=(80, 4)))["cmmd"] for _ in range(200)]
    widths = [((one.high or 0) - (one.low or 0)) / (2 * 1.96) for one in draws[:40]]
    assert np.mean(widths) == pytest.approx(np.std([one.value for one in draws]), rel=0.2)


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 4\] and \[3, 5\]"):
        cmmd(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="at least 2 rows"):
        cmmd(np.zeros((3, 4)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="real images hold values that are not finite"):
        cmmd(np.full((3, 4), np.nan), np.zeros((3, 4)))


def measured(real: np.ndarray, fake: np.ndarray) -> Mapping[str, Score]:
    """The scores of two sets of features."""
    real_view, fake_view = (View(np.zeros((len(one), 1, 1, 1), np.uint8), features=one) for one in (real, fake))
    scores = METRIC.measure(Case(fake_view, real_view))
    assert set(scores) == {scale.name for scale in METRIC.scales}
    return scores
