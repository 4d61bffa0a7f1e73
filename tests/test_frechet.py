from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.metrics.frechet import frechet_distance, frechet_from_statistics, frechet_interval


def exact(n: int, mean: np.ndarray, root: np.ndarray, seed: int) -> np.ndarray:
    """n samples whose sample mean is ``mean`` and sample covariance ``root @ root.T``, exactly."""
    d = len(mean)
    noise = np.random.default_rng(seed).normal(size=(n, d))
    noise -= noise.mean(0)
    white = np.linalg.qr(noise)[0] * np.sqrt(n - 1)
    return white @ root.T + mean


def random_root(d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(d, d))


def test_commuting_gaussians() -> None:
    # |mu1 - mu2|^2 + sum (s1 - s2)^2: 3^2 + 4^2 + (1 - 2)^2 + (5 - 3)^2
    one = exact(50, np.array([0.0, 0.0]), np.diag([1.0, 5.0]), 0)
    two = exact(80, np.array([3.0, 4.0]), np.diag([2.0, 3.0]), 1)
    assert frechet_distance(one, two) == pytest.approx(30, rel=1e-10)


def test_two_dimensions_in_closed_form() -> None:
    # For 2 x 2 matrices tr A^(1/2) = (tr A + 2 det(A)^(1/2))^(1/2).
    roots = [random_root(2, seed) for seed in (3, 4)]
    first, second = (root @ root.T for root in roots)
    product = first @ second
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * cross
    sets = [exact(30, np.zeros(2), root, seed) for seed, root in enumerate(roots)]
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-9)
    assert frechet_from_statistics(np.zeros(2), first, np.zeros(2), second) == pytest.approx(expected, rel=1e-9)


def test_equal_to_the_root_of_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(200, 40)) @ rng.normal(size=(40, 40)), rng.normal(1, 2, size=(150, 40))
    first, second = np.cov(one.T), np.cov(two.T)
    shift = np.sum((one.mean(0) - two.mean(0)) ** 2)
    expected = shift + np.trace(first) + np.trace(second) - 2 * np.trace(linalg.sqrtm(first @ second)).real
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 40), (30, 150, 40), (20, 25, 40), (2, 2, 40)])
def test_the_root_of_the_product_has_the_eigenvalues_roots(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(1, 2, size=(m, d))
    first, second = np.cov(one.T), np.cov(two.T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + np.trace(first) + np.trace(second) - 2 * roots
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-5)
    statistics = frechet_from_statistics(one.mean(0), first, two.mean(0), second)
    assert statistics == pytest.approx(expected, rel=1e-5)


def test_fewer_samples_than_dimensions_in_orthogonal_planes() -> None:
    # Covariances that share no direction: the cross term is 0.
    one, two = np.zeros((4, 100)), np.zeros((5, 100))
    one[:, :10] = np.random.default_rng(0).normal(size=(4, 10))
    two[:, 50:60] = np.random.default_rng(1).normal(size=(5, 10))
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + one.var(0, ddof=1).sum() + two.var(0, ddof=1).sum()
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-10)


def test_constant_features() -> None:
    one, two = np.ones((5, 7)), np.full((6, 7), 3.0)
    assert frechet_distance(one, two) == pytest.approx(4 * 7)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 12),
    m=st.integers(2, 12),
    d=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    scale=st.floats(0.01, 100),
)
def test_symmetric_not_negative_and_scales_with_the_square(n: int, m: int, d: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(n, d)), rng.normal(0.5, 2, size=(m, d))
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    value = frechet_distance(one, two)
    assert value >= 0
    assert frechet_distance(two, one) == pytest.approx(value, rel=1e-7, abs=1e-9)
    assert frechet_distance(one @ rotation + 3, two @ rotation + 3) == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert frechet_distance(scale * one, scale * two) == pytest.approx(scale**2 * value, rel=1e-6, abs=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_few_samples_bias_it_upward() -> None:
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(4000, 20))
    few, many = (frechet_distance(pool[:n], pool[n : 2 * n]) for n in (50, 2000))
    assert few > 10 * many > 0


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 5)), "real has 4 features, fake 5"),
        (np.zeros((1, 4)), np.zeros((3, 4)), r"real features must be \[n, d\] with n at least 2, found \[1, 4\]"),
        (np.zeros((3, 4)), np.zeros(4), r"fake features must be \[n, d\]"),
        (np.zeros((3, 4)), np.full((3, 4), np.inf), "fake features hold values that are not finite"),
    ],
)
def test_wrong_features_are_refused(real: np.ndarray, fake: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, fake)


def test_wrong_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma2 has shape \(3, 3\)"):
        frechet_from_statistics(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
    with pytest.raises(ValueError, match="sigma1 is no covariance"):
        frechet_from_statistics(np.zeros(2), np.diag([1.0, -1.0]), np.zeros(2), np.eye(2))


def test_the_interval_is_as_wide_as_new_samples_scatter() -> None:
    rng = np.random.default_rng(0)

    def sets() -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(120, 3)), rng.normal(0.7, 1.5, size=(150, 3))

    scatter = np.std([frechet_distance(*sets()) for _ in range(300)])
    one, two = sets()
    found = frechet_interval(one, two, repeats=200)
    assert found.low < found.value < found.high
    assert found.value == frechet_distance(one, two)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(scatter, rel=0.35)
    assert frechet_interval(one, two, repeats=200) == found
    narrow = frechet_interval(one, two, repeats=200, level=0.5)
    assert found.low < narrow.low < narrow.high < found.high
