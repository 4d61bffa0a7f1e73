"""Measure one contender: whatever its result lacks, saved after each metric, so that a kill costs one of them."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medzoo import __version__, metrics, results
from medzoo.bench import cost
from medzoo.bench.contenders import Contender, halves
from medzoo.bench.reals import Reals
from medzoo.bench.setting import COST, Benchmark
from medzoo.datasets import Images
from medzoo.errors import MedzooError, ResultError
from medzoo.families import _device
from medzoo.metrics._base import Case, Metric, Score, View
from medzoo.results import ReferenceScore, Result, ScoreRecord, SeedScore

if TYPE_CHECKING:
    from medzoo.features._base import Extractor

Tell = Callable[[str, str, int, int], None]
"""Called with the contender, what is under way, and how much of it is done: (done, total), 0 where nobody knows."""
# What one metric of one contender may fail with without ending the others: its input, its memory, its mathematics.
FAILURES = (MedzooError, ValueError, ArithmeticError, MemoryError, RuntimeError, OSError, np.linalg.LinAlgError)


@dataclass
class Session:
    """What all contenders of a benchmark share.

    Attributes:
        chosen: metrics to measure now, some or all of the benchmark's.
        out: folder of the results.
        condition: of the models, as ``medzoo.generate`` takes it.
    """

    setting: Benchmark
    reals: Reals
    chosen: tuple[str, ...]
    out: Path
    device: str | None = None
    condition: Any = None
    tell: Tell = lambda contender, what, done, total: None
    _extractors: dict[str, Extractor] = field(default_factory=dict)

    def check(self) -> None:
        """Load what every contender will need, before anything slow. Raises MedzooError."""
        named = [metrics.load(name) for name in self.chosen if name != COST]
        if any("features" in metric.needs or "probabilities" in metric.needs for metric in named):
            for name in self.setting.features:
                self.extractor(name)

    def extractor(self, name: str) -> Extractor:
        from medzoo import features

        if name not in self._extractors:
            self._extractors[name] = features.load(name, device=str(_device.find(self.device)))
        return self._extractors[name]


def measure(contender: Contender, session: Session, references: Mapping[str, Result]) -> Result:
    """The result of a contender, complete but for metrics that failed or were not chosen; saved in ``session.out``.

    Args:
        references: results of the reference points, whose values go beside those of the contender.
    """
    result = _begun(contender, session)
    result = result.model_copy(update={"references": {name: _brief(one) for name, one in references.items()}})
    for seed in contender.seeds:
        tasks = [one for one in _tasks(contender, session) if one.metric.every_seed or seed == contender.seeds[0]]
        pending = [task for task in tasks if not _has(result, task, seed)]
        if pending:
            result = _measured(contender, session, result, seed, pending)
    results.write(session.out, result)
    return result


@dataclass(frozen=True)
class _Task:
    """One call of a metric: in the features of an extractor, None for a metric that needs none."""

    metric: Metric
    features: str | None


def _tasks(contender: Contender, session: Session) -> Iterator[_Task]:
    for name in session.chosen:
        if name == COST:
            if contender.model is not None:
                yield _Task(cost.METRIC, None)
            continue
        metric = metrics.load(name)
        if contender.reference is not None and contender.reference not in metric.references:
            continue
        in_features = {"features", "probabilities"} & set(metric.needs)
        for extractor in session.setting.features if in_features else (None,):
            yield _Task(metric, extractor)


def _begun(contender: Contender, session: Session) -> Result:
    """What an earlier run has of it, if it was made of the same images in the same way; else an empty result."""
    setting = session.setting
    stated = setting.stated()
    fresh = Result(
        contender=contender.record, benchmark=stated, data=session.reals.about, extractors={}, scores=(),
        references={}, made=_made(session), failed={},
    )  # fmt: skip
    path = results.path_of(session.out, contender.record.id, contender.record.revision, setting.name)
    try:
        found = results.read(path)
    except ResultError as error:
        session.tell(contender.record.id, f"measured anew: {error}", 0, 0)
        return fresh
    if found is None or found.benchmark["revision"] != setting.revision or found.data != session.reals.about:
        return fresh
    if found.contender.weights_sha256 != contender.record.weights_sha256:
        return fresh
    return found.model_copy(update={"contender": contender.record, "benchmark": stated, "failed": {}})


def _has(result: Result, task: _Task, seed: int) -> bool:
    return any(
        score.metric == task.metric.name
        and score.version == task.metric.version
        and score.features == task.features
        and any(one.seed == seed for one in score.seeds)
        for score in result.scores
    )


def _measured(contender: Contender, session: Session, result: Result, seed: int, pending: list[_Task]) -> Result:
    """All pending metrics of one seed."""
    name, failed = contender.record.id, dict(result.failed)

    def telling(what: str) -> Callable[[int, int], None]:
        return lambda done, total: session.tell(name, what, done, total)

    started = time.perf_counter()
    images = None
    if any(task.metric is not cost.METRIC for task in pending):
        images = contender.images(seed, telling(f"seed {seed}: images"))
        result = _timed(result, "images", started)
    for number, task in enumerate(pending):
        session.tell(name, f"seed {seed}: {task.metric.name}", number, len(pending))
        started = time.perf_counter()
        try:
            if task.metric is cost.METRIC:
                assert contender.model is not None
                scores = cost.measure(contender.model, device=session.device, condition=session.condition)
            else:
                assert images is not None
                case = _case(contender, session, task, images, seed, telling)
                result, started = _timed(result, "features", started), time.perf_counter()
                scores = task.metric.measure(case)
        except FAILURES as error:
            failed[task.metric.name] = str(error) or type(error).__name__
            result = result.model_copy(update={"failed": dict(failed)})
            continue
        result = _joined(result, task, seed, scores)
        if task.features is not None:
            about = {**result.extractors, task.features: dict(session.extractor(task.features).about)}
            result = result.model_copy(update={"extractors": about})
        result = _timed(result, task.metric.name, started)
        results.write(session.out, result)
    return result


def _case(
    contender: Contender,
    session: Session,
    task: _Task,
    images: Images,
    seed: int,
    telling: Callable[[str], Callable[[int, int], None]],
) -> Case:
    """What the metric is given. Raises ValueError: the images have not what it needs."""
    metric, reals = task.metric, session.reals
    fake, held = images, reals.held
    if contender.reference is not None and (reals.training is None or metric.floor == "heldout"):
        first, held = halves(reals.held)
        if contender.reference == "real":
            fake = first
    training = reals.training if "training" in metric.needs else None
    if "training" in metric.needs and training is None:
        raise ValueError("no training images are known: name them with --training")
    given = {"generated": fake, "real": held} | ({"training": training} if training is not None else {})
    for what, attribute in (("masks", "masks"), ("labels", "labels")):
        for whose, one in given.items():
            if what in metric.needs and getattr(one, attribute) is None:
                raise ValueError(f"the {whose} images have no {what}")
    views = {
        whose: _view(session, task.features, one, telling(f"features of {whose} images"))
        for whose, one in given.items()
    }
    if "probabilities" in metric.needs and views["generated"].probabilities is None:
        raise ValueError(f"{task.features} has no classifier")
    return Case(
        views["generated"],
        views["real"],
        views.get("training"),
        repeats=session.setting.bootstrap,
        seed=seed,
        say=lambda words: telling(words)(0, 0),
    )


def _view(session: Session, features: str | None, images: Images, progress: Callable[[int, int], None]) -> View:
    vectors = probabilities = None
    if features is not None:
        from medzoo.features import features_of

        extractor = session.extractor(features)
        # Of features that are on the disk already nobody needs to be told.
        vectors = features_of(
            images.images, extractor, lambda done, total: progress(done, total) if done < total else None
        )
        probabilities = extractor.probabilities(vectors)
    return View(images.images, images.masks, images.labels, vectors, probabilities)


def _joined(result: Result, task: _Task, seed: int, scores: Mapping[str, Score]) -> Result:
    """The result with the scores of one more seed."""
    kept = {(one.name, one.features): one for one in result.scores}
    for scale in task.metric.scales:
        if scale.name not in scores:
            continue
        score, key = scores[scale.name], (scale.name, task.features)
        before = kept.get(key)
        if before is not None and before.version != task.metric.version:
            before = None
        one = SeedScore(
            seed=seed,
            value=_known(score.value),
            low=_known(score.low),
            high=_known(score.high),
            error=_known(score.error),
        )
        seeds = (one,) if before is None else (*before.seeds, one)
        kept[key] = ScoreRecord(
            name=scale.name,
            title=scale.title,
            metric=task.metric.name,
            group=task.metric.group,
            features=task.features,
            better=scale.better,
            percent=scale.percent,
            version=task.metric.version,
            about=scale.about,
            value=_mean(seeds, "value"),
            low=_mean(seeds, "low"),
            high=_mean(seeds, "high"),
            error=_mean(seeds, "error"),
            note=score.note if before is None else before.note,
            detail=score.detail if before is None else before.detail,
            seeds=seeds,
        )
    failed = {name: why for name, why in result.failed.items() if name != task.metric.name}
    return result.model_copy(update={"scores": tuple(kept.values()), "failed": failed})


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _mean(seeds: tuple[SeedScore, ...], which: str) -> float | None:
    values = [getattr(one, which) for one in seeds]
    return None if any(value is None for value in values) else float(np.mean(values))


def _brief(result: Result) -> tuple[ReferenceScore, ...]:
    return tuple(
        ReferenceScore(name=one.name, features=one.features, value=one.value, low=one.low, high=one.high)
        for one in result.scores
    )


def _timed(result: Result, what: str, started: float) -> Result:
    seconds = {**result.made.get("seconds", {})}
    seconds[what] = round(seconds.get(what, 0.0) + time.perf_counter() - started, 2)
    return result.model_copy(update={"made": {**result.made, "seconds": seconds}})


def _made(session: Session) -> dict[str, Any]:
    import torch

    return {
        "medzoo": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "device": session.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "threads": torch.get_num_threads(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": {},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
