"""Trained on synthetic discs with masks, tested on held-out ones: what is useful, what is not, and what decides it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.metrics import Case, View, _learners
from medzoo.metrics._arms import Outcome, Schedule, resamples, student_t
from medzoo.metrics.segmentation import METRIC, measure
from tests.tools.disc_case import BRIEF, HELD_OUT, ONCE, SYNTHETIC, TINY, TRAINING, discs, shifted

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")


def case(fake: View = SYNTHETIC, training: View = TRAINING, **changes: Any) -> Case:
    return Case(**{"fake": fake, "real": HELD_OUT, "training": training, "repeats": 50} | changes)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    _learners._kept.clear()
    yield
    _learners._kept.clear()


def test_images_like_the_real_ones_are_as_useful_as_those() -> None:
    said: list[str] = []
    scores = measure(case(say=said.append), TINY)
    assert set(scores) == {scale.name for scale in METRIC.scales}
    assert all(score.value > 0.8 for score in scores.values())
    assert all(score.low < score.value < score.high <= 1 and score.note is None for score in scores.values())
    assert abs(scores["seg_dice"].value - scores["seg_dice_real"].value) < 0.05
    detail = scores["seg_dice"].detail
    assert detail["gain"] == pytest.approx(scores["seg_dice"].value - scores["seg_dice_real"].value)
    assert detail["gain_low"] < detail["gain"] < detail["gain_high"] and len(detail["seeds"]) == TINY.seeds
    assert detail["iou"] < np.mean(detail["seeds"]) == scores["seg_dice"].value
    assert [score.detail["images"] for score in scores.values()] == [40, 80, 60, 80, 120]
    assert len(said) == 10 and said[-1] == "segmentation: seed 2 of 2, real + 2x synthetic"


def test_the_farther_the_masks_are_from_their_images_the_less_useful() -> None:
    fakes = discs(2, 40)
    order = np.random.default_rng(0).permutation(40)
    others = View(fakes.images, fakes.masks[order])
    found = [measure(case(fake, seed=3), ONCE) for fake in (fakes, shifted(fakes, 3), shifted(fakes, 12), others)]
    near, moved, far, shuffled = (scores["seg_dice"].value for scores in found)
    assert near > moved + 0.1 > far + 0.5 and far < 0.15
    assert shuffled < 0.5 * near
    assert found[2]["seg_dice"].detail["gain_high"] < -0.5
    assert found[2]["seg_dice_1x"].value < found[0]["seg_dice_1x"].value - 0.05
    assert len({scores["seg_dice_real"].value for scores in found}) == 1  # the same networks


def test_the_same_case_gives_the_same_numbers_and_leaves_the_settings_alone() -> None:
    fakes, brief = discs(2, 40), replace(ONCE, steps=25)
    first = measure(case(fakes), brief)
    _learners._kept.clear()
    threads = torch.get_num_threads()
    torch.manual_seed(99)
    np.random.seed(99)
    try:
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            again = measure(case(fakes), brief)
            assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
        assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 2
        np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
    for name in ("seg_dice", "seg_dice_1x", "seg_dice_real"):
        assert again[name] == first[name] and first[name].value > 0
    assert measure(case(fakes, seed=1), brief)["seg_dice"].value != first["seg_dice"].value


def test_the_training_images_as_synthetic_ones_are_real_alone() -> None:
    scores = measure(case(TRAINING), TINY)
    assert set(scores) == {"seg_dice", "seg_dice_real"}
    assert scores["seg_dice"].value == scores["seg_dice_real"].value and scores["seg_dice"].detail["gain"] == 0
    assert len(_learners._kept) == TINY.seeds
    assert len(measure(case(shifted(TRAINING, 3)), BRIEF)) == 4  # but not its images alone


def test_too_few_synthetic_images_are_said() -> None:
    few = measure(case(discs(2, 30)), BRIEF)
    assert few["seg_dice_0.5x"].note is None and few["seg_dice_0.5x"].detail["images"] == 60
    assert few["seg_dice_1x"].note == "30 synthetic images, 0.75x instead of 1x" and "seg_dice_2x" not in few
    more = measure(case(discs(2, 60)), BRIEF)
    assert more["seg_dice_1x"].note is None and more["seg_dice_1x"].detail["images"] == 80
    assert more["seg_dice_2x"].note == "60 synthetic images, 1.5x instead of 2x"


@pytest.mark.parametrize(("height", "width"), [(21, 30), (9, 8), (50, 33)])
def test_any_size_and_several_masks(height: int, width: int) -> None:
    def view(seed: int) -> View:
        found = discs(seed, 10, max(height, 12), max(width, 12))
        images, masks = found.images[:, :, :height, :width], found.masks[:, :, :height, :width]
        return View(images.repeat(3, axis=1), np.concatenate([masks, 1 - masks], axis=1))

    schedule = Schedule(steps=2, batch=4, seeds=1)
    scores = measure(Case(view(0), view(1), view(2), repeats=5), schedule)
    assert 0 <= scores["seg_dice"].value <= 1


MASKS = SYNTHETIC.masks


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (View(SYNTHETIC.images), "synthetic images have no masks"),
        (View(SYNTHETIC.images, MASKS[:3]), "80 synthetic images have 3 masks"),
        (View(SYNTHETIC.images, MASKS[..., :9]), r"synthetic masks must be \[80, 1, 24, 24\], found \[80, 1, 24, 9\]"),
        (View(SYNTHETIC.images, MASKS.repeat(2, 1)), r"training masks must be \[40, 2, 24, 24\], found \[40, 1"),
        (View(SYNTHETIC.images, MASKS * np.uint8(255)), "synthetic masks must be 0 and 1, found 255"),
        (View(SYNTHETIC.images[:0], MASKS[:0]), "synthetic images must be uint8"),
        (View(SYNTHETIC.images.astype(np.float32), MASKS), "synthetic images must be uint8 .* found float32"),
        (discs(0, 4, 24, 30), r"images differ in size: synthetic \[1, 24, 30\], training \[1, 24, 24\]"),
    ],
)
def test_what_does_not_fit_is_said(fake: View, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(case(fake), TINY)
    with pytest.raises(ValueError, match="training images are needed"):
        measure(Case(SYNTHETIC, HELD_OUT), TINY)
    tiny = View(SYNTHETIC.images[..., :7], MASKS[..., :7])
    with pytest.raises(ValueError, match="24 x 7 pixels are too small"):
        measure(Case(tiny, tiny, tiny), TINY)


def test_overlap_by_hand() -> None:
    found, wanted = np.zeros((2, 3, 2, 2), int), np.zeros((2, 3, 2, 2), int)
    found[0, 0] = [[1, 1], [0, 0]]
    wanted[0, 0] = [[1, 0], [1, 0]]
    found[0, 1, 0, 0] = wanted[1, 2, 0, 0] = 1
    np.testing.assert_array_equal(_learners.overlap(found, wanted), [[0.5, 0, 1], [1, 1, 0]])


def test_images_are_averaged_over_areas() -> None:
    images = np.random.default_rng(0).integers(256, size=(3, 2, 12, 20), dtype=np.uint8)
    blocks = images.reshape(3, 2, 4, 3, 4, 5).mean((3, 5))
    np.testing.assert_allclose(_learners._averaged(images, 4).numpy(), blocks, rtol=1e-6)
    uneven = _learners._averaged(images, 7).numpy()
    assert uneven.shape == (3, 2, 7, 7)
    np.testing.assert_allclose(uneven.mean((2, 3)), images.mean((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(uneven[:, :, 0, 0] * (12 / 7) * (20 / 7), _corner(images, 12 / 7, 20 / 7), rtol=1e-5)
    halves = np.array([[1, 0], [1, 0]], np.uint8).repeat(8, 0)[None, None]
    assert _learners.small_masks(halves.repeat(4, 3), 8).shape == (1, 1, 8, 8)
    assert _learners.small_masks(np.eye(2, dtype=np.uint8)[None, None], 1).item() == 1  # half of the area


def _corner(images: np.ndarray, height: float, width: float) -> np.ndarray:
    """Integral over the corner [0, height] x [0, width], by hand for sizes between 1 and 2, and 2 and 3."""
    rows = np.array([1, height - 1])
    columns = np.array([1, 1, width - 2])
    return np.einsum("r,nkrc,c->nk", rows, images[:, :, :2, :3].astype(float), columns)


def test_quantiles_of_student() -> None:
    for freedom in (1, 2, 2.7, 9, 88, 1000.5):
        assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)


def test_interval_of_trainings_and_of_images() -> None:
    seeds, flat = np.array([0.4, 0.5, 0.6]), np.full(100, 0.5)
    score = Outcome(seeds, flat).score(50)
    low, high = stats.t.interval(0.95, 2, 0.5, stats.sem(seeds))
    assert (score.low, score.high) == pytest.approx((low, high), rel=1e-3)

    dice = np.random.default_rng(0).uniform(0, 1, 200)
    outcome = Outcome.of(lambda rows, images: float(rows.mean()), [dice] * 3, resamples(200, 2000, 0))
    low, high = stats.t.interval(0.95, 199, dice.mean(), stats.sem(dice))
    assert (outcome.score(200).low, outcome.score(200).high) == pytest.approx((low, high), abs=0.005)

    both = Outcome(seeds, outcome.draws).score(200)
    assert both.high - both.low > max(score.high - score.low, high - low) * 0.5
    assert Outcome(seeds[:1], flat[:1]).score(1).low is None
    assert Outcome(np.array([0.99, 0.9]), flat).score(9).high == 1


def test_networks_kept_are_few() -> None:
    made = [_learners._remembered(("test", i), torch.nn.Identity) for i in range(_learners.KEPT + 5)]
    assert len(_learners._kept) == _learners.KEPT
    assert _learners._remembered(("test", _learners.KEPT + 4), torch.nn.Identity) is made[-1]
    assert _learners._remembered(("test", 0), torch.nn.Identity) is not made[0]


def test_metrics_are_listed_without_torch() -> None:
    lines = "import sys; from medzoo.metrics import load"
    lines += (
        "; [load(name) for name in ('segmentation', 'classification', 'agreement')]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", lines], check=True)
