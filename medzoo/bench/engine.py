"""Measure one contender: whatever its result lacks, saved after each metric, so that a kill costs one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import device as devices
from medzoo import metrics, results
from medzoo.bench import cost, records
from medzoo.bench.contenders import Contender, halves
from medzoo.bench.reals import Reals
from medzoo.bench.setting import COST, Benchmark
from medzoo.datasets import Images
from medzoo.errors import MedzooError, ResultError
from medzoo.files import cache
from medzoo.metrics._base import Case, Metric, View
from medzoo.results import Result

if TYPE_CHECKING:
    from medzoo.features._base import Extractor

Tell = Callable[[str, str, int, int], None]
"""Called with the contender, what is under way, and how much of it is done: (done, total), 0 where nobody knows."""
# What one metric of one contender may fail with without ending the others: its input, its memory, its mathematics.
FAILURES = (MedzooError, ValueError, ArithmeticError, MemoryError, RuntimeError, OSError, ImportError)


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
    _views: list[tuple[Images, str | None, View]] = field(default_factory=list)

    def check(self) -> None:
        """Load what every contender will need, before anything slow. Raises MedzooError."""
        named = [metrics.load(name) for name in self.chosen if name != COST]
        if any("features" in metric.needs or "probabilities" in metric.needs for metric in named):
            for name in self.setting.features:
                self.extractor(name)

    def extractor(self, name: str) -> Extractor:
        from medzoo import features

        if name not in self._extractors:
            self._extractors[name] = features.load(name, device=str(devices.find(self.device)))
        return self._extractors[name]

    def view(self, images: Images, features: str | None, progress: Callable[[int, int], None]) -> View:
        """The images with their features, made once however many metrics ask."""
        for one, name, view in self._views:
            if one is images and name == features:
                return view
        vectors = probabilities = None
        if features is not None:
            from medzoo.features import features_of

            extractor = self.extractor(features)
            vectors = features_of(images.images, extractor, progress)
            probabilities = extractor.probabilities(vectors)
        view = View(images.images, images.masks, images.labels, vectors, probabilities)
        self._views.append((images, features, view))
        return view

    def forget(self, images: Images | None) -> None:
        """Drop the views of images that nobody will ask for again."""
        self._views = [known for known in self._views if known[0] is not images]

    def extractors(self) -> dict[str, dict[str, Any]]:
        """What results record of the extractors at hand."""
        return {name: {**one.about, "version": one.version} for name, one in self._extractors.items()}

    @cached_property
    def halves(self) -> tuple[Images, Images]:
        """Of the held-out images."""
        return halves(self.reals.held)

    @cached_property
    def made(self) -> dict[str, Any]:
        """Versions and hardware of this run."""
        return records.made(str(devices.find(self.device)))

    @property
    def machine(self) -> dict[str, Any]:
        """What a speed depends on."""
        return {key: self.made[key] for key in ("cpu", "device", "threads")}


def measure(contender: Contender, session: Session, references: Mapping[str, Result]) -> Result:
    """The result of a contender, complete but for metrics that failed or were not chosen; saved in ``session.out``.

    Args:
        references: results of the reference points, whose values go beside those of the contender.
    """
    path = results.path_of(session.out, contender.record.id, contender.record.revision, session.setting.name)
    with cache.locked_for(
        path, lambda: session.tell(contender.record.id, "another process measures it; waiting", 0, 0)
    ):
        result = _begun(contender, session, path)
        work = [(seed, _pending(contender, session, result, seed)) for seed in contender.seeds]
        if any(tasks for _, tasks in work):
            result = records.going_on(result, session.made)
        for seed, tasks in work:
            if tasks:
                result = _measured(contender, session, result, seed, tasks, references)
        result = records.beside(result, references)
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


def _pending(contender: Contender, session: Session, result: Result, seed: int) -> list[_Task]:
    return [
        task
        for task in _tasks(contender, session)
        if (task.metric.every_seed or seed == contender.seeds[0])
        and not records.has(result, task.metric, task.features, seed, session.machine)
    ]


def _begun(contender: Contender, session: Session, path: Path) -> Result:
    """What an earlier run has of it that still holds. Metrics that failed and are chosen again have not failed yet."""
    data = {**session.reals.about, "fake": {"n": contender.n}}
    fresh = Result(
        contender=contender.record, benchmark=session.setting.stated(), data=data, extractors={}, scores=(),
        references={}, made=session.made, failed={},
    )  # fmt: skip
    try:
        found = results.read(path)
    except ResultError as error:
        session.tell(contender.record.id, f"measured anew: {error}", 0, 0)
        return fresh
    result = records.continued(found, fresh, session.extractors())
    failed = {name: why for name, why in result.failed.items() if name not in session.chosen}
    return result.model_copy(update={"failed": failed})


def _measured(
    contender: Contender,
    session: Session,
    result: Result,
    seed: int,
    pending: list[_Task],
    references: Mapping[str, Result],
) -> Result:
    """All pending metrics of one seed, saved after each."""
    name, first = contender.record.id, seed == contender.seeds[0]

    def telling(what: str) -> Callable[[int, int], None]:
        return lambda done, total: session.tell(name, what, done, total)

    images = None
    if any(task.metric is not cost.METRIC for task in pending):
        started = time.perf_counter()
        images = contender.images(seed, telling(f"seed {seed}: images"))
        result = records.timed(result, "images", time.perf_counter() - started)
    for number, task in enumerate(pending):
        session.tell(name, f"seed {seed}: {task.metric.name}", number, len(pending))
        started = ready = time.perf_counter()
        try:
            if images is None or task.metric is cost.METRIC:
                assert contender.model is not None
                scores = cost.measure(
                    contender.model, device=session.device, condition=session.condition, machine=session.machine
                )
            else:
                case = _case(contender, session, task, images, seed, telling)
                ready = time.perf_counter()
                scores = task.metric.measure(case)
        except FAILURES as error:
            where = [task.features] if task.features and len(session.setting.features) > 1 else []
            where += [] if first else [f"seed {seed}"]
            why = ": ".join([*where, str(error) or type(error).__name__])
            result = result.model_copy(update={"failed": {task.metric.name: why, **result.failed}})
            continue
        result = records.joined(result, task.metric, task.features, seed, scores, first=first)
        if task.features is not None:
            about = {**result.extractors, task.features: session.extractors()[task.features]}
            result = result.model_copy(update={"extractors": about})
            result = records.timed(result, "features", ready - started)
        result = records.timed(result, task.metric.name, time.perf_counter() - ready)
        results.write(session.out, records.beside(result, references))
    session.forget(images)
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
        first, held = session.halves
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
        whose: session.view(one, task.features, telling(f"features of {whose} images")) for whose, one in given.items()
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
