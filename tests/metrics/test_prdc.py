"""Precision, recall, density and coverage: against the published definitions, and their intervals."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.metrics import Case, View, load, prdc
from medzoo.metrics.prdc import Coverage, coverage


def normal(n: int, d: int = 16, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def means(found: Coverage) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in found._asdict().items()}


def case(real: NDArray[Any], fake: NDArray[Any], repeats: int = 100) -> Case:
    def view(features: NDArray[Any]) -> View:
        return View(np.zeros((len(features), 1, 2, 2), np.uint8), features=features)

    return Case(fake=view(fake), real=view(real), repeats=repeats)


@pytest.mark.parametrize("k, n, m", [(3, 300, 300), (5, 300, 211)])
def test_equals_the_published_package(k: int, n: int, m: int) -> None:
    """Its distances are float64 where the features are, and no distance here is within rounding of a radius."""
    package = pytest.importorskip("prdc", reason="pip install prdc to compare with it")
    real, fake = normal(n, 64), normal(m, 64, 1) * 0.9 + 0.1
    with contextlib.redirect_stdout(io.StringIO()):
        expected = package.compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=k)
    found = means(coverage(real, fake, k_precision=k, k_density=k))
    assert 0.1 < found["recall"] < 0.9
    assert found == pytest.approx(expected, abs=1e-12)


def test_equals_comparing_all() -> None:
    real, fake = normal(150, 8), normal(120, 8, 1) + 0.3

    def distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
        return np.linalg.norm(a[:, None].astype(float) - b[None].astype(float), axis=2)

    among, across = np.sort(distances(real, real), 1), distances(real, fake)
    fake_radii = np.sort(distances(fake, fake), 1)[:, 3]
    found = coverage(real, fake)
    np.testing.assert_array_equal(found.precision, (across < among[:, [3]]).any(0))
    np.testing.assert_array_equal(found.recall, (across < fake_radii).any(1))
    np.testing.assert_allclose(found.density, (across < among[:, [5]]).sum(0) / 5)
    np.testing.assert_array_equal(found.coverage, (across < among[:, [5]]).any(1))


def test_equal_sets_are_covered_and_sets_apart_are_not() -> None:
    real = normal(200)
    equal = means(coverage(real, real))
    assert equal["precision"] == equal["recall"] == equal["coverage"] == 1
    # Each of its own balls, and those of the rows whose nearest it is: 5 balls of 4 others and itself.
    assert equal["density"] == pytest.approx(1, abs=1e-9)
    assert set(means(coverage(real, real + 100)).values()) == {0}


def test_new_real_images_are_nearly_perfect() -> None:
    found = means(coverage(normal(1500, 6), normal(1500, 6, 1)))
    assert found["density"] == pytest.approx(1, abs=0.06)
    assert found["coverage"] == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al., lemma 2
    assert found["precision"] > 0.85 and found["recall"] > 0.85


def test_dropping_modes_lowers_recall_and_coverage_and_not_precision() -> None:
    rng = np.random.default_rng(0)
    modes = rng.normal(0, 20, (8, 16))
    real = modes[np.arange(800) % 8] + rng.normal(size=(800, 16))
    found = [
        means(coverage(real, modes[np.arange(800) % kept] + rng.normal(size=(800, 16)))) for kept in (8, 6, 4, 2, 1)
    ]
    for name in ("recall", "coverage"):
        values = [scores[name] for scores in found]
        assert values == sorted(values, reverse=True) and values[-1] <= 1 / 8 < 0.7 < values[0]
    assert min(scores["precision"] for scores in found) > 0.9 * found[0]["precision"]


def test_growing_noise_lowers_precision_density_and_coverage() -> None:
    real, fake, noise = normal(500), normal(500, seed=1), normal(500, seed=2)
    found = [means(coverage(real, fake + strength * noise)) for strength in (0, 0.5, 1, 2, 4)]
    for name in ("precision", "density", "coverage"):
        values = [scores[name] for scores in found]
        assert values == sorted(values, reverse=True) and values[-1] < 0.05 < 0.5 < values[0]


def test_density_and_coverage_withstand_outliers_and_precision_does_not() -> None:
    real, bad = normal(500), 6 + normal(500, seed=1)
    assert means(coverage(real, bad))["precision"] == 0
    found = means(coverage(np.concatenate([real[:-1], 6 + normal(1, seed=3)]), bad))
    assert found["precision"] == 1  # all lie in the one ball
    assert found["density"] == pytest.approx(1 / 5) and found["coverage"] == 1 / 500


def test_repeating_images_lowers_recall_and_coverage() -> None:
    real, fake = normal(400), normal(400, seed=1)
    once, often = means(coverage(real, fake)), means(coverage(real, np.repeat(fake[:40], 10, axis=0)))
    assert often["recall"] == 0  # every ball has the radius 0
    assert often["coverage"] < 0.6 * once["coverage"]


def test_scores_have_intervals_that_hold_them_and_do_not_depend_on_the_block() -> None:
    metric = load("prdc")
    real, fake = normal(300), normal(300, seed=1) + 0.2
    scores = metric.measure(case(real, fake))
    assert set(scores) == {scale.name for scale in metric.scales}
    for score in scores.values():
        assert score.low is not None and score.high is not None
        assert 0 < score.low < score.value < score.high
        assert 0.02 < score.high - score.low < 0.4
    perfect = metric.measure(case(real, real))["coverage"]
    assert 0.97 < perfect.low <= perfect.value == perfect.high == 1  # halves of equal sets are not equal
    again = prdc.measure(case(real, fake), block=29)
    for name, score in scores.items():
        assert [again[name].value, again[name].low, again[name].high] == pytest.approx(
            [score.value, score.low, score.high], rel=1e-9
        )


def test_an_interval_holds_the_value_of_new_samples_about_as_often_as_it_says() -> None:
    scores = [prdc.measure(case(normal(80, 8, i), normal(90, 8, 100 + i), repeats=40)) for i in range(40)]
    for name in scores[0]:
        truth = np.mean([one[name].value for one in scores])
        held = sum(bool(one[name].low <= truth <= one[name].high) for one in scores)
        assert held >= 33, (name, held)
    few = prdc.measure(case(normal(11), normal(90)))["recall"]
    assert few.low is None and few.high is None


def test_few_or_unequal_images_are_said() -> None:
    note = prdc.measure(case(normal(60), normal(50)))["recall"].note
    assert note and "50 images" in note and "60 real and 50 fake images" in note
    assert prdc.measure(case(normal(1000, 2), normal(1000, 2, 1)))["recall"].note is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="5 nearest neighbours need at least 6 real images, found 5"):
        coverage(normal(5), normal(50))
    with pytest.raises(ValueError, match="3 nearest neighbours need at least 4 fake images, found 3"):
        coverage(normal(50), normal(3))
    with pytest.raises(ValueError, match="fake features: row 7 holds values that are not finite"):
        coverage(normal(50), np.where(np.arange(50)[:, None] == 7, np.nan, normal(50)))
    with pytest.raises(ValueError, match=r"real features must be \[n, d\] with at least one row, found \[0, 16\]"):
        coverage(normal(0), normal(50))
    with pytest.raises(ValueError, match="one width"):
        coverage(normal(50, 8), normal(50, 9))
    with pytest.raises(ValueError, match="need features"):
        prdc.measure(Case(fake=View(np.zeros((9, 1, 2, 2), np.uint8)), real=View(np.zeros((9, 1, 2, 2), np.uint8))))
