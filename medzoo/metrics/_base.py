"""The contract of a metric: what it is given, what it gives, and how its numbers are read.

``medzoo.metrics`` exports what an author needs. A file of this folder is a metric when it has a ``METRIC``. Its
``measure`` is a pure function of arrays: no files, no models, the same case gives the same scores. ``medzoo.bench``
calls it once for each seed, and, where it needs features, once for each extractor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._groups import GROUPS

Better = Literal["lower", "higher", "neither"]
Need = Literal["features", "probabilities", "training", "masks", "labels"]


@dataclass(frozen=True, eq=False)
class View:
    """One set of images, and what is known of each.

    Attributes:
        images: uint8 [n, C, H, W], 0..255; C is 1 or 3, and with H and W the same for all views of a case.
        masks: uint8 [n, K, H, W] of 0 and 1, or None.
        labels: int64 [n], the same numbers for the same classes in all views of a case, or None.
        features: float32 [n, d] of one extractor; None for a metric that does not need them.
        probabilities: float32 [n, classes] of the extractor's classifier; None where it has none.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None = None
    labels: NDArray[np.int64] | None = None
    features: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.images)


def _silent(words: str) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Case:
    """What is compared.

    Attributes:
        fake: the images judged: generated ones, or real ones given as if they were (reference points).
        real: held-out real images, which no model was trained on.
        training: the real images that models may have been trained on, or None.
        repeats: bootstrap resamplings of an interval, where it is resampled.
        seed: of everything random.
        say: called with what is under way, by a metric that takes long ("seed 2 of 3, real + synthetic").
    """

    fake: View
    real: View
    training: View | None = None
    repeats: int = 100
    seed: int = 0
    say: Callable[[str], None] = field(default=_silent, repr=False)


@dataclass(frozen=True)
class Score:
    """One number and how well it is known.

    Attributes:
        value: nan where it is not defined (``note`` says why).
        low, high: 95 % interval; None where there is none.
        error: standard error, where the metric has one by its definition.
        note: what the reader has to know, such as too few images for this metric; None for nothing.
        detail: what a report draws (curves, pairs): JSON of dicts with text keys, lists, numbers and text.
        draws: the value [R] on resamplings that are the same for whatever is measured against these real images, for a
            metric that resamples by itself; two of them then have a paired difference. None leaves it to
            ``medzoo.bench.halving``.
    """

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    note: str | None = None
    detail: Mapping[str, Any] | None = None
    draws: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Scale:
    """How one score is read.

    >>> Scale("kid", "KID", "lower", "Kernel distance of features (Binkowski 2018).").better
    'lower'

    Attributes:
        name: in lower case, unique among all metrics ("kid").
        title: as people know it ("KID").
        better: which way; the only place that says it, for results, tables and rankings read it from here.
        about: one line: what it measures, its unit or range, its source.
        percent: shown as a percentage.
    """

    name: str
    title: str
    better: Better
    about: str
    percent: bool = False


@dataclass(frozen=True)
class Metric:
    """A metric as ``medzoo.bench`` knows it.

    Attributes:
        name: of its file, or of its entry point.
        group: name of one of ``medzoo.metrics.GROUPS``: its section of the report.
        scales: the scores it gives.
        measure: ``case`` -> a Score for each scale, by name (one that the case does not allow may be left out).
        needs: without these it is not measured; "features" also says that it depends on the extractor.
        floor: which real images stand for a perfect generator. ``training``: the training images given as generated
            ones. ``heldout``: half of the held-out images, against the other half, for metrics that ask how a set
            relates to the training images.
        references: which reference points it is measured on, beside the models.
        every_seed: whether it is measured for each seed of a model; False for what trains networks with seeds of
            its own, or does not depend on the images: then with the first seed alone.
        trains: whether it trains networks, which takes minutes; ``medzoo bench --quick`` leaves those out.
        version: raise it when its numbers change.
    """

    name: str
    group: str
    scales: tuple[Scale, ...]
    measure: Callable[[Case], Mapping[str, Score]]
    needs: tuple[Need, ...] = ()
    floor: Literal["training", "heldout"] = "training"
    references: tuple[str, ...] = ("real", "blur", "noise", "copies")
    every_seed: bool = True
    trains: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        known = [group.name for group in GROUPS]
        if self.group not in known:
            raise ValueError(f"metric '{self.name}': group '{self.group}' is none of {', '.join(known)}")


def around(value: float, draws: NDArray[Any], level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) of a value from its bootstrap draws [R]: their spread around the value, mean taken off.

    >>> around(2.0, np.array([1.0, 3.0]))
    (1.05, 2.95)

    Resampling with replacement repeats rows, which shifts many statistics one way: the spread is used, the shift not.
    """
    draws = np.asarray(draws, np.float64)
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not math.isfinite(value):
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = np.quantile(draws - draws.mean(), [tail, 1 - tail])
    return value + float(low), value + float(high)


def effects_interval(value: float, *effects: NDArray[Any]) -> tuple[float, float]:
    """95 % interval (low, high) of a value from the effect of each image on it, one array [n] for each set of images.

    An effect is the first derivative of the value in how often its image counts (the value changes by effect x w / n
    when one of n images counts 1 + w times), so value + mean of resampled effects is what a bootstrap gives to first
    order, and 1.96 standard errors is where it ends with many resamplings (infinitesimal jackknife). For statistics
    that repeated rows distort, such as a Frechet distance of few images, it is nearer the truth than a bootstrap.
    """
    if not math.isfinite(value):
        return math.nan, math.nan
    reach = 1.96 * effects_error(*effects)
    return value - reach, value + reach


def effects_error(*effects: NDArray[Any]) -> float:
    """Standard error of a value from the effects of ``effects_interval``.

    >>> effects_error(np.array([1.0, -1.0]))
    1.0
    """
    return math.sqrt(sum(float(np.var(effect, dtype=np.float64, ddof=1)) / len(effect) for effect in effects))
