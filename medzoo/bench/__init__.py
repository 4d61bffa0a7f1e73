"""Benchmarks: models, folders of images and reference points measured in one way, so that numbers can be compared.

    benchmark("polyp_128", ["10001"], data="DIR")          # results/10001_.../<revision>/polyp_128.json
    benchmark(fake=["made"], real="held_out")              # any two folders

Reference points come first: real images (the floor), blurred and noisy ones, copies of training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.bench import contenders, engine, measures, reals
from medzoo.bench.contenders import Contender
from medzoo.bench.engine import FAILURES, Session, Tell
from medzoo.bench.reals import Reals
from medzoo.bench.setting import Benchmark, load, names
from medzoo.datasets import Protocol
from medzoo.errors import BenchmarkError
from medzoo.files.whole import check_local
from medzoo.results import Result

__all__ = ["Benchmark", "Outcome", "benchmark", "load", "names"]

FOLDERS = "folders"  # name of a benchmark that the person's folders make


@dataclass(frozen=True)
class Outcome:
    """What a benchmark gave.

    Attributes:
        results: one for each contender that could be measured, reference points first.
        failed: contender -> why it could not be.
        setting: the benchmark as it was run.
        real: its real images (for pictures beside the numbers).
        contenders: those of ``results``, which can make their images again.
    """

    results: tuple[Result, ...]
    failed: dict[str, str]
    setting: Benchmark
    real: Reals
    contenders: tuple[Contender, ...]


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
    size: int = 256,
    window: tuple[float, float] | None = None,
    only: Sequence[str] = (),
    features: Sequence[str] = (),
    condition: Any = None,
    device: str | None = None,
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
        size: of the images of ``real``, which are squeezed to ``size`` x ``size`` pixels.
        window: with ``real``: numbers that become black and white, of images of more than 8 bits.
        only: some of the benchmark's metrics; empty for all. With ``real`` also metrics of installed packages.
        features: other extractors than the benchmark states, or more; ``package.module:attribute`` is the person's own.
        condition: of the models.
        device: for networks and features; None for a CUDA device if there is one.
        tell: called with what is under way, see ``engine.Tell``.

    Raises MedzooError: nothing to measure, unknown names, real images that cannot be read. A contender that fails
    does not stop the others: see ``Outcome.failed``.
    """
    check_local(out, BenchmarkError)
    models, fake, only, features = map(_several, (models, fake, only, features))
    if not models and not fake:
        raise BenchmarkError("nothing to measure: name models, or a folder of images with --fake DIR")
    if fake_masks is not None and len(fake) != 1:
        raise BenchmarkError(f"--fake-masks goes with one --fake, found {len(fake)}; measure one folder at a time")
    setting, known = _setting(name, real, training, data, size, window, only)
    setting = _changed(setting, n, features)
    session = Session(setting, known, _chosen(setting, only), Path(out), device, condition)
    if tell is not None:
        session.tell = tell
    session.check()
    return _measured(session, [*_of_models(models, session), *_of_fakes(fake, fake_masks, session)])


_Made = tuple[str, Callable[[], Contender]]
"""What the person named, and what makes the contender of it, which may fail."""


def _of_models(models: Sequence[str | int], session: Session) -> Iterator[_Made]:
    setting, known, options = session.setting, session.reals, {"device": session.device, "condition": session.condition}
    for model in map(str, models):
        yield model, lambda model=model: contenders.of_model(model, setting, known, **options)  # type: ignore[misc]


def _of_fakes(fake: Sequence[Path | str], masks: Path | str | None, session: Session) -> Iterator[_Made]:
    setting, known, of_masks = session.setting, session.reals, None if masks is None else Path(masks)
    for folder in map(Path, fake):
        yield str(folder), lambda path=folder: contenders.of_folder(path, setting, known, masks=of_masks)  # type: ignore[misc]


def _measured(session: Session, named: Sequence[_Made]) -> Outcome:
    """Reference points first, since their values go beside those of all others."""
    points = contenders.of_references(session.setting, session.reals)
    rows = {point.record.id: (point, engine.measure(point, session, {})) for point in points}
    references = {label: result for label, (_, result) in rows.items()}
    failed: dict[str, str] = {}
    for name, make in named:
        try:
            contender = make()
            if contender.record.id in rows:
                raise BenchmarkError(f"{contender.record.id} is there already; name it once, or rename the folder")
            rows[contender.record.id] = contender, engine.measure(contender, session, references)
        except FAILURES as error:
            failed[name] = str(error) or type(error).__name__
            session.tell(name, f"failed: {failed[name]}", 0, 0)
    measured, results = zip(*rows.values(), strict=True)
    return Outcome(results, failed, session.setting, session.reals, measured)


def _chosen(setting: Benchmark, only: Sequence[str]) -> tuple[str, ...]:
    """The metrics to measure now."""
    for metric in only:
        if metric not in setting.metrics:
            raise BenchmarkError(
                f"metric '{metric}' is not part of {setting.name}; it has {', '.join(setting.metrics)}"
            )
    return tuple(only) or setting.metrics


def _setting(
    name: str | None,
    real: Path | str | None,
    training: Path | str | None,
    data: Path | str | None,
    size: int,
    window: tuple[float, float] | None,
    only: Sequence[str],
) -> tuple[Benchmark, Reals]:
    """What is measured and against which images: a benchmark of the registry, or one that folders make."""
    if (name is None) == (real is None):
        raise BenchmarkError(f"choose --benchmark NAME ({', '.join(names()) or 'none there'}) or --real DIR")
    if name is None:
        form = Protocol(size=size, channels="RGB")
        known = reals.of_paths(Path(str(real)), None if training is None else Path(training), form, window)
        return _of_folders(Path(str(real)), form, known, only).model_copy(update={"window": window}), known
    if window is not None:
        raise BenchmarkError("--window goes with --real; a benchmark states what its images are")
    if training is not None:
        raise BenchmarkError("--training goes with --real; a benchmark states its own training images")
    setting = load(name)
    return setting, reals.of_dataset(setting, None if data is None else Path(data))


def _several(given: Any) -> tuple[Any, ...]:
    """One of something is a tuple of one: of text, Python would take the letters."""
    return (given,) if isinstance(given, str | int | Path) else tuple(given)


def _of_folders(real: Path, form: Protocol, known: Reals, only: Sequence[str]) -> Benchmark:
    """The benchmark that a person's folders make: every metric that they allow, and those named of other packages."""
    given = {"training": known.training, "masks": known.held.masks, "labels": known.held.labels}
    lacking = {what for what, images in given.items() if images is None}
    others = [metric for metric in only if metric in measures.names() and metric not in measures.builtin()]
    allowed = [metric for metric in measures.builtin() if not lacking & set(measures.load(metric).needs)]
    return Benchmark(
        name=f"{FOLDERS}-{contenders.safe(real.resolve().name)}-{form.size}",
        title=f"against the images of {real.resolve().name}",  # folders above it may name a person
        dataset=None,
        reference=real.resolve().name,
        training=None if known.training is None else "training images",
        n=1000,
        seeds=(0,),
        image=form,
        features=("efficientnet_lite0",),
        metrics=tuple(dict.fromkeys([*allowed, *others])),
        bootstrap=100,
        notes=None,
    )


def _changed(setting: Benchmark, n: int | None, features: Sequence[str]) -> Benchmark:
    """With another number of images, which needs a name of its own, or other features."""
    if n is not None and n < 2:
        raise BenchmarkError(f"n: 2 or more images of each are needed, found {n}")
    changed: dict[str, Any] = {"features": tuple(dict.fromkeys(features))} if features else {}
    if n is not None and n != setting.n:
        changed |= {"n": n, "name": f"{setting.name}-n{n}"}
    return setting.model_copy(update=changed)
