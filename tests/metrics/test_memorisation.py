"""Near copies and nearness in features: what is caught, what is not accused, what is said of few images."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.metrics import Case, Score, View, memorisation, near_copies
from medzoo.metrics._nearness import nearer_than
from medzoo.metrics.memorisation import authentic, nearest_features
from medzoo.metrics.near_copies import levelled, nearest_pixels, small_pixels

Images = NDArray[np.uint8]


@cache
def pictures(n: int, seed: int) -> Images:
    """Grey images [n, 1, 64, 64] of a bright field with random blobs in it: alike as images of one organ are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] / 64
    field = 1 - 2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    at, width, height = (
        rng.uniform(0.1, 0.9, (n, 6, 2)),
        rng.uniform(0.04, 0.15, (n, 6)),
        rng.uniform(-0.5, 0.5, (n, 6)),
    )
    blobs = np.zeros((n, 64, 64))
    for i in range(6):
        square = (x - at[:, i, 0, None, None]) ** 2 + (y - at[:, i, 1, None, None]) ** 2
        blobs += height[:, i, None, None] * np.exp(-square / (2 * width[:, i, None, None] ** 2))
    return to_bytes(60 + 120 * (field + blobs) + rng.normal(0, 4, (n, 64, 64)))[:, None]


def to_bytes(values: NDArray[Any]) -> Images:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def features(images: Images) -> NDArray[np.float32]:
    """A few Fourier coefficients' sizes: they change little with a small change of the image."""
    spectrum = np.abs(np.fft.fft2(images[:, 0].astype(float) - 128))[:, :6, :6]
    return np.log1p(spectrum / 64).reshape(len(images), -1).astype(np.float32)


def view(images: Images) -> View:
    return View(images, features=features(images))


def everything(case: Case, **options: int) -> dict[str, Score]:
    return {**memorisation.measure(case, **options), **near_copies.measure(case, **options)}


def measured(fake: Images, n: int = 300, heldout: int = 200, **options: int) -> dict[str, Score]:
    case = Case(fake=view(fake), real=view(pictures(heldout, 1)), training=view(pictures(n, 0)))
    return everything(case, **options)


CHANGES = {
    "copied": lambda x: x,
    "mirrored": lambda x: x[..., ::-1],
    "noisy": lambda x: to_bytes(x + np.random.default_rng(5).normal(0, 0.03 * 255, x.shape)),
    "quantised": lambda x: x // 24 * 24 + 12,
    "brighter": lambda x: to_bytes(x * 1.15 + 12.0),
    "blurred": lambda x: to_bytes(
        sum(np.roll(x, (i, j), (2, 3)).astype(float) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_caught_whatever_was_done_to_hide_it(change: str) -> None:
    scores = measured(CHANGES[change](pictures(300, 0)[:100]))
    assert scores["near_copies"].value == 1
    assert scores["near_copies"].low == pytest.approx(0.975, abs=0.01)
    assert scores["nearer_than_5_pixels"].value == 1
    detail = scores["near_copies"].detail
    assert detail is not None
    assert all(pair["fake"] == pair["training"] for pair in detail["pairs"])
    assert all(pair["mirrored"] == (change == "mirrored") for pair in detail["pairs"])


def test_a_generator_that_copies_is_caught_by_every_score() -> None:
    scores = measured(pictures(300, 0))
    assert scores["near_copies"].value == 1 and scores["authenticity"].value == 0
    assert scores["nearer_than_1"].value == scores["nearer_than_5"].value == scores["nearer_than_5_pixels"].value == 1


def test_new_images_are_no_copies() -> None:
    scores = measured(pictures(600, 2))
    assert scores["near_copies"].value == 0
    assert scores["near_copies"].note is None and scores["near_copies"].high == pytest.approx(0.004, abs=0.001)
    for name, expected in (("nearer_than_1", 0.01), ("nearer_than_5", 0.05), ("nearer_than_5_pixels", 0.05)):
        score = scores[name]
        assert score.low is not None and score.high is not None
        assert score.low <= expected <= score.high and score.value < expected + 0.05
    detail = scores["authenticity"].detail
    assert detail is not None
    assert scores["authenticity"].value == pytest.approx(detail["heldout"], abs=0.08)


def test_the_share_of_copies_is_found_and_grows() -> None:
    values = []
    for copied in (0, 0.5, 1):
        share = round(200 * copied)
        scores = measured(np.concatenate([pictures(300, 0)[:share], pictures(600, 2)[: 200 - share]]))
        assert scores["near_copies"].value == copied
        values.append([scores[name].value for name in ("authenticity", "nearer_than_1", "nearer_than_5_pixels")])
    assert (np.diff(values, axis=0)[:, 0] < 0).all() and (np.diff(values, axis=0)[:, 1:] > 0).all()


def test_training_images_that_are_there_twice_hide_no_copy_and_accuse_no_other() -> None:
    once = pictures(300, 0)
    training = view(np.concatenate([once, once]))

    def scores(fake: Images) -> dict[str, Score]:
        case = Case(fake=view(fake), real=view(pictures(200, 1)), training=training)
        return everything(case)

    copies, new = scores(once[:50]), scores(pictures(600, 2)[:50])
    assert copies["near_copies"].value == 1 and copies["authenticity"].value == 0
    assert new["near_copies"].value == 0
    assert "600 of 600 training images" in str(new["authenticity"].note)


def test_one_leaked_heldout_image_does_not_blind_the_score_and_is_told() -> None:
    leaked = np.concatenate([pictures(200, 1)[:-1], pictures(300, 0)[:1]])
    noisy = CHANGES["noisy"](pictures(300, 0)[:60])
    scores = everything(Case(fake=view(noisy), real=view(leaked), training=view(pictures(300, 0))))
    assert scores["near_copies"].value == 1
    assert "1 of 200 held-out real images" in str(scores["near_copies"].note)


def test_the_report_gets_the_closest_pairs_and_both_histograms() -> None:
    fake = np.concatenate([pictures(600, 2)[:40], pictures(300, 0)[[7]], pictures(300, 0)[[9], :, :, ::-1]])
    scores = measured(fake)
    for name, space in (("nearer_than_5", "features"), ("nearer_than_5_pixels", "pixels")):
        detail = json.loads(json.dumps(scores[name].detail))
        assert detail["space"] == space and len(detail["pairs"]) == 8
        assert detail["pairs"][0]["fake"] == 40 and detail["pairs"][0]["training"] == 7
        assert detail["pairs"][0]["distance"] == 0
        distances = [pair["distance"] for pair in detail["pairs"]]
        assert distances == sorted(distances)
        assert sum(detail["fake_distances"]["counts"]) == 42 and sum(detail["heldout_distances"]["counts"]) == 200
        assert detail["fake_distances"]["edges"] == detail["heldout_distances"]["edges"]
    second = detail["pairs"][1]
    assert (second["fake"], second["training"], second["mirrored"]) == (41, 9, True)


def test_vectors_of_a_gaussian_have_the_shares_expected() -> None:
    rng = np.random.default_rng(1)
    training, heldout, new = (rng.normal(size=(n, 8)) for n in (300, 2000, 4000))
    near, reference = nearest_features(new, training), nearest_features(heldout, training)
    assert nearer_than(near.distances, reference.distances, 1) == pytest.approx(0.01, abs=0.005)
    assert nearer_than(near.distances, reference.distances, 5) == pytest.approx(0.05, abs=0.012)
    copies = nearest_features(training[:200] + rng.normal(0, 0.01, (200, 8)), training)
    assert nearer_than(copies.distances, reference.distances, 1) == 1
    np.testing.assert_array_equal(copies.indices, np.arange(200))


def test_a_percentile_is_that_below_which_a_new_distance_lies_so_often() -> None:
    """Weibull's rule: over many small held-out sets the share of new values below is the percentage itself."""
    rng = np.random.default_rng(0)
    shares = [nearer_than(rng.random(2000), rng.random(39), 5) for _ in range(200)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.006)
    assert nearer_than(np.array([0.5, 1.0, 2.0]), np.array([1.0, 3.0]), 5) == pytest.approx(1 / 3)  # the smallest


def test_authentic_is_farther_than_the_training_image_from_its_nearest_other() -> None:
    training = np.array([[0.0], [1.0], [5.0], [5.0]])
    fake = nearest_features(np.array([[-0.5], [-1.5], [5.0], [5.1], [1.0]]), training)
    assert authentic(fake, np.array([1.0, 1.0, 0.0, 0.0])).tolist() == [False, True, False, True, False]


def test_an_image_and_its_mirror_image_count_once_among_the_nearest() -> None:
    """Symmetric images have both at the same distance."""
    half = pictures(60, 3)
    symmetric = small_pixels(np.concatenate([half[..., :32], half[..., :32][..., ::-1]], axis=3))
    query = small_pixels(pictures(20, 4))
    found = nearest_pixels(query, symmetric)
    distances = np.linalg.norm(levelled(query)[:, None].astype(float) - levelled(symmetric).astype(float), axis=2)
    np.testing.assert_allclose(found.distances, distances.min(1), rtol=1e-9)
    np.testing.assert_allclose(found.ratios, distances.min(1) / np.sort(distances, 1)[:, :50].mean(1), rtol=1e-9)
    assert not found.mirrored.any()


def test_small_pixels_are_averages_in_the_unit_range() -> None:
    image = np.zeros((1, 1, 4, 4), np.uint8)
    image[0, 0, :2, 2:] = [[255, 255], [255, 0]]
    np.testing.assert_allclose(small_pixels(image, 2)[0, 0], [[0, 0.75], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(small_pixels(image.astype(np.float32) / 255, 2)[0, 0], [[0, 0.75], [0, 0]], rtol=1e-6)
    colour = np.random.default_rng(0).integers(0, 256, (70, 3, 64, 64), np.uint8)
    blocks = colour.reshape(70, 3, 32, 2, 32, 2).mean((3, 5)) / 255
    np.testing.assert_allclose(small_pixels(colour), blocks, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [(28, 28), (100, 100), (127, 50), (33, 257)])
def test_small_pixels_take_any_size_and_keep_the_mean(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, *size), np.uint8)
    small = small_pixels(images)
    assert small.shape == (3, 1, min(size[0], 32), min(size[1], 32))
    np.testing.assert_allclose(small.mean((1, 2, 3)), images.mean((1, 2, 3)) / 255, rtol=1e-5)
    np.testing.assert_allclose(small_pixels(images[..., ::-1]), small[..., ::-1], rtol=1e-4, atol=1e-6)
    if size == (28, 28):
        np.testing.assert_allclose(small, images / 255, rtol=1e-5)


def test_blank_images_have_no_shape_and_are_copies_of_each_other() -> None:
    blank = np.full((3, 1, 8, 8), 0.5, np.float32)
    faint = blank + np.random.default_rng(0).normal(0, 1e-4, blank.shape)
    assert (levelled(blank) == 0).all() and np.linalg.norm(levelled(faint), axis=1).max() < 0.05
    found = nearest_pixels(blank, np.concatenate([blank, np.random.default_rng(0).random((5, 1, 8, 8))]))
    assert (found.distances == 0).all() and (found.ratios == 0).all()


def test_the_block_changes_nothing() -> None:
    scores = measured(pictures(600, 2)[:90])
    again = measured(pictures(600, 2)[:90], block=37)
    assert {name: score.value for name, score in again.items()} == pytest.approx(
        {name: score.value for name, score in scores.items()}, rel=1e-9
    )


def test_few_images_are_said() -> None:
    scores = measured(pictures(600, 2)[:30], n=20, heldout=50)
    assert scores["nearer_than_1"].note and "50 held-out images" in scores["nearer_than_1"].note
    assert "new images have 2.0%" in scores["nearer_than_1"].note
    assert scores["nearer_than_5"].note is None
    assert "all 20 training images" in str(scores["near_copies"].note)


def test_what_cannot_be_measured_is_refused() -> None:
    good = view(pictures(200, 1)[:9])
    bad = View(good.images, features=np.full((9, 36), np.nan, np.float32))
    with pytest.raises(ValueError, match="at least 2 training images"):
        memorisation.measure(Case(fake=good, real=good))
    with pytest.raises(ValueError, match="at least 2 training images"):
        memorisation.measure(Case(fake=good, real=good, training=view(pictures(200, 1)[:1])))
    with pytest.raises(ValueError, match="needs the features"):
        memorisation.measure(Case(fake=View(good.images), real=good, training=good))
    with pytest.raises(ValueError, match="fake: row 0 holds values that are not finite"):
        memorisation.measure(Case(fake=bad, real=good, training=good))
    with pytest.raises(ValueError, match="real must be .* at least one row"):
        memorisation.measure(Case(fake=good, real=View(good.images[:0], features=np.zeros((0, 36))), training=good))
    with pytest.raises(ValueError, match="images must be"):
        small_pixels(np.zeros((0, 1, 8, 8), np.uint8))
