"""KID: against closed forms and torchmetrics, its subsets, its errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from medzoo.metrics import Case, Score, View, _discrepancy, kernel
from medzoo.metrics.kernel import METRIC, kernel_distance, polynomial_mmd


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Gretton et al. (2012), equation 3, written out."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(k(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return within_x + within_y - 2 * across


def test_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(0.5, 2, size=(9, 5))
    assert polynomial_mmd(x, y) == pytest.approx(by_definition(x, y), rel=1e-10)


def test_two_points_by_hand() -> None:
    # One dimension, x = {1, 1}, y = {0, 0}: k(1, 1) = 8, k(0, 0) = 1, k(1, 0) = 1, so 8 + 1 - 2.
    assert polynomial_mmd(np.ones((2, 1)), np.zeros((2, 1))) == pytest.approx(7)


def test_unbiased_where_frechet_is_not() -> None:
    rng = np.random.default_rng(1)
    values = [polynomial_mmd(rng.normal(size=(15, 30)), rng.normal(size=(20, 30))) for _ in range(400)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0


def test_subsets_agree_with_the_whole() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 8)), rng.normal(0.4, 1, size=(400, 8))
    found = kernel_distance(x, y, subsets=200, subset_size=60)
    assert abs(found.value - polynomial_mmd(x, y)) < 4 * found.error
    assert 0 < found.error < 0.1 * found.value
    assert kernel_distance(x, y, subsets=200, subset_size=60) == found
    assert kernel_distance(x, y, subsets=200, subset_size=60, seed=1) != found


def test_one_possible_subset_is_exact() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 4))
    found = kernel_distance(x, y)
    assert found.value == polynomial_mmd(x, y) and np.isnan(found.error)


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3, 4\] and \[3, 5\]"):
        kernel_distance(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="at least 2 rows"):
        kernel_distance(np.zeros((1, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="generated images hold values that are not finite"):
        measured(np.zeros((3, 4)), np.full((3, 4), np.nan))


@pytest.mark.parametrize("d", [1, 6])
def test_known_gaussians(d: int) -> None:
    # Independent a and b: E (a.b / d + 1)^3 = 1 + 3 <m1, m1'> / d + 3 <m2, m2'> / d^2 + <m3, m3'> / d^3 of the raw
    # moment tensors, so the discrepancy is the same sum of squared differences of moments.
    rng = np.random.default_rng(4)
    if d == 1:
        (mu, s), (nu, t) = (0.3, 1.0), (0.8, 1.3)
        first, second = mu - nu, mu**2 + s**2 - nu**2 - t**2
        third = mu**3 + 3 * mu * s**2 - nu**3 - 3 * nu * t**2
        truth = 3 * first**2 + 3 * second**2 + third**2
        x, y = rng.normal(mu, s, (4000, 1)), rng.normal(nu, t, (5000, 1))
    else:
        root = rng.normal(size=(d, d))
        truth = 3 * np.sum((root @ root.T - np.eye(d)) ** 2) / d**2
        x, y = rng.normal(size=(4000, d)) @ root.T, rng.normal(size=(5000, d))
    found = _discrepancy.discrepancy(x / d**0.5, y / d**0.5, kernel._cubic)
    error = np.sqrt(found.x.var() / len(x) + found.y.var() / len(y))
    assert abs(found.unbiased - truth) < 3 * error < 0.5 * truth


@pytest.mark.filterwarnings("ignore:Metric .* will save all")
def test_same_as_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is not installed")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    one, two = (rng.uniform(size=(90, 3, 4, 4)) ** power for power in (1, 2))
    metric = kid.KernelInceptionDistance(torch.nn.Flatten(), subsets=1, subset_size=90, normalize=True)
    metric.update(torch.from_numpy(one), real=True)
    metric.update(torch.from_numpy(two), real=False)
    ours = kernel_distance(one.reshape(90, -1), two.reshape(90, -1))
    assert ours.value == pytest.approx(float(metric.compute()[0]), rel=1e-4)


def test_tiles_and_order_do_not_count() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 6)), rng.normal(0.5, 1, size=(70, 6))
    found = _discrepancy.discrepancy(x, y, kernel._cubic)
    tiled = _discrepancy.discrepancy(x, y, kernel._cubic, block=16)
    assert (tiled.unbiased, tiled.biased) == pytest.approx((found.unbiased, found.biased), rel=1e-10)
    np.testing.assert_allclose(tiled.x, found.x, rtol=1e-10)
    np.testing.assert_allclose(tiled.y, found.y, rtol=1e-10)
    assert polynomial_mmd(x[::-1], rng.permutation(y)) == pytest.approx(polynomial_mmd(x, y), rel=1e-10)


def test_float32_is_precise_enough() -> None:
    rng = np.random.default_rng(9)
    x, y = (np.maximum(rng.normal(size=(n, 300)), 0).astype(np.float32) for n in (200, 300))
    assert polynomial_mmd(x, y) == pytest.approx(polynomial_mmd(x.astype(np.float64), y.astype(np.float64)), rel=1e-4)


def test_few_images_are_taken_whole_and_many_in_subsets() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(150, 8)), rng.normal(0.4, 1, size=(220, 8))
    whole = measured(x, y)["kid"]
    assert whole.value == pytest.approx(polynomial_mmd(x, y), rel=1e-10)
    assert whole.note == "one estimate of all 150 real and 220 generated images, no subsets of 1000"
    subsets = measured(x, y, subset_size=100)["kid"]
    assert subsets.note is None and subsets.error is not None and whole.error is not None
    assert subsets == measured(x, y, subset_size=100)["kid"]
    assert subsets.error < whole.error  # how well the mean over subsets is known, not the images
    for score in (whole, subsets):
        assert score.low is not None and score.high is not None and score.low < score.value < score.high
    width = (subsets.high or 0) - (subsets.low or 0)
    assert width == pytest.approx((whole.high or 0) - (whole.low or 0), rel=0.3)


def test_the_interval_is_as_wide_as_new_samples_scatter() -> None:
    rng = np.random.default_rng(7)
    draws = [measured(rng.normal(size=(60, 4)), rng.normal(0.5, 1.3, size=(80, 4)))["kid"] for _ in range(300)]
    error = np.mean([one.error for one in draws[:40]])
    assert error == pytest.approx(np.std([one.value for one in draws]), rel=0.2)


def test_farther_is_more() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(60, 8)), rng.normal(size=(80, 8))
    values = [measured(x, y + shift)["kid"].value for shift in (0, 0.3, 0.6, 1.2)]
    assert values == sorted(values)


def measured(real: np.ndarray, fake: np.ndarray, **options: int) -> Mapping[str, Score]:
    """The scores of two sets of features."""
    real_view, fake_view = (View(np.zeros((len(one), 1, 1, 1), np.uint8), features=one) for one in (real, fake))
    scores = kernel.measure(Case(fake_view, real_view), **options)
    assert set(scores) == {scale.name for scale in METRIC.scales}
    return scores
