"""Mask statistics: hand-drawn shapes, scipy, known damage, real masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medzoo.datasets import load_dataset
from medzoo.metrics import Case, View
from medzoo.metrics._shapes import contrasts, count_components, hull_areas, perimeters, touches_border
from medzoo.metrics.masks import METRIC, mask_gap, mask_statistics, measure, wasserstein
from tests.tools.paths import SHARED

ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
spatial = pytest.importorskip("scipy.spatial", reason="scipy is not installed")
stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
DATA = SHARED / "data"


def drawn(rows: Sequence[str]) -> np.ndarray:
    return np.array([[cell == "#" for cell in row] for row in rows])[None]


def discs(seed: int, n: int = 60, size: int = 48, smallest: int = 6, largest: int = 12) -> np.ndarray:
    """One disc a mask [n, 1, size, size], not at the border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    radius = rng.uniform(smallest, largest, (n, 1, 1))
    middle = rng.uniform(largest + 2, size - largest - 2, (2, n, 1, 1))
    return ((np.hypot(y - middle[0], x - middle[1]) < radius)[:, None]).astype(np.uint8)


def pictures(masks: np.ndarray, seed: int = 0) -> np.ndarray:
    """Noise with something bright where the masks are."""
    noise = np.random.default_rng(seed).normal(60, 5, (len(masks), 3, *masks.shape[2:]))
    return (noise + 80 * masks[:, :1]).clip(0, 255).astype(np.uint8)


def blobs(seed: int, n: int, size: int, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(n, size, size))
    return ndimage.gaussian_filter(noise, (0, sigma, sigma)) > 0


def outline_contrast(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return contrasts(images, masks, [np.arange(len(masks))])[0]


# Pieces


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [
        (["....", "...."], 0),
        (["####", "####"], 1),
        (["#..#", "#..#", "####"], 1),  # joined at the bottom
        (["####", "#..#", "#..#"], 1),
        (["#.#.", ".#.#"], 4),  # corners do not touch
        (["#.#.#", "#.#.#", "#####", ".....", "##.##"], 3),
        (["#####", "....#", "###.#", "#...#", "#####"], 1),  # a spiral
        (["#.#.#.#", "#.#.#.#", "###.###", "..#.#..", "..###.."], 1),
        (["#"], 1),
        (["..#", "#.."], 2),  # the end of one row does not touch the begin of the next
    ],
)
def test_pieces_are_counted(rows: list[str], pieces: int) -> None:
    assert count_components(drawn(rows)).tolist() == [pieces]


@pytest.mark.parametrize("sigma", [0, 0.7, 2, 5])
@pytest.mark.parametrize("size", [1, 17, 64])
def test_pieces_are_those_of_scipy_for_any_block(size: int, sigma: float) -> None:
    masks = blobs(0, 30, size, sigma)
    expected = [ndimage.label(mask)[1] for mask in masks]
    assert count_components(masks).tolist() == expected
    assert count_components(masks, block=7 * size * size).tolist() == expected


def test_long_ways_are_followed() -> None:
    size = 101
    comb = np.zeros((1, size, size), bool)
    comb[0, ::2] = True
    assert count_components(comb).tolist() == [51]
    comb[0, 1::4, 0] = comb[0, 3::4, -1] = True  # now one snake
    assert count_components(comb).tolist() == count_components(comb.transpose(0, 2, 1)).tolist() == [1]


def test_no_masks_have_no_pieces() -> None:
    assert count_components(np.zeros((0, 4, 4))).tolist() == []


# Shapes


@pytest.mark.parametrize("radius", [10, 25, 60.5])
def test_a_disc_has_the_outline_of_a_circle_and_is_convex_and_compact(radius: float) -> None:
    y, x = np.mgrid[:140, :140]
    disc = np.hypot(y - 70.3, x - 69.1)[None] < radius
    assert perimeters(disc)[0] == pytest.approx(2 * np.pi * radius, rel=0.02)
    found = {name: values.item() for name, values in mask_statistics(disc[None]).items()}
    assert found["area"] == pytest.approx(np.pi * radius**2 / 140**2, rel=0.02)
    assert 0.96 < found["compactness"] <= 1 and 0.93 < found["solidity"] <= 1
    assert (found["components"], found["single"], found["empty"], found["border"]) == (1, 1, 0, 0)


def test_outlines_cross_lines_as_the_formula_says() -> None:
    square = np.zeros((1, 20, 20))
    square[0, 3:13, 5:15] = 1  # 10 rows and 10 columns with 2 crossings each, 19 diagonals each way with 2
    assert perimeters(square)[0] == pytest.approx(np.pi / 8 * (40 + 76 / np.sqrt(2)))
    assert perimeters(square)[0] == pytest.approx(40, rel=0.1)
    np.testing.assert_allclose(perimeters(square[:, 3:13, 5:15]), perimeters(square))  # the border is outline
    outer = perimeters(square)[0]
    square[0, 6:9, 8:11] = 0  # and so is a hole: 6 crossings along rows, 6 along columns, 5 diagonals each way with 2
    assert perimeters(square)[0] == pytest.approx(outer + np.pi / 8 * (12 + 20 / np.sqrt(2)))


def test_hulls_of_drawn_shapes() -> None:
    assert hull_areas(drawn(["....", ".##.", ".##."])).tolist() == [4]
    assert hull_areas(drawn(["....", "...."])).tolist() == [0]
    assert hull_areas(drawn(["#..", "...", "..#"])).tolist() == [5]  # two squares and the band between them
    assert hull_areas(drawn(["#.#", "...", "#.#"])).tolist() == [9]
    assert hull_areas(drawn(["##", "#."])).tolist() == [3.5]


@pytest.mark.parametrize("sigma", [0, 1, 4])
def test_hulls_are_those_of_scipy(sigma: float) -> None:
    for mask in blobs(1, 15, 23, sigma) & (np.random.default_rng(2).random((15, 23, 23)) < 0.1):
        y, x = np.nonzero(mask)
        corners = np.concatenate([np.stack([y + i, x + j], 1) for i in (0, 1) for j in (0, 1)])
        assert hull_areas(mask[None])[0] == pytest.approx(spatial.ConvexHull(corners).volume)


def test_solidity_falls_with_dents_holes_and_pieces_and_compactness_with_length() -> None:
    block = np.zeros((5, 1, 30, 30), np.uint8)
    block[:, 0, 5:25, 5:25] = 1
    block[1, 0, 10:20, 10:20] = 0  # a hole
    block[2, 0, 5:15, 12:18] = 0  # a dent
    block[3, 0, 14:16] = 0  # two pieces
    block[4, 0, :14] = block[4, 0, 16:] = 0  # a stripe
    found = {name: values[:, 0] for name, values in mask_statistics(block).items()}
    np.testing.assert_allclose(found["solidity"], [1, 0.75, 0.85, 0.9, 1])
    assert (found["compactness"][1:] < found["compactness"][0] - 0.1).all() and found["compactness"][4] < 0.4
    assert found["components"].tolist() == [1, 1, 1, 2, 1]
    # Turned or mirrored it is the same shape.
    for turned in (block[..., ::-1], block.transpose(0, 1, 3, 2)):
        for name, values in mask_statistics(turned).items():
            np.testing.assert_allclose(values[:, 0], found[name], err_msg=name)


def test_the_border_is_touched_from_each_side() -> None:
    masks = np.zeros((6, 8, 9), np.uint8)
    masks[:, 3:5, 3:5] = 1
    masks[0, 0, 4] = masks[1, -1, 2] = masks[2, 5, 0] = masks[3, 7, 8] = 1
    masks[4, 1:-1, 1:-1] = 1
    assert touches_border(masks).tolist() == [True, True, True, True, False, False]


def test_statistics_of_known_masks() -> None:
    masks = np.zeros((4, 1, 10, 10), np.uint8)
    masks[1, 0, :5] = 1
    masks[2, 0, 0, 0] = masks[2, 0, 9, 9] = 255
    masks[3] = 1
    found = {name: values[:, 0].tolist() for name, values in mask_statistics(masks).items()}
    assert found["area"] == [0, 0.5, 0.02, 1]
    assert found["empty"] == [1, 0, 0, 0]
    assert np.isnan([values[0] for name, values in found.items() if name not in ("area", "empty")]).all()
    assert found["components"][1:] == [1, 2, 1] and found["single"][1:] == [1, 0, 1] and found["border"][1:] == [1] * 3
    assert found["solidity"][1] == found["solidity"][3] == 1 and found["solidity"][2] == pytest.approx(2 / 19)


# Against real masks


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 8), (40, 31)])
def test_the_distance_is_that_of_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    one, other = rng.normal(size=n), rng.normal(1, 2, size=m).round(1)
    assert wasserstein(one, other) == pytest.approx(stats.wasserstein_distance(one, other))


def test_equal_masks_have_no_gap_whatever_their_order() -> None:
    masks = discs(0)
    assert mask_gap(masks, masks) == 0
    assert mask_gap(masks, masks[::-1]) == pytest.approx(0, abs=1e-12)
    assert mask_gap(masks, np.repeat(masks, 2, axis=0)) == pytest.approx(0, abs=1e-12)
    assert mask_gap(masks, discs(1)) < 0.1


def test_the_gap_of_moved_areas_is_in_real_deviations() -> None:
    real = np.zeros((2, 1, 10, 10), np.uint8)
    real[0, 0, 2:4, 2:4] = 1
    real[1, 0, 2:8, 2:4] = 1  # areas 0.04 and 0.12: a deviation of 0.04
    fake = real.copy()
    fake[:, 0, 2:8, 4:6] = real[:, 0, 2:8, 2:4]  # areas 0.08 and 0.24
    found = measure(Case(View(pictures(fake), fake), View(pictures(real), real)))["mask_gap"].detail["statistics"]
    assert found["area"]["distance"] == pytest.approx(2)
    assert found["empty"]["distance"] == found["components"]["distance"] == found["border"]["distance"] == 0


def damaged(masks: np.ndarray, kind: str, share: float) -> np.ndarray:
    """What goes wrong with generated masks, in a share of them."""
    masks, rng = masks.copy(), np.random.default_rng(0)
    some = masks[: round(share * len(masks))]
    if kind == "empty":
        some[:] = 0
    elif kind == "stripes":
        some[..., :2] = 1
    elif kind == "speckle":
        some[rng.random(some.shape) < 0.01] = 1
    elif kind == "holes":
        some[rng.random(some.shape) < 0.1] = 0
    elif kind == "small":
        some[..., ::2, :] = 0
    return masks


@pytest.mark.parametrize("kind", ["empty", "stripes", "speckle", "holes", "small"])
def test_the_gap_grows_with_damage(kind: str) -> None:
    real, other = discs(0), discs(1)
    gaps = [mask_gap(real, damaged(other, kind, share)) for share in (0, 0.2, 0.5, 1)]
    assert (np.diff(gaps) > 0.1).all()


def test_stripes_at_the_border_show() -> None:
    real, fake = discs(0), damaged(discs(1), "stripes", 0.5)
    found = measure(Case(View(pictures(fake), fake), View(pictures(real), real)))
    assert found["mask_border"].value == 0.5 and found["mask_border"].detail["real"] == 0
    statistics = found["mask_gap"].detail["statistics"]
    assert statistics["border"]["distance"] == pytest.approx(5)  # 0.5 against 0, of at least 0.1


# Masks and their images


def test_outlines_on_edges_stand_out() -> None:
    masks = discs(0, 20)
    images = pictures(masks)
    assert outline_contrast(images, masks).mean() > 3
    assert outline_contrast(images, np.roll(masks, 1, 0)).mean() < 2
    assert np.isnan(outline_contrast(images, np.zeros_like(masks))).all()
    assert np.isnan(outline_contrast(np.zeros_like(images), masks)).all()


def test_contrast_by_hand() -> None:
    image, mask = np.zeros((1, 1, 6, 6)), np.zeros((1, 1, 6, 6), np.uint8)
    mask[..., 3:] = 1  # the outline is columns 2 and 3
    image[..., 3:] = 8  # a gradient of 4 there
    image[..., 5] = 9  # of 0.5 and 1 on columns 4 and 5
    assert outline_contrast(image, mask).item() == pytest.approx(4 / (1.5 / 4))


@pytest.mark.parametrize("moved", [0, 1, 2, 4])
def test_contrast_falls_to_one_as_masks_lose_their_images(moved: int) -> None:
    masks = discs(0, 60)
    images = pictures(masks)
    shifted = [np.roll(masks, by, -1) for by in (moved, moved + 1)]
    near, far = (measure(Case(View(images, one), View(images, masks)))["mask_contrast"] for one in shifted)
    assert far.value < near.value and near.low <= near.value <= near.high
    assert near.detail["real"] > 2.5
    lost = measure(Case(View(images, np.roll(masks, 1, 0)), View(images, masks)))["mask_contrast"]
    assert 0.8 < lost.value < 1.2


# The metric


def test_the_metric_gives_a_score_for_each_scale_beside_the_real_value() -> None:
    real, fake = discs(0), damaged(discs(1), "speckle", 0.5)
    case = Case(View(pictures(fake), fake), View(pictures(real), real))
    found = measure(case)
    assert set(found) == {scale.name for scale in METRIC.scales}
    for name, score in found.items():
        assert score.low <= score.value <= score.high, name
    values = mask_statistics(fake)["area"]
    assert found["mask_area"].value == pytest.approx(values.mean())
    error = values.std() / np.sqrt(len(values))
    assert found["mask_area"].high - found["mask_area"].low == pytest.approx(2 * 1.96 * error, rel=0.4)
    assert found["mask_area"].note == f"real {mask_statistics(real)['area'].mean():.3g}"
    gap = found["mask_gap"]
    assert gap.value == pytest.approx(mask_gap(real, fake)) and gap.low > 0
    assert gap.value == pytest.approx(np.mean([one["distance"] for one in gap.detail["statistics"].values()]))
    assert gap.detail["statistics"]["area"]["fake"] == found["mask_area"].value
    assert measure(case) == found


def test_channels_count_alike() -> None:
    real, fake, more = discs(0), discs(1), damaged(discs(1), "empty", 0.5)
    both_real, both = np.concatenate([real, real], 1), np.concatenate([fake, more], 1)
    images = pictures(fake), pictures(real)
    one, two = (measure(Case(View(images[0], x), View(images[1], real))) for x in (fake, more))
    found = measure(Case(View(images[0], both), View(images[1], both_real)))
    for name in ("mask_gap", "mask_area", "mask_empty", "mask_solidity"):
        assert found[name].value == pytest.approx((one[name].value + two[name].value) / 2), name
        assert "mean over 2 mask channels" in found[name].note
    swapped = measure(Case(View(images[0], both[:, ::-1]), View(images[1], both_real[:, ::-1])))
    assert swapped["mask_gap"].value == pytest.approx(found["mask_gap"].value)


def test_a_channel_that_is_always_empty_takes_nothing_from_the_others() -> None:
    real, fake = discs(0), discs(1)
    padded = [np.concatenate([one, np.zeros_like(one)], 1) for one in (fake, real)]
    found = measure(Case(View(pictures(fake), padded[0]), View(pictures(real), padded[1])))
    assert found["mask_components"].value == 1 and found["mask_empty"].value == 0.5
    assert np.isfinite(found["mask_gap"].value)


def test_only_empty_masks_are_far_off_and_said_to_be_empty() -> None:
    real, fake = discs(0), np.zeros_like(discs(1))
    found = measure(Case(View(pictures(real), fake), View(pictures(real), real)))
    assert found["mask_empty"].value == 1 and found["mask_gap"].value > 3
    assert np.isnan(found["mask_single"].value) and "all generated masks are empty" in found["mask_single"].note
    assert np.isnan(found["mask_contrast"].value) and "nothing to shuffle" in found["mask_contrast"].note


def test_one_image_has_statistics_but_nothing_to_shuffle() -> None:
    real, fake = discs(0), discs(1, 1)
    found = measure(Case(View(pictures(fake), fake), View(pictures(real), real)))
    assert np.isfinite(found["mask_gap"].value) and np.isnan(found["mask_contrast"].value)


def test_wrong_masks_are_refused() -> None:
    masks = discs(0, 4)
    images = pictures(masks)
    with pytest.raises(ValueError, match=r"found \[4, 48, 48\]"):
        mask_statistics(masks[:, 0])
    with pytest.raises(ValueError, match=r"n and K at least 1, found \[0, 1, 48, 48\]"):
        mask_gap(masks, masks[:0])
    with pytest.raises(ValueError, match=r"real masks are \[1, 48, 48\], fake \[1, 24, 24\]"):
        mask_gap(masks, masks[..., :24, :24])
    with pytest.raises(ValueError, match="the fake images have no masks"):
        measure(Case(View(images), View(images, masks)))
    with pytest.raises(ValueError, match=r"real masks are \[2, 48, 48\], fake \[1, 48, 48\]"):
        measure(Case(View(images, masks), View(images, np.repeat(masks, 2, 1))))
    with pytest.raises(ValueError, match=r"found \[3, 3, 48, 48\] and \[4, 1, 48, 48\]"):
        outline_contrast(images[:3], masks)
    with pytest.raises(ValueError, match=r"\[24, 48\] pixels and masks of \[48, 48\]"):
        outline_contrast(images[:, :, ::2], masks)


def test_real_polyp_masks() -> None:
    name = "polyp_hyperkvasir_seg"
    if not (DATA / name).is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    found = load_dataset(name, root=DATA, split="val", size=64)
    half = View(found.images[::2], found.masks[::2]), View(found.images[1::2], found.masks[1::2])
    scores = measure(Case(*half, repeats=10))
    assert scores["mask_gap"].value < 0.3 < mask_gap(half[1].masks, damaged(half[0].masks, "stripes", 0.5))
    assert scores["mask_contrast"].value > 1.3
    assert scores["mask_single"].value > 0.8 and scores["mask_empty"].value == 0
