"""Usefulness for classification: train on synthetic images with their labels, test on real ones.

``medzoo.metrics._learners`` says which network, training and augmentation, ``medzoo.metrics._arms`` on which images,
and what the intervals hold. In training every class is drawn equally often, so that synthetic classes may have other
shares than real ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._arms import Arm, Schedule, check, compare
from medzoo.metrics._base import Case, Metric, Scale, Score

SCHEDULE = Schedule()


def measure(case: Case, schedule: Schedule = SCHEDULE) -> dict[str, Score]:
    """Area under the curve and balanced accuracy [0, 1] on ``case.real``, trained on synthetic, real, or both.

    ``detail`` holds the number of each training, how many images were trained on, and the gain over real images alone.

    Args:
        case: with labels int64 [n] in all views: two or more classes, each among the synthetic images too.
        schedule: shorter in tests.

    Raises:
        ValueError: images or labels are missing or do not fit each other.
    """
    check(case, "labels")
    classes = _classes(case)
    from medzoo.metrics import _learners  # torch: only where something is trained

    assert case.real.labels is not None
    wanted = np.searchsorted(classes, case.real.labels)

    def test(arm: Arm, number: int) -> NDArray[np.float32]:
        case.say(f"classification: seed {number + 1} of {schedule.seeds}, {arm.words}")
        labels = np.searchsorted(classes, arm.targets)
        seed = (case.seed, number)
        network = _learners.classifier(arm.images, labels, len(classes), schedule, seed, keep=arm.lasting)
        return _learners.predict(network, case.real.images, schedule.side)

    statistics = {
        "clf_auc": lambda logits, images: one_vs_rest_auc(logits, wanted[images]),
        "clf_accuracy": lambda logits, images: balanced_accuracy(logits, wanted[images]),
    }
    return compare(case, "labels", schedule, test, statistics, {})


def one_vs_rest_auc(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean over classes of the area under the curve of class against rest.

    >>> one_vs_rest_auc(np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]]), np.array([0, 1, 0]))
    0.75

    That is the share of pairs (image of the class, other image) in which the first has the larger probability of the
    class, a tie counting one half (Hand and Till, Machine Learning 45, 2001).

    Args:
        logits: [n, classes].
        labels: [n]. Classes that have no image, or all of them, are left out.

    Returns:
        0 to 1; nan if no class is left.
    """
    areas = []
    for label in range(logits.shape[1]):
        inside = labels == label
        count, others = int(inside.sum()), int((~inside).sum())
        if count and others:
            _, place, ties = np.unique(_log_odds(logits, label), return_inverse=True, return_counts=True)
            ranks = np.cumsum(ties) - (ties - 1) / 2  # mean rank of equal values, from 1
            areas.append((ranks[place][inside].sum() - count * (count + 1) / 2) / (count * others))
    return float(np.mean(areas)) if areas else float("nan")


def balanced_accuracy(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean over the classes that ``labels`` [n] has of the share that the largest of ``logits`` [n, classes] finds.

    >>> balanced_accuracy(np.array([[1.0, 0.0]] * 3), np.array([0, 0, 1]))
    0.5
    """
    right = logits.argmax(1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _log_odds(logits: NDArray[Any], label: int) -> NDArray[np.float64]:
    """Of one class against the rest [n]: ordered like its probability, and not rounded to 1 where that is."""
    logits = logits.astype(np.float64)
    rest = np.delete(logits, label, axis=1)
    highest = rest.max(1)
    odds: NDArray[np.float64] = logits[:, label] - highest - np.log(np.exp(rest - highest[:, None]).sum(1))
    return odds


def _classes(case: Case) -> NDArray[np.int64]:
    """The classes of the training images, sorted; the others must have the same."""
    assert case.training is not None and case.training.labels is not None
    assert case.fake.labels is not None and case.real.labels is not None
    classes = np.unique(case.training.labels)
    if len(classes) < 2:
        raise ValueError(f"all training images have label {classes[0]}; nothing can be told apart")
    missing = sorted(set(classes.tolist()) - set(case.fake.labels.tolist()))
    if missing:
        raise ValueError(f"no synthetic image has label {', '.join(map(str, missing))}, which training images have")
    for name, labels in (("synthetic", case.fake.labels), ("held-out", case.real.labels)):
        unknown = sorted(set(labels.tolist()) - set(classes.tolist()))
        if unknown:
            raise ValueError(f"{name} images have label {', '.join(map(str, unknown))}, which no training image has")
    if len(np.unique(case.real.labels)) < 2:
        raise ValueError(f"all held-out images have label {case.real.labels[0]}; no curve can be drawn")
    return classes


_TRAINED = {
    "": ("synthetic alone", "synthetic images alone"),
    "_0.5x": ("real + 0.5x", "the training images and half as many synthetic ones"),
    "_1x": ("real + 1x", "the training images and as many synthetic ones"),
    "_2x": ("real + 2x", "the training images and twice as many synthetic ones"),
    "_real": ("real alone", "the training images alone: what the others are compared with"),
}


def _scale(score: str, title: str, about: str, arm: str) -> Scale:
    trained = f"of a small network trained on {_TRAINED[arm][1]}; mean of three trainings."
    return Scale(score + arm, f"{title}, {_TRAINED[arm][0]}", "higher", f"{about} {trained}")


METRIC = Metric(
    name="classification",
    group="usefulness",
    scales=(
        *(_scale("clf_auc", "Classification AUC", "Macro one-vs-rest AUC on held-out images", arm) for arm in _TRAINED),
        *(_scale("clf_accuracy", "Balanced accuracy", "Mean accuracy (0 to 1) over classes", arm) for arm in _TRAINED),
    ),
    measure=measure,
    needs=("training", "labels"),
    references=("real",),
    every_seed=False,
    trains=True,
)
