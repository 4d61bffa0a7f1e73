"""Trained on synthetic stripes with labels, tested on held-out ones; the statistics by their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.metrics import Case, View, _learners
from medzoo.metrics._arms import Schedule
from medzoo.metrics.classification import METRIC, balanced_accuracy, measure, one_vs_rest_auc

TINY = Schedule(side=16, widths=(8, 16), steps=40, batch=8, rate=1e-2, seeds=2)
ONCE = replace(TINY, seeds=1)
CLASSES = np.array([2, 5, 9])


def stripes(seed: int, n: int = 45, share: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)) -> View:
    """Noisy grey images with stripes along x, along y, or none: labels 2, 5, 9."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=share)
    kind[:3] = range(3)
    y, x = np.mgrid[:16, :16]
    wave = np.stack([np.sin(y * 1.5), np.sin(x * 1.5), np.zeros((16, 16))])[kind]
    images = 120 + 50 * wave + rng.normal(0, 25, (n, 16, 16))
    return View(images.clip(0, 255).astype(np.uint8)[:, None], labels=CLASSES[kind])


TRAINING, HELD_OUT, SYNTHETIC = stripes(0), stripes(1, 60), stripes(2, 90)


def case(fake: View = SYNTHETIC, **changes: Any) -> Case:
    return Case(**{"fake": fake, "real": HELD_OUT, "training": TRAINING, "repeats": 50} | changes)


def relabelled(view: View, labels: Any) -> View:
    return View(view.images, labels=np.asarray(labels, np.int64))


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    _learners._kept.clear()
    yield
    _learners._kept.clear()


def test_images_like_the_real_ones_are_useful() -> None:
    said: list[str] = []
    scores = measure(case(say=said.append), ONCE)
    assert set(scores) == {scale.name for scale in METRIC.scales}
    assert all(score.value > 0.85 and score.low <= score.value <= score.high <= 1 for score in scores.values())
    assert scores["clf_auc_2x"].detail["images"] == 135
    assert len(said) == 5 and said[0] == "classification: seed 1 of 1, real alone"


def test_wrong_labels_are_of_no_use_and_some_wrong_of_less() -> None:
    turned = np.array([5, 9, 2])[np.searchsorted(CLASSES, SYNTHETIC.labels)]
    half = np.where(np.arange(90) % 3 != 0, turned, SYNTHETIC.labels)
    right, mixed, wrong = (
        measure(case(relabelled(SYNTHETIC, labels)), ONCE) for labels in (SYNTHETIC.labels, half, turned)
    )
    for name in ("clf_auc", "clf_accuracy"):
        assert right[name].value > mixed[name].value + 0.1 > wrong[name].value + 0.1
    assert wrong["clf_accuracy"].value < 0.2 and wrong["clf_auc"].value < 0.6
    assert wrong["clf_accuracy"].detail["gain_high"] < 0
    assert right["clf_auc_real"] == wrong["clf_auc_real"]


def test_shares_of_classes_do_not_matter_much() -> None:
    rare = measure(case(stripes(2, 45, (0.8, 0.1, 0.1))), ONCE)
    assert rare["clf_accuracy"].value > 0.8


def test_a_class_of_one_image_can_be_learned_from() -> None:
    one = np.concatenate([np.flatnonzero(SYNTHETIC.labels != 9), np.flatnonzero(SYNTHETIC.labels == 9)[:1]])
    scores = measure(case(View(SYNTHETIC.images[one], labels=SYNTHETIC.labels[one])), ONCE)
    assert 0.5 < scores["clf_auc"].value <= 1


def test_the_same_case_gives_the_same_numbers_and_leaves_the_settings_alone() -> None:
    brief = replace(ONCE, steps=10)
    first = measure(case(), brief)
    _learners._kept.clear()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    with torch.no_grad():
        assert measure(case(), brief) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert measure(case(seed=1), brief)["clf_auc"].value != first["clf_auc"].value


def test_the_training_images_as_synthetic_ones_are_real_alone() -> None:
    scores = measure(case(TRAINING), replace(ONCE, steps=2))
    assert set(scores) == {"clf_auc", "clf_accuracy", "clf_auc_real", "clf_accuracy_real"}
    assert scores["clf_auc"].value == scores["clf_auc_real"].value


def test_too_few_synthetic_images_are_said() -> None:
    scores = measure(case(stripes(2, 45)), replace(ONCE, steps=2))
    assert scores["clf_auc_1x"].note is None and "clf_auc_2x" not in scores
    assert scores["clf_auc_0.5x"].detail["images"] == 45 + 23


def test_area_equals_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(-3, 4, (40, 3)).astype(np.float32), rng.integers(3, size=40)
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    areas = []
    for label in range(3):
        inside, outside = chance[labels == label, label], chance[labels != label, label]
        gap = np.round(inside[:, None] - outside, 6)
        areas.append(((gap > 0) + 0.5 * (gap == 0)).mean())
    assert one_vs_rest_auc(logits, labels) == pytest.approx(np.mean(areas), abs=1e-3)
    far = np.array([[0, 60.0], [0, 50.0], [0, 40.0]], np.float32)  # probabilities that all round to 1
    assert one_vs_rest_auc(far, np.array([1, 1, 0])) == 1
    assert one_vs_rest_auc(far, np.array([0, 1, 1])) == 0
    assert np.isnan(one_vs_rest_auc(far, np.array([1, 1, 1])))
    assert one_vs_rest_auc(np.zeros((4, 3)), np.array([0, 0, 1, 1])) == 0.5  # the third class has no image


def test_balanced_accuracy_by_hand() -> None:
    logits = np.eye(3)[[0, 0, 0, 1, 2]]
    assert balanced_accuracy(logits, np.array([0, 0, 0, 0, 2])) == pytest.approx((0.75 + 1) / 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fake": View(SYNTHETIC.images)}, "synthetic images have no labels"),
        ({"fake": relabelled(SYNTHETIC, SYNTHETIC.labels[:7])}, "90 synthetic images have 7 labels"),
        (
            {"fake": relabelled(SYNTHETIC, SYNTHETIC.labels[:, None])},
            r"synthetic labels must be \[n\], found \[90, 1\]",
        ),
        ({"fake": relabelled(SYNTHETIC, np.full(90, 5))}, "no synthetic image has label 2, 9, which training images"),
        (
            {"fake": relabelled(SYNTHETIC, np.arange(90) % 10)},
            "synthetic images have label 0, 1, 3, 4, 6, 7, 8, which no",
        ),
        ({"real": relabelled(HELD_OUT, np.full(60, 4))}, "held-out images have label 4, which no training image has"),
        ({"real": relabelled(HELD_OUT, np.full(60, 5))}, "all held-out images have label 5"),
        ({"training": relabelled(TRAINING, np.full(45, 5))}, "all training images have label 5"),
        ({"training": None}, "training images are needed"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(case(**changes), TINY)
