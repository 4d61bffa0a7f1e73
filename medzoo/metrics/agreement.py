"""Image-mask agreement: do the masks of synthetic images lie where a network trained on real ones would put them?

The network is that of the real-only arm of ``medzoo.metrics.segmentation`` (the same weights, trained once for all
contenders). A low number has two readings: the masks do not fit their images, or the images are unlike anything the
network has seen, so that its own masks are wrong. Real held-out images are the measure of what can be reached.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._arms import Outcome, Schedule, check, resamples
from medzoo.metrics._base import Case, Metric, Scale, Score

SCHEDULE = Schedule()


def measure(case: Case, schedule: Schedule = SCHEDULE) -> dict[str, Score]:
    """Mean Dice [0, 1] of the masks of ``case.fake`` with those that networks trained on ``case.training`` predict.

    Where both masks are empty Dice is 1, where one is it is 0; ``detail`` has the share of synthetic masks that are
    empty, and of those the Dice is 1 for.

    Args:
        case: with masks uint8 [n, K, H, W] of 0 and 1 in ``fake`` and ``training``; several channels count alike.
        schedule: shorter in tests.

    Raises:
        ValueError: images or masks are missing or do not fit each other.
    """
    check(case, "masks", real=False)
    from medzoo.metrics import _learners  # torch: only where something is trained

    fake, training = case.fake, case.training
    assert training is not None and training.masks is not None and fake.masks is not None
    wanted = _learners.small_masks(fake.masks, schedule.side)
    tested = []
    for number in range(schedule.seeds):
        case.say(f"mask agreement: seed {number + 1} of {schedule.seeds}, real alone")
        network = _learners.segmenter(training.images, training.masks, schedule, (case.seed, number), keep=True)
        tested.append(_learners.overlap(_learners.predict(network, fake.images, schedule.side) > 0, wanted))
    outcome = Outcome.of(_dice, tested, resamples(len(fake), case.repeats, case.seed))
    empty = ~wanted.any((2, 3))
    detail = {
        "seeds": outcome.seeds.tolist(),
        "empty": float(empty.mean()),
        "both_empty": float(np.mean([dice[empty].sum() / empty.size for dice in tested])),
    }
    return {"mask_agreement": outcome.score(len(fake), detail=detail)}


def _dice(dice: NDArray[Any], images: NDArray[np.int64]) -> float:
    return float(dice.mean())


METRIC = Metric(
    name="agreement",
    group="masks",
    scales=(
        Scale(
            "mask_agreement",
            "Mask agreement",
            "higher",
            "Mean Dice (0 to 1) of synthetic masks with those of small U-Nets trained on the training images; low "
            "where masks do not fit, and also where images are unlike real ones.",
        ),
    ),
    measure=measure,
    needs=("training", "masks"),
    floor="heldout",
    references=("real",),
    every_seed=False,
    trains=True,
)
