"""What a network is trained on to judge synthetic images, and how well the scores it then gets are known.

An arm is one training set: synthetic images alone, real ones with half, once or twice as many synthetic ones, real ones
alone. Each arm trains the same network with the same number of steps, so that more images are not more training.

A score is the mean over trainings. Its 95 % interval has two sources, put together as independent: the trainings
differ (variance over seeds / seeds), and other held-out images would have been other images (variance of a bootstrap
over them). The quantile is that of Student's t with the degrees of freedom of Welch (1947) and Satterthwaite (1946).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Score, View

RATIOS = (0.5, 1, 2)  # synthetic images for each real one
Statistic = Callable[[NDArray[Any], NDArray[np.int64]], float]


@dataclass(frozen=True)
class Schedule:
    """A fixed small network and its fixed training; see ``medzoo.metrics._learners``.

    Attributes:
        side: images are averaged down to at most this many pixels a side.
        widths: channels of each level, fine to coarse; the first level has half the pixels a side.
        steps, batch: how many updates, of how many images each.
        rate: highest learning rate.
        seeds: how many networks are trained.
    """

    side: int = 48
    widths: tuple[int, ...] = (16, 32, 64, 64)
    steps: int = 500
    batch: int = 16
    rate: float = 5e-3
    seeds: int = 3


@dataclass(frozen=True, eq=False)
class Arm:
    """One training set.

    Attributes:
        name: what scores of this arm end in: "", "0.5x", "1x", "2x" or "real".
        words: as people read it.
        images: uint8 [n, C, H, W].
        targets: masks uint8 [n, K, H, W] or labels int64 [n].
        note: what is not as the name says.
        lasting: these are training images alone, from which other contenders start too.
    """

    name: str
    words: str
    images: NDArray[np.uint8]
    targets: NDArray[Any]
    note: str | None = None
    lasting: bool = False


def compare(
    case: Case,
    kind: Literal["masks", "labels"],
    schedule: Schedule,
    test: Callable[[Arm, int], NDArray[Any]],
    statistics: Mapping[str, Statistic],
    extras: Mapping[str, Statistic],
) -> dict[str, Score]:
    """Train and test every arm; a Score for each of ``statistics`` and arm.

    Args:
        case: as ``check`` wants it.
        kind: what is learned.
        schedule: says how many trainings.
        test: trains on an arm, of so many trainings this one, and gives a row for each held-out image.
        statistics: number of such rows and the indices of their images; by name of the score.
        extras: likewise, for ``detail`` alone.

    Returns:
        Scores whose ``detail`` has what was trained on, the number of each training ("seeds"), ``extras``, and the
        gain over real images alone on the same resamplings of held-out images.
    """
    training_sets = arms(case, kind)
    images = len(case.real)
    rows = resamples(images, case.repeats, case.seed)
    scores: dict[str, Score] = {}
    baseline: dict[str, Outcome] = {}
    for arm in training_sets:
        tested = [test(arm, number) for number in range(schedule.seeds)]
        shared: dict[str, Any] = {"trained_on": arm.words, "images": len(arm.images), "steps": schedule.steps}
        for name, extra in extras.items():
            shared[name] = float(np.mean([extra(row, np.arange(images)) for row in tested]))
        for name, statistic in statistics.items():
            outcome = Outcome.of(statistic, tested, rows)
            detail = shared | {"seeds": outcome.seeds.tolist()}
            if arm.name == "real":
                baseline[name] = outcome
            else:
                detail |= gain(outcome, baseline[name], images)
            scores[f"{name}_{arm.name}".rstrip("_")] = outcome.score(images, arm.note, detail)
    return scores


def arms(case: Case, kind: Literal["masks", "labels"]) -> list[Arm]:
    """The arms of a case.

    A ratio for which there are too few synthetic images takes all of them, and says so; where a smaller ratio takes
    all already, it is left out. With training images given as generated ones (a reference point) every ratio is left
    out: it would be training images again.
    """
    fake, training = case.fake, _training(case)
    made, known = _targets(fake, kind, "synthetic"), _targets(training, kind, "training")
    real = Arm("real", "real alone", training.images, known, lasting=True)
    if _rows(fake.images, made) <= _rows(training.images, known):
        return [real, Arm("", "real as synthetic", fake.images, made, lasting=True)]
    training_sets = [real, Arm("", "synthetic alone", fake.images, made)]
    for ratio in RATIOS:
        name, wanted = f"{ratio:g}x", math.ceil(ratio * len(training))
        short = f"{len(fake)} synthetic images, {len(fake) / len(training):.2g}x instead of {name}"
        images = np.concatenate([training.images, fake.images[:wanted]])
        targets = np.concatenate([known, made[:wanted]])
        training_sets.append(
            Arm(name, f"real + {name} synthetic", images, targets, None if len(fake) >= wanted else short)
        )
        if len(fake) <= wanted:
            break
    return training_sets


def _rows(images: NDArray[np.uint8], targets: NDArray[Any]) -> set[bytes]:
    """Each image with its target, as a short hash."""
    return {
        hashlib.blake2b(np.ascontiguousarray(image).tobytes() + np.ascontiguousarray(target).tobytes()).digest()
        for image, target in zip(images, targets, strict=True)
    }


def check(case: Case, kind: Literal["masks", "labels"], real: bool = True) -> None:
    """Say what is wrong with a case, before anything is trained.

    Raises:
        ValueError: no training images, no masks or labels, an empty set, or arrays that do not fit each other.
    """
    views = [("synthetic", case.fake), ("training", _training(case))] + ([("held-out", case.real)] if real else [])
    for name, view in views:
        images, targets = view.images, _targets(view, kind, name)
        if images.ndim != 4 or not len(images) or images.dtype != np.uint8:
            raise ValueError(f"{name} images must be uint8 [n, C, H, W], found {images.dtype} {list(images.shape)}")
        if images.shape[1:] != case.fake.images.shape[1:]:
            raise ValueError(
                f"images differ in size: synthetic {list(case.fake.images.shape[1:])}, {name} {list(images.shape[1:])}"
            )
        if min(images.shape[2:]) < 8:
            raise ValueError(f"images of {images.shape[2]} x {images.shape[3]} pixels are too small: 8 x 8 are needed")
        if len(targets) != len(images):
            raise ValueError(f"{len(images)} {name} images have {len(targets)} {kind}")
        if kind == "labels" and targets.ndim != 1:
            raise ValueError(f"{name} labels must be [n], found {list(targets.shape)}")
        if kind == "masks":
            _check_masks(name, images, targets, _targets(case.fake, kind, "synthetic").shape[1])


@dataclass(frozen=True, eq=False)
class Outcome:
    """How an arm did on n held-out images.

    Attributes:
        seeds: the score of each training [S].
        draws: its mean over trainings, for each resampling of the images [R]; nan where it is not defined.
    """

    seeds: NDArray[np.float64]
    draws: NDArray[np.float64]

    @classmethod
    def of(cls, statistic: Statistic, tested: Sequence[NDArray[Any]], rows: NDArray[np.int64]) -> Outcome:
        """From a row for each image [n, ...] of each training; ``rows`` [R, n] are the resamplings."""
        everything = np.arange(rows.shape[1])
        return cls(
            np.array([statistic(training, everything) for training in tested]),
            np.array([np.mean([statistic(training[picked], picked) for training in tested]) for picked in rows]),
        )

    def minus(self, other: Outcome) -> Outcome:
        """The difference of two arms on the same resamplings: what both find hard takes itself off."""
        return Outcome(self.seeds - other.seeds, self.draws - other.draws)

    def score(
        self, images: int, note: str | None = None, detail: Mapping[str, Any] | None = None, least: float = 0
    ) -> Score:
        """Mean over trainings with its interval, cut to [least, 1]."""
        value = float(self.seeds.mean())
        reach = self._reach(images)
        low, high = (None, None) if reach is None else (max(least, value - reach), min(1.0, value + reach))
        return Score(value, low, high, note=note, detail=detail, draws=self.draws)

    def _reach(self, images: int) -> float | None:
        """Half of the 95 % interval; None where nothing says how wide it is."""
        parts = []  # variance, degrees of freedom
        if len(self.seeds) > 1:
            parts.append((float(self.seeds.var(ddof=1)) / len(self.seeds), len(self.seeds) - 1))
        draws = self.draws[np.isfinite(self.draws)]
        if len(draws) > 1 and images > 1:
            parts.append((float(draws.var(ddof=1)), images - 1))
        total = sum(variance for variance, _ in parts)
        if not parts or total <= 0:
            return 0.0 if parts else None
        freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
        return student_t(freedom) * math.sqrt(total)


def resamples(images: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """Rows of held-out images drawn with replacement [repeats, images]: the same for all arms of a case."""
    return np.random.default_rng(seed).integers(images, size=(repeats, images))


def gain(arm: Outcome, real: Outcome, images: int) -> dict[str, Any]:
    """``detail`` of an arm: its score less that of real images alone, with the interval of the difference."""
    difference = arm.minus(real).score(images, least=-1)
    return {"gain": difference.value, "gain_low": difference.low, "gain_high": difference.high}


def student_t(freedom: float, level: float = 0.95) -> float:
    """Two-sided quantile of Student's t: x such that a share ``level`` lies within -x..x.

    >>> round(student_t(5), 3)
    2.571

    With x = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1), which is summed up here.
    """
    angles = np.linspace(0, math.pi / 2, 20001)
    density = np.cos((angles[1:] + angles[:-1]) / 2) ** (freedom - 1)
    share = np.concatenate([[0], np.cumsum(density) / density.sum()])
    return math.sqrt(freedom) * math.tan(float(np.interp(level, share, angles)))


def _training(case: Case) -> View:
    if case.training is None:
        raise ValueError("training images are needed, the case has none")
    return case.training


def _targets(view: View, kind: Literal["masks", "labels"], name: str) -> NDArray[Any]:
    targets = view.masks if kind == "masks" else view.labels
    if targets is None:
        raise ValueError(f"{name} images have no {kind}")
    return targets


def _check_masks(name: str, images: NDArray[Any], masks: NDArray[Any], channels: int) -> None:
    if masks.ndim != 4 or masks.shape[2:] != images.shape[2:] or masks.shape[1] != channels or not channels:
        raise ValueError(
            f"{name} masks must be [{len(images)}, {max(channels, 1)}, {images.shape[2]}, {images.shape[3]}], "
            f"found {list(masks.shape)}"
        )
    if masks.max() > 1:
        raise ValueError(f"{name} masks must be 0 and 1, found {masks.max()}")
