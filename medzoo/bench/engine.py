"""Measure one contender: whatever its result lacks, saved after each metric, so that a kill costs one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo import results
from medzoo.bench import halving, measures, pace, records
from medzoo.bench.contenders import Contender
from medzoo.bench.measures import Measure
from medzoo.bench.pace import Step
from medzoo.bench.session import Session, extractors_of, features_of, weight
from medzoo.datasets import Images
from medzoo.errors import MedzooError, ResultError
from medzoo.files import cache
from medzoo.metrics import Case, Metric, Score
from medzoo.results import Result

# What one metric of one contender may fail with without ending the others: its input, its memory, its mathematics.
FAILURES = (MedzooError, ValueError, ArithmeticError, MemoryError, RuntimeError, OSError, ImportError)


def measure(contender: Contender, session: Session, references: Mapping[str, Result]) -> Result:
    """The result of a contender, complete but for metrics that failed or were not chosen; saved in ``session.out``.

    Args:
        references: results of the reference points, whose values go beside those of the contender.
    """
    name = contender.record.id
    path = results.path_of(session.out, name, contender.record.revision, session.setting.name)
    with cache.locked_for(path, lambda: session.tell(name, "another process measures it; waiting", 0, 0)):
        result = _begun(contender, session, path)
        runs = [_Run(contender, session, references, seed) for seed in contender.seeds]
        pending = [run.pending(result) for run in runs]
        session.pace.plan(name, _steps(runs, pending))
        if any(pending):
            result = records.resumed(result, session.made)
        for run, tasks in zip(runs, pending, strict=True):
            if tasks:
                result = run.measured(result, tasks)
        result = records.with_references(result, references)
        results.write(session.out, result)
    session.pace.drop(name)
    return result


def _steps(runs: Sequence[_Run], pending: Sequence[Sequence[_Task]]) -> list[Step]:
    steps = []
    for run, tasks in zip(runs, pending, strict=True):
        steps += [Step(pace.IMAGES)] if tasks else []
        steps += features_of((task.measure for task in tasks), run.session)
        steps += [Step(task.measure.name, weight(task.measure, run.contender.reference)) for task in tasks]
    return steps


def _begun(contender: Contender, session: Session, path: Path) -> Result:
    """What an earlier run has of it that still holds. Metrics that failed and are chosen again have not failed yet."""
    came = {} if contender.sizes is None else {"sizes": contender.sizes}
    data = {**session.reals.about, "fake": {"n": contender.n, **came}}
    fresh = Result(
        contender=contender.record, benchmark=session.setting.stated(), data=data, extractors={}, scores=(),
        references={}, made=session.made, failed={},
    )  # fmt: skip
    try:
        earlier = results.read(path)
    except ResultError as error:
        session.tell(contender.record.id, f"measured anew: {error}", 0, 0)
        return fresh
    result = records.continued(earlier, fresh, session.extractors())
    failed = {name: why for name, why in result.failed.items() if name not in session.chosen}
    return result.model_copy(update={"failed": failed})


@dataclass(frozen=True)
class _Task:
    """One call of a metric: in the features of an extractor, None for a metric that needs none."""

    measure: Measure
    features: str | None


@dataclass(frozen=True, eq=False)
class _Run:
    """One seed of a contender: which tasks there are, and their scores."""

    contender: Contender
    session: Session
    references: Mapping[str, Result]
    seed: int

    @property
    def first(self) -> bool:
        """Whether this is the seed whose notes and details results show."""
        return self.seed == self.contender.seeds[0]

    def pending(self, result: Result) -> list[_Task]:
        """Tasks whose scores the result has not."""
        return [task for task in self.tasks() if not self.is_measured(task, result) or self.lacks_draws(task, result)]

    def lacks_draws(self, task: _Task, result: Result) -> bool:
        """Whether a comparison needs the values of a measured task on halves; what trains networks brings its own."""
        wanted = self.session.paired and self.first and self.contender.reference is None
        if not wanted or not isinstance(task.measure, Metric) or task.measure.trains:
            return False
        if min(self.contender.n, len(self.session.reals.held)) < halving.FEWEST:
            return False
        return not records.has_draws(result, task.measure, task.features)

    def tasks(self) -> list[_Task]:
        chosen = [measure for measure in map(measures.load, self.session.chosen) if self.applies(measure)]
        return [_Task(it, name) for it in chosen for name in extractors_of(it, self.session)]

    def applies(self, measure: Measure) -> bool:
        """Whether it can be measured of such a contender, and is to be with this seed."""
        if not isinstance(measure, Metric) and self.contender.model is None:
            return False
        if self.contender.reference is not None and self.contender.reference not in measure.references:
            return False
        return measure.every_seed or self.first

    def is_measured(self, task: _Task, result: Result) -> bool:
        machine = None if isinstance(task.measure, Metric) else self.session.machine
        return records.has_score(result, task.measure, task.features, self.seed, machine)

    def measured(self, result: Result, tasks: Sequence[_Task]) -> Result:
        """The result with the scores of all tasks, saved after each; images are made only if a task looks at them."""
        images = None
        if any(isinstance(task.measure, Metric) for task in tasks):
            started = time.perf_counter()
            self.session.pace.begin(self.contender.record.id, pace.IMAGES)
            images = self.contender.images(self.seed, self.telling(f"seed {self.seed}: images"))
            self.session.pace.end()
            result = records.with_seconds(result, "images", time.perf_counter() - started)
        for number, task in enumerate(tasks):
            self.session.tell(self.contender.record.id, f"seed {self.seed}: {task.measure.name}", number, len(tasks))
            try:
                result = self.with_task(result, task, images)
            except FAILURES as error:
                failed = {task.measure.name: self.why(task, error), **result.failed}
                result = result.model_copy(update={"failed": failed})
            else:
                results.write(self.session.out, records.with_references(result, self.references))
            self.session.pace.end()
        self.session.forget(images)
        return result

    def with_task(self, result: Result, task: _Task, images: Images | None) -> Result:
        """The result with the scores of one task, and the time that it and its features took."""
        started = ready = time.perf_counter()
        scores: Mapping[str, Score]
        case: Case | None = None
        if isinstance(task.measure, Metric):
            assert images is not None
            if task.features is not None and not self.session.has_view(images, task.features):
                self.session.pace.begin(self.contender.record.id, pace.FEATURES)
            case = self.case(task.measure, task.features, images)
            self.session.pace.end()
            self.session.pace.begin(self.contender.record.id, task.measure.name)
            ready = time.perf_counter()
            scores = {} if self.is_measured(task, result) else task.measure.measure(case)
        else:
            assert self.contender.model is not None
            self.session.pace.begin(self.contender.record.id, task.measure.name)
            options = {"device": self.session.device, "condition": self.session.condition}
            scores = task.measure.measure_model(self.contender.model, **options, machine=self.session.machine)
        spent = time.perf_counter() - ready
        result = self.with_draws(result, task, case, scores) if case is not None else result
        result = records.with_scores(result, task.measure, task.features, self.seed, scores, first=self.first)
        if task.features is not None:
            about = {**result.extractors, task.features: self.session.extractors()[task.features]}
            result = result.model_copy(update={"extractors": about})
            result = records.with_seconds(result, "features", ready - started)
        return records.with_seconds(result, task.measure.name, spent)

    def with_draws(self, result: Result, task: _Task, case: Case, scores: Mapping[str, Score]) -> Result:
        """The result with what a paired comparison needs, where one is wanted."""
        assert isinstance(task.measure, Metric)
        own = {name: score.draws.tolist() for name, score in scores.items() if score.draws is not None}
        if self.session.paired and self.first and self.contender.reference is None and own:
            result = records.with_draws(result, task.features, own)
        if self.lacks_draws(task, result):
            started = time.perf_counter()
            tell = self.telling(f"{task.measure.name} on halves")
            result = records.with_draws(result, task.features, halving.draws(task.measure, case, tell))
            result = records.with_seconds(result, pace.DRAWS, time.perf_counter() - started)
        return result

    def why(self, task: _Task, error: BaseException) -> str:
        """A failure in words: of which extractor and seed, where there are several."""
        where = [task.features] if task.features and len(self.session.setting.features) > 1 else []
        where += [] if self.first else [f"seed {self.seed}"]
        return ": ".join([*where, str(error) or type(error).__name__])

    def telling(self, what: str) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            self.session.pace.inside(done, total)
            self.session.tell(self.contender.record.id, what, done, total)

        return show

    def case(self, metric: Metric, features: str | None, images: Images) -> Case:
        """What the metric is given. Raises ValueError: the images have not what it needs."""
        compared = self.compared(metric, images)
        views = {
            whose: self.session.view(those, features, self.telling(f"features of {whose} images"))
            for whose, those in compared.items()
        }
        if "probabilities" in metric.needs and views["generated"].probabilities is None:
            raise ValueError(f"{features} has no classifier")
        return Case(
            views["generated"],
            views["real"],
            views.get("training"),
            repeats=self.session.setting.bootstrap,
            seed=self.seed,
            say=lambda words: self.telling(words)(0, 0),
        )

    def compared(self, metric: Metric, images: Images) -> dict[str, Images]:
        """The sets of images that the metric looks at. Raises ValueError: one of them has not what it needs."""
        reals, reference = self.session.reals, self.contender.reference
        fake, held = images, reals.held
        if reference is not None and (reals.training is None or metric.floor == "heldout"):
            half, held = self.session.halves
            fake = half if reference == "real" else fake
        compared = {"generated": fake, "real": held}
        if "training" in metric.needs:
            if reals.training is None:
                raise ValueError("no training images are known: name them with --training")
            compared["training"] = reals.training
        for what in ("masks", "labels"):
            for whose, those in compared.items():
                if what in metric.needs and getattr(those, what) is None:
                    raise ValueError(f"the {whose} images have no {what}")
        return compared
