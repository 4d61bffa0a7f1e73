"""What is measured and against which images: a benchmark of the registry, or one that a person's folders make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medzoo.bench import contenders, measures, reals
from medzoo.bench.reals import Reals
from medzoo.bench.setting import Benchmark, load, names
from medzoo.datasets import Protocol, smallest_side
from medzoo.errors import BenchmarkError

LEAST = 8  # pixels a side; networks that are trained to measure usefulness take no less
FOLDERS = "folders"  # how names of benchmarks begin that folders make


def chosen_setting(
    name: str | None,
    real: Path | str | None,
    training: Path | str | None,
    data: Path | str | None,
    size: int | None,
    window: tuple[float, float] | None,
    only: Sequence[str],
    *,
    fake: Sequence[Path | str],
    title: str | None,
    named: str | None,
) -> tuple[Benchmark, Reals]:
    """The setting and its real images; for the arguments see ``medzoo.bench.benchmark``. Raises MedzooError."""
    if (name is None) == (real is None):
        raise BenchmarkError(f"choose --benchmark NAME ({', '.join(names()) or 'none there'}) or --real DIR")
    if real is not None:
        held, trained = Path(real), None if training is None else Path(training)
        if size is None:
            there = [path for path in map(Path, fake) if reals.parted(path)[0].exists()]  # others fail by themselves
            size = _usual_size([held, *([] if trained is None else [trained]), *there], window)
        form = Protocol(size=size, channels="RGB")
        known = reals.of_paths(held, trained, form, window)
        setting = _of_folders(held, form, known, only).model_copy(update={"window": window})
        return _called(setting, title, named), known
    for option, value, why in (
        ("--window", window, "a benchmark states what its images are"),
        ("--training", training, "a benchmark states its own training images"),
        ("--size", size, "a benchmark states its own"),
        ("--title", title, "a benchmark has its own"),
        ("--name", named, "a benchmark has its own"),
    ):
        if value is not None:
            raise BenchmarkError(f"{option} goes with --real; {why}")
    setting = load(str(name))
    return setting, reals.of_dataset(setting, None if data is None else Path(data))


def _usual_size(paths: Iterable[Path | str], window: tuple[float, float] | None) -> int:
    """The shortest side, in pixels, of all pictures at these paths: nothing is enlarged.

    Raises DatasetError: one of them cannot be read.
    """
    sides = {}
    for path in map(Path, paths):
        place, split = reals.parted(path)
        sides[str(path)] = smallest_side(place, split=split, window=window)
    if min(sides.values()) < LEAST:
        least = min(sides, key=sides.__getitem__)
        raise BenchmarkError(
            f"{least}: has pictures of {sides[least]} pixels; state --size, {LEAST} or more, to which they are enlarged"
        )
    return min(sides.values())


def changed(setting: Benchmark, n: int | None, features: Sequence[str]) -> Benchmark:
    """With another number of images, which needs a name of its own, or other features."""
    if n is not None and n < 2:
        raise BenchmarkError(f"n: 2 or more images of each are needed, found {n}")
    update: dict[str, Any] = {"features": tuple(dict.fromkeys(features))} if features else {}
    if n is not None and n != setting.n:
        update |= {"n": n, "name": f"{setting.name}-n{n}"}
    return setting.model_copy(update=update)


def _called(setting: Benchmark, title: str | None, named: str | None) -> Benchmark:
    """With the heading and the name that the person gives it."""
    update = {} if title is None else {"title": title}
    if named is not None:
        if named != contenders.safe(named):
            raise BenchmarkError(f"--name '{named}' cannot be the name of a file; use letters, digits, . _ -")
        if named in names():
            raise BenchmarkError(f"--name '{named}' is that of a benchmark of the registry; choose another")
        update["name"] = named
    return setting.model_copy(update=update)


def _of_folders(real: Path, form: Protocol, known: Reals, only: Sequence[str]) -> Benchmark:
    """The benchmark that a person's folders make: every metric that they allow, and those named of other packages."""
    given = {"training": known.training, "masks": known.held.masks, "labels": known.held.labels}
    lacking = {what for what, images in given.items() if images is None}
    others = [metric for metric in only if metric in measures.names() and metric not in measures.builtin()]
    allowed = [metric for metric in measures.builtin() if not lacking & set(measures.load(metric).needs)]
    name = real.resolve().name  # folders above it may name a person
    return Benchmark(
        name=f"{FOLDERS}-{contenders.safe(name)}-{form.size}",
        title=f"Synthetic images against the real images of {name}",
        dataset=None,
        reference=name,
        training=None if known.training is None else "training images",
        n=1000,
        seeds=(0,),
        image=form,
        features=("efficientnet_lite0",),
        metrics=tuple(dict.fromkeys([*allowed, *others])),
        bootstrap=100,
        notes=None,
    )
