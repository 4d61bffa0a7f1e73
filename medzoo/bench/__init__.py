"""Benchmarks: models, folders of images and reference points measured in one way, so that numbers can be compared.

    benchmark("polyp_128", ["10001"], data="DIR")          # results/10001_.../<revision>/polyp_128.json
    benchmark(fake=["made"], real="held_out")              # any two folders

Reference points come first: real images (the floor), blurred and noisy ones, copies of training images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from medzoo.bench import contenders, engine, measures
from medzoo.bench.contenders import Contender
from medzoo.bench.engine import FAILURES
from medzoo.bench.folders import changed, chosen_setting
from medzoo.bench.outcome import Outcome
from medzoo.bench.pace import in_words
from medzoo.bench.progress import Tell, shown
from medzoo.bench.session import Session, expected
from medzoo.bench.setting import Benchmark, load, names
from medzoo.errors import BenchmarkError
from medzoo.files.whole import check_local
from medzoo.progress import is_wanted

__all__ = ["Benchmark", "Outcome", "benchmark", "load", "names"]


def benchmark(
    name: str | None = None,
    models: Sequence[str | int] = (),
    *,
    fake: Sequence[Path | str] = (),
    fake_masks: Path | str | None = None,
    real: Path | str | None = None,
    training: Path | str | None = None,
    data: Path | str | None = None,
    out: Path | str = "results",
    n: int | None = None,
    size: int | None = None,
    window: tuple[float, float] | None = None,
    title: str | None = None,
    named: str | None = None,
    only: Sequence[str] = (),
    quick: bool = False,
    features: Sequence[str] = (),
    condition: Any = None,
    device: str | None = None,
    paired: bool | None = None,
    progress: bool | None = None,
    tell: Tell | None = None,
) -> Outcome:
    """Measure models and folders; what an earlier run has left in ``out`` is not measured again.

    Args:
        name: a benchmark of the registry, or a YAML file; None with ``real``.
        models: ids, as ``medzoo.generate`` takes them.
        fake: folders (or files) of images to measure; ``fake_masks`` a folder of their masks.
        real: folder (or file; ``FILE.npz:test`` for one split of several) of held-out real images, instead of a
            benchmark's; ``training``: of those a model was trained on.
        data: folder that holds the datasets; None takes ``$MEDZOO_DATA``.
        out: folder of the results.
        n: another number of images than the benchmark states, which makes it another benchmark (``NAME-n50``).
        size: of the images of ``real``, which are squeezed to ``size`` x ``size`` pixels; None takes the shortest side
            of all pictures in the folders, so that nothing is enlarged.
        window: with ``real``: numbers that become black and white, of images of more than 8 bits.
        title, named: with ``real``: the heading of the report, and the name of the benchmark in ``out``.
        only: some of the benchmark's metrics; empty for all. With ``real`` also metrics of installed packages.
        quick: leave out what trains networks, which takes most of the time: usefulness and mask agreement.
        features: other extractors than the benchmark states, or more; ``package.module:attribute`` is the person's own.
        condition: of the models.
        device: for networks and features; None for a CUDA device if there is one.
        paired: also measure what differences of two contenders need to be known well (their scores on the same halves
            of the images); None does where there are two or more.
        progress: whether to show on standard error what is under way and about how long the rest takes; None where a
            person sees it (see ``medzoo.progress``).
        tell: called with what is under way instead, see ``medzoo.bench.progress.Tell``.

    Raises MedzooError: nothing to measure, unknown names, real images that cannot be read. A contender that fails
    does not stop the others: see ``Outcome.failed``.
    """
    check_local(out, BenchmarkError)
    models, fake, only, features = map(_several, (models, fake, only, features))
    if not models and not fake:
        raise BenchmarkError("nothing to measure: name models, or a folder of images with --fake DIR")
    if fake_masks is not None and len(fake) != 1:
        raise BenchmarkError(f"--fake-masks goes with one --fake, found {len(fake)}; measure one folder at a time")
    setting, known = chosen_setting(name, real, training, data, size, window, only, fake=fake, title=title, named=named)
    setting = changed(setting, n, features)
    paired = len(models) + len(fake) > 1 if paired is None else paired
    session = Session(setting, known, _chosen(setting, only, quick), Path(out), device, condition, paired)
    session.check()
    made = [*_of_models(models, session), *_of_fakes(fake, fake_masks, session)]
    bar = tell is None and (is_wanted() if progress is None else progress)
    with shown(session.pace) if bar else nullcontext(tell or session.tell) as session.tell:
        return _measured(session, made, say=bar)


@dataclass(frozen=True)
class _Named:
    """What the person named, and what makes the contender of it, which may fail."""

    name: str
    kind: Literal["model", "folder"]
    make: Callable[[], Contender]


def _of_models(models: Sequence[str | int], session: Session) -> Iterator[_Named]:
    setting, known, options = session.setting, session.reals, {"device": session.device, "condition": session.condition}
    for model in map(str, models):
        yield _Named(model, "model", partial(contenders.of_model, model, setting, known, **options))


def _of_fakes(fake: Sequence[Path | str], masks: Path | str | None, session: Session) -> Iterator[_Named]:
    setting, known, of_masks = session.setting, session.reals, None if masks is None else Path(masks)
    for folder in map(Path, fake):
        yield _Named(str(folder), "folder", partial(contenders.of_folder, folder, setting, known, masks=of_masks))


def _measured(session: Session, named: Sequence[_Named], say: bool) -> Outcome:
    """Reference points first, since their values go beside those of all others."""
    points = contenders.of_references(session.setting, session.reals)
    session.pace.size = max(point.n for point in points) / 300
    for point in points:
        session.pace.plan(point.record.id, expected("folder", session, point.reference))
    for one in named:
        session.pace.plan(one.name, expected(one.kind, session))
    if say:
        _say_cost(session, len(points) + len(named))
    rows = {point.record.id: (point, engine.measure(point, session, {})) for point in points}
    references = {label: result for label, (_, result) in rows.items()}
    failed: dict[str, str] = {}
    for one in named:
        try:
            contender = one.make()
            session.pace.drop(one.name)
            if contender.record.id in rows:
                raise BenchmarkError(f"{contender.record.id} is there already; name it once, or rename the folder")
            rows[contender.record.id] = contender, engine.measure(contender, session, references)
        except FAILURES as error:
            session.pace.drop(one.name)
            failed[one.name] = str(error) or type(error).__name__
            session.tell(one.name, f"failed: {failed[one.name]}", 0, 0)
    measured, results = zip(*rows.values(), strict=True)
    return Outcome(results, failed, session.setting, session.reals, measured)


def _say_cost(session: Session, rows: int) -> None:
    """What is going to happen and about how long it takes, before anything slow."""
    trains = [name for name in session.chosen if measures.trains(name)]
    longest, whole = session.pace.seconds(trains), session.pace.left
    hint = f", {in_words(longest)} of it to train networks (left out by quick)" if trains else ""
    print(
        f"{session.setting.name}: {rows} rows at {session.setting.image.size} px, {len(session.chosen)} metrics; "
        f"{in_words(whole)} if nothing is there yet{hint}",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _chosen(setting: Benchmark, only: Sequence[str], quick: bool) -> tuple[str, ...]:
    """The metrics to measure now."""
    for metric in only:
        if metric not in setting.metrics:
            raise BenchmarkError(
                f"metric '{metric}' is not part of {setting.name}; it has {', '.join(setting.metrics)}"
            )
    chosen = tuple(only) or setting.metrics
    return tuple(name for name in chosen if not measures.trains(name)) if quick and not only else chosen


def _several(given: Any) -> tuple[Any, ...]:
    """One of something is a tuple of one: of text, Python would take the letters."""
    return (given,) if isinstance(given, str | int | Path) else tuple(given)
