"""Usefulness for segmentation: train on synthetic images with their masks, test on real ones.

``medzoo.metrics._learners`` says which network, training and augmentation, ``medzoo.metrics._arms`` on which images,
and what the intervals hold. The score is the mean Dice overlap on held-out real images, averaged down to at most 48
pixels a side. It compares training sets under one small budget: whole trainings of large networks reach more.

Trained on synthetic, tested on real: Esteban, Hyland and Raetsch, arXiv 1706.02633 (2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._arms import Arm, Schedule, check, compare
from medzoo.metrics._base import Case, Metric, Scale, Score

SCHEDULE = Schedule()


def measure(case: Case, schedule: Schedule = SCHEDULE) -> dict[str, Score]:
    """Dice [0, 1] on ``case.real`` of networks trained on synthetic images, on real ones, on both.

    ``detail`` holds the Dice of each training, the mean intersection over union (``iou``), how many images were
    trained on, and the gain over real images alone.

    Args:
        case: with masks uint8 [n, K, H, W] of 0 and 1 in all views; several channels count alike.
        schedule: shorter in tests.

    Raises:
        ValueError: images or masks are missing or do not fit each other.
    """
    check(case, "masks")
    from medzoo.metrics import _learners  # torch: only where something is trained

    assert case.real.masks is not None
    wanted = _learners.small_masks(case.real.masks, schedule.side)

    def test(arm: Arm, number: int) -> NDArray[np.float64]:
        case.say(f"segmentation: seed {number + 1} of {schedule.seeds}, {arm.words}")
        seed = (case.seed, number)
        network = _learners.segmenter(arm.images, arm.targets, schedule, seed, keep=arm.lasting)
        return _learners.overlap(_learners.predict(network, case.real.images, schedule.side) > 0, wanted)

    return compare(case, "masks", schedule, test, {"seg_dice": _dice}, {"iou": _iou})


def _dice(dice: NDArray[Any], images: NDArray[np.int64]) -> float:
    return float(dice.mean())


def _iou(dice: NDArray[Any], images: NDArray[np.int64]) -> float:
    return float((dice / (2 - dice)).mean())


def _scale(arm: str, title: str, words: str) -> Scale:
    return Scale(
        f"seg_dice{arm}",
        f"Segmentation Dice, {title}",
        "higher",
        f"Mean Dice (0 to 1) on held-out real images of a small U-Net trained on {words}; mean of three trainings.",
    )


METRIC = Metric(
    name="segmentation",
    group="usefulness",
    scales=(
        _scale("", "synthetic alone", "synthetic images alone"),
        _scale("_0.5x", "real + 0.5x", "the training images and half as many synthetic ones"),
        _scale("_1x", "real + 1x", "the training images and as many synthetic ones"),
        _scale("_2x", "real + 2x", "the training images and twice as many synthetic ones"),
        _scale("_real", "real alone", "the training images alone: what the others are compared with"),
    ),
    measure=measure,
    needs=("training", "masks"),
    references=("real",),
    every_seed=False,
    trains=True,
)
