from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from medzoo.metrics.neighbours import BLOCK, nearest, nearest_training, small_pixels


@pytest.mark.parametrize("n", [1, 7, BLOCK, BLOCK + 3])
def test_nearest_equals_comparing_all(n: int) -> None:
    rng = np.random.default_rng(n)
    queries, training = rng.normal(size=(n, 6)).astype(np.float32), rng.normal(size=(BLOCK + 50, 6)).astype(np.float32)
    everything = np.linalg.norm(queries[:, None].astype(float) - training[None].astype(float), axis=2)
    distances, indices = nearest(queries, training)
    np.testing.assert_array_equal(indices, everything.argmin(1))
    np.testing.assert_allclose(distances, everything.min(1), rtol=1e-12)


def test_copies_have_distance_zero_even_far_from_the_origin() -> None:
    training = 1e6 + np.random.default_rng(0).normal(size=(40, 5))
    distances, indices = nearest(training[[3, 30]], training)
    assert distances.tolist() == [0, 0] and indices.tolist() == [3, 30]


def test_a_generator_that_copies_is_seen() -> None:
    rng = np.random.default_rng(0)
    training, heldout, new = (rng.normal(size=(n, 8)) for n in (300, 100, 200))
    copies = training[:200] + rng.normal(0, 0.01, size=(200, 8))
    half = np.concatenate([copies[:100], new[:100]])
    found = nearest_training(half, heldout, training, pairs=3)
    assert 0.5 <= found.nearer_than_1 <= 0.55
    assert found.smallest_fake < 0.1 < found.smallest_heldout
    assert [pair[1] for pair in found.pairs] == [pair[0] for pair in found.pairs]  # copy i is of image i
    assert found.pairs[0][2] == found.smallest_fake
    assert nearest_training(copies, heldout, training).median_fake < 0.1


def test_a_generator_of_new_images_has_the_shares_expected() -> None:
    rng = np.random.default_rng(1)
    training, heldout, new = (rng.normal(size=(n, 8)) for n in (300, 2000, 4000))
    found = nearest_training(new, heldout, training)
    assert found.nearer_than_1 == pytest.approx(0.01, abs=0.005)
    assert found.nearer_than_5 == pytest.approx(0.05, abs=0.012)
    assert found.median_fake == pytest.approx(found.median_heldout, rel=0.03)


def test_memory_does_not_grow_with_the_number_of_queries() -> None:
    training = np.zeros((3 * BLOCK, 16), np.float32)

    def peak(n: int) -> int:
        queries = np.zeros((n, 16), np.float32)
        tracemalloc.start()
        nearest(queries, training)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    everything = 40 * BLOCK * len(training) * 8
    assert peak(40 * BLOCK) < peak(2 * BLOCK) + 40 * BLOCK * 8 * 4 < everything / 10


def test_small_pixels_are_averages_in_the_unit_range() -> None:
    image = np.zeros((1, 1, 4, 4), np.uint8)
    image[0, 0, :2, 2:] = [[255, 255], [255, 0]]
    np.testing.assert_allclose(small_pixels(image, 2), [[0, 0.75, 0, 0]])
    np.testing.assert_allclose(small_pixels(image.astype(np.float32) / 255, 2), [[0, 0.75, 0, 0]])
    colour = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), np.uint8)
    assert small_pixels(colour).shape == (3, 3 * 32 * 32)
    with pytest.raises(ValueError, match="100 x 100 pixels cannot be averaged down to 32 x 32"):
        small_pixels(np.zeros((1, 3, 100, 100), np.uint8))


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="0 queries, 3 training"):
        nearest(np.zeros((0, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[3, 2\]"):
        nearest(np.zeros((2, 3)), np.zeros((3, 2)))
