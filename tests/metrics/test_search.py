"""Nearest neighbours in blocks: against distances computed one by one."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.metrics._search import count_inside, nearest, nearest_others, pair_distances
from medzoo.metrics._tiles import tiles


def everything(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    return np.linalg.norm(a[:, None].astype(float) - b[None].astype(float), axis=2)


def structured(n: int, d: int, seed: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Like features after a ReLU: correlated, at least 0, off the origin, of unequal scale."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(8, d))
    values = np.maximum(rng.normal(size=(n, 8)) @ mix + rng.normal(size=(n, d)), 0) * np.linspace(0.1, 3, d)
    return np.asarray(values.astype(dtype))


@pytest.mark.parametrize("n", [1, 7, 64, 67])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_equals_comparing_all(n: int, dtype: Any) -> None:
    queries, base = structured(n, 20, n, dtype), structured(150, 20, 0, dtype)
    distances, indices = nearest(queries, base, 6, block=64)
    expected = everything(queries, base)
    np.testing.assert_array_equal(indices, expected.argsort(1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :6], rtol=1e-12)


@pytest.mark.parametrize("n", [3, 64, 201])
def test_others_leave_out_the_row_itself_and_no_other(n: int) -> None:
    vectors = structured(n, 20, n)
    expected = everything(vectors, vectors)
    np.fill_diagonal(expected, np.inf)
    distances, indices = nearest_others(vectors, 2, block=64)
    np.testing.assert_array_equal(indices, expected.argsort(1)[:, :2])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :2], rtol=1e-12)
    vectors[1] = vectors[0]
    distances, indices = nearest_others(vectors, 1, block=64)
    assert distances[:2, 0].tolist() == [0, 0] and indices[:2, 0].tolist() == [1, 0]


def test_counts_equal_comparing_all_for_each_family_of_balls() -> None:
    a, b = structured(130, 20, 1), structured(90, 20, 2)
    distances = everything(a, b)
    rng = np.random.default_rng(0)
    around_a, wide, around_b = rng.uniform(5, 12, 130), np.full(130, 1e9), rng.uniform(5, 12, 90)
    found = count_inside(a, b, around_a=[around_a, wide], around_b=[around_b], block=64)
    for counts, inside in zip(
        found, (distances < around_a[:, None], distances < wide[:, None], distances < around_b), strict=True
    ):
        np.testing.assert_array_equal(counts.a, inside.sum(1))
        np.testing.assert_array_equal(counts.b, inside.sum(0))
    assert 0 < found[0].a.sum() < 130 * 90 == found[1].a.sum()


def test_a_pair_at_the_radius_is_outside_and_one_a_rounding_nearer_is_inside() -> None:
    """Every one of them is beyond what float32 products can decide."""
    a, b = structured(200, 300, 1), structured(100, 300, 2)
    radii = nearest(a, b, 4).distances[:, 3]
    (at,) = count_inside(a, b, around_a=[radii])
    (above,) = count_inside(a, b, around_a=[np.nextafter(radii, np.inf)])
    assert (at.a == 3).all() and (above.a == 4).all()


@pytest.mark.parametrize("offset", [0, 1e6, 1e15])
def test_copies_have_distance_zero_even_far_from_the_origin(offset: float) -> None:
    base = offset + np.round(np.random.default_rng(0).normal(size=(40, 5)) * 64)
    distances, indices = nearest(base[[3, 30]], base)
    assert distances.ravel().tolist() == [0, 0] and indices.ravel().tolist() == [3, 30]


@pytest.mark.parametrize("spread", [1e-3, 1e-5])
def test_a_collapsed_set_is_told_apart_though_float32_cannot(spread: float) -> None:
    """Five images with tiny changes, far from each other: the products of float32 see only five points."""
    rng = np.random.default_rng(0)
    modes = rng.normal(0, 30, size=(5, 64))
    fake = modes[rng.integers(5, size=400)] + rng.normal(0, spread, (400, 64))
    expected = everything(fake, fake)
    np.fill_diagonal(expected, np.inf)
    distances, indices = nearest_others(fake, 3, block=128)
    np.testing.assert_array_equal(indices, expected.argsort(1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :3], rtol=1e-9)
    real = fake[::2] + rng.normal(0, spread, (200, 64))
    (found,) = count_inside(real, fake, around_b=[distances[:, 2]], block=128)
    np.testing.assert_array_equal(found.a, (everything(real, fake) < distances[:, 2]).sum(1))


def test_what_float64_cannot_tell_apart_is_off_by_less_than_it_can() -> None:
    rng = np.random.default_rng(0)
    fake = rng.normal(0, 30, size=(5, 64))[rng.integers(5, size=300)] + rng.normal(0, 1e-8, (300, 64))
    expected = everything(fake, fake)
    np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(nearest_others(fake, 3, block=128).distances, np.sort(expected, 1)[:, :3], atol=3e-6)


def test_equal_distances_go_to_the_lower_index_whatever_the_block() -> None:
    base = np.repeat(np.random.default_rng(0).normal(size=(50, 6)), 3, axis=0)[
        np.random.default_rng(1).permutation(150)
    ]
    for block in (16, 50, 1000):
        distances, indices = nearest(base, base, 2, block=block)
        same = everything(base, base) == 0
        np.testing.assert_array_equal(indices[:, 0], same.argmax(1))
        assert (distances == 0).all() and (indices[:, 0] < indices[:, 1]).all()
    points = np.zeros((30, 4))
    assert nearest_others(points, 3, block=8).distances.max() == 0


def test_the_block_changes_nothing() -> None:
    a, b = structured(333, 128, 1), structured(270, 128, 2)
    one, within = nearest(a, b, 5), nearest_others(a, 5)
    for found, again in ((one, nearest(a, b, 5, block=37)), (within, nearest_others(a, 5, block=50))):
        np.testing.assert_array_equal(found.indices, again.indices)
        np.testing.assert_allclose(found.distances, again.distances, rtol=1e-12)
    counts = [count_inside(a, b, around_a=[within.distances[:, 4]], block=block)[0].b for block in (37, 1024)]
    np.testing.assert_array_equal(*counts)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_any_unit_will_do(factor: float) -> None:
    a, b = structured(50, 16, 1, np.float64), structured(60, 16, 2, np.float64)
    plain, scaled = nearest(a, b, 3), nearest(a * factor, b * factor, 3)
    np.testing.assert_array_equal(plain.indices, scaled.indices)
    np.testing.assert_allclose(scaled.distances, plain.distances * factor, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 20, 1500])
def test_errors_of_the_products_stay_far_below_the_slack(dtype: Any, d: int) -> None:
    """The float64 search has only the rounding of the reference to show."""
    a, b = structured(120, d, 3), structured(110, d, 4)
    (tile,) = tiles(a, b, dtype, 1024)
    error = np.abs(tile.square - (everything(a, b) / tile.scale) ** 2)
    assert (error < tile.slack(0)[:, None] / 4).all() and (error < tile.slack(1) / 4).all()


def test_memory_does_not_grow_with_the_square_of_the_numbers() -> None:
    def peak(n: int) -> int:
        a = np.random.default_rng(0).normal(size=(n, 4))
        tracemalloc.start()
        radii = nearest_others(a, 3, block=128).distances[:, -1]
        count_inside(a, a, around_a=[radii], block=128)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(300)
    per_row = 400  # candidates, their distances, the order of both: 7 neighbours and a few numbers each
    assert peak(2400) < peak(300) + 2100 * per_row * 4 < 2400 * 2400


def test_distances_of_pairs_are_those_of_the_difference() -> None:
    a, b = structured(200, 30, 0), structured(200, 30, 1)
    rows, columns = np.random.default_rng(0).integers(200, size=(2, 500))
    np.testing.assert_allclose(pair_distances(a, b, rows, columns), everything(a, b)[rows, columns], rtol=1e-12)


def test_nothing_to_compare_is_refused() -> None:
    good = np.ones((3, 2))
    bad = good.copy()
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"queries must be \[n, d\] with at least one row, found \[0, 2\]"):
        nearest(np.zeros((0, 2)), good)
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[3, 2\]"):
        nearest(np.zeros((2, 3)), good)
    with pytest.raises(ValueError, match="base: row 1 holds values that are not finite"):
        nearest(good, bad)
    with pytest.raises(ValueError, match="3 nearest neighbours asked for, but there are 2 other rows"):
        nearest_others(good, 3)
    with pytest.raises(ValueError, match="0 nearest neighbours asked for, but there are 3 rows"):
        nearest(good, good, 0)
