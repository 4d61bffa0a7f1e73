from __future__ import annotations

import numpy as np
import pytest

from medzoo.metrics.kernel import kernel_distance, polynomial_mmd


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
