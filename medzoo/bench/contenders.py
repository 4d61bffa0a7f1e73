"""Whose images are measured: a model, a folder, or a reference point; all give images of the benchmark's form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo import __version__, zoo
from medzoo.bench.reals import Reals, read, shuffled
from medzoo.bench.references import references
from medzoo.bench.setting import Benchmark
from medzoo.bench.sizes import of_model as sizes_of_model
from medzoo.bench.sizes import sizes
from medzoo.datasets import Images, content_sha256, fit, relabel
from medzoo.entry import Entry
from medzoo.errors import BenchmarkError, DatasetError
from medzoo.files import cache, whole
from medzoo.files.reading import read_json
from medzoo.results import ContenderRecord

if TYPE_CHECKING:
    from medzoo.families._condition import Conditions

Progress = Callable[[int, int], None]
BATCHES_KEPT = "bench"  # folder of the cache with generated images, so that a killed benchmark goes on


@dataclass(frozen=True, eq=False)
class Contender:
    """One row of a leaderboard.

    Attributes:
        record: who it is, as results state it.
        seeds: those it is measured with.
        n: how many images of each seed.
        images: seed -> its images; the progress is called with (done, total).
        model: what ``zoo.load`` takes, None for what is no model.
        reference: which kind of reference point ("real", "blur", "noise", "copies"); None if it is none.
        sizes: how its images came, see ``medzoo.bench.sizes``; None where nobody knows.
    """

    record: ContenderRecord
    seeds: tuple[int, ...]
    n: int
    images: Callable[[int, Progress], Images]
    model: str | None = None
    reference: str | None = None
    sizes: dict[str, Any] | None = None


def of_model(
    model_id: str, setting: Benchmark, reals: Reals, *, device: str | None, condition: Any = None
) -> Contender:
    """A model of the registry. Raises MedzooError: unknown, not available, or not of pictures."""
    from medzoo.families._condition import resolve_condition

    generator = zoo.load(model_id, device=device)
    entry = generator.entry
    if entry.output.type.startswith("volume"):
        raise BenchmarkError(f"{entry.model_id}: makes volumes; benchmarks of volumes are not built yet")
    if entry.output.channels not in (1, 3):
        raise BenchmarkError(f"{entry.model_id}: makes {entry.output.channels} channels; 1 or 3 can be measured")
    conditions = _digest_of(resolve_condition(entry, generator.declared, condition, range(setting.n)))
    name = cache.in_paths(generator.name)
    made_by = [__version__, entry.revision, generator.weights_sha256, generator.device.type]
    key = _digest(" ".join(map(str, (*made_by, conditions, setting.revision))))
    weights_sha256 = generator.weights_sha256
    del generator  # many models may be measured in one run, and networks are large

    def images(seed: int, progress: Progress) -> Images:
        store = _Store(cache.root() / BATCHES_KEPT / name / f"{key[:16]}-{seed}", setting.n)

        def rest(start: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.int64] | None]]:
            missing = [range(start, setting.n)]
            for part in zoo.load(model_id, device=device).stream(setting.n, condition, seed=seed, among=missing):
                fitted, masks = fit(part.images, part.masks, setting.image)
                yield fitted, masks if masks is not None and masks.shape[1] == 1 else None, part.labels

        made, masks, labels = store.filled(rest, progress)
        names = tuple(f"{seed}-{i}" for i in range(len(made)))
        return _in_classes(Images(made, masks, names, labels, _classes(entry)), reals.classes)

    notes = [entry.notes]
    if entry.output.masks > 1:
        notes.append("masks of several channels are not measured")
    record = ContenderRecord(
        id=name,
        kind="model",
        title=entry.title,
        revision=entry.revision if condition is None else f"{entry.revision}-{conditions[:6]}",
        weights_sha256=weights_sha256,
        license=entry.license.model_dump(),
        family=entry.family,
        note=" ".join(note for note in notes if note) or None,
    )
    came = sizes_of_model(entry.output.size, setting.image.size, setting.n)
    return Contender(record, setting.seeds, setting.n, images, model=model_id, sizes=came)


def of_folder(path: Path, setting: Benchmark, reals: Reals, *, masks: Path | None = None) -> Contender:
    """A folder (or file) of images. Raises DatasetError."""
    given = read(path, setting.image, masks=masks, window=reals.window)
    chosen = shuffled(_in_classes(given, reals.classes), setting.n)
    record = ContenderRecord(
        id=safe(path.resolve().name),
        kind="folder",
        title=path.resolve().name,
        revision=content_sha256(chosen)[:12],
        weights_sha256=None,
        license=None,
        family=None,
        note=None if len(chosen) == setting.n else f"{len(chosen)} images, the benchmark asks for {setting.n}",
    )
    return Contender(record, (0,), len(chosen), lambda seed, progress: chosen, sizes=sizes(chosen))


def of_references(setting: Benchmark, reals: Reals) -> list[Contender]:
    """The reference points that real images allow; without training images, half of the held-out ones are judged."""
    source, others = (reals.training, reals.held) if reals.training is not None else halves(reals.held)
    chosen = shuffled(source, setting.n)
    content = content_sha256(chosen)
    note = None
    if len(chosen) < setting.n or len(others) < len(reals.held):
        note = f"{len(chosen)} images against {len(others)}, where models have {setting.n} against {len(reals.held)}: "
        note += "scores that depend on the numbers differ"
    points = []
    for name, (title, degrade) in references(setting.image.size).items():
        if name == "copies" and reals.training is None:
            continue

        def images(seed: int, progress: Progress, degrade: Any = degrade) -> Images:
            return replace(chosen, images=degrade(chosen.images))

        # One image tells how images are made worse: another blur of the same images is another reference point.
        revision = _digest(content + hashlib.sha256(degrade(chosen.images[:1]).tobytes()).hexdigest())[:12]
        record = ContenderRecord(
            id=name, kind="reference", title=title, revision=revision, weights_sha256=None, license=None, family=None,
            note=note,
        )  # fmt: skip
        points.append(Contender(record, (0,), len(chosen), images, reference=name.partition("_")[0]))
    return points


def halves(images: Images) -> tuple[Images, Images]:
    """Two halves that have no image in common, and no patient where patients are known."""
    groups = images.groups if images.groups is not None else images.names
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    first = set(order[: len(order) // 2])
    inside = np.array([group in first for group in groups])
    return images[np.flatnonzero(inside)], images[np.flatnonzero(~inside)]


def safe(name: str) -> str:
    """A folder's name as the name of its results."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name).lstrip("._-")
    return safe or "folder"


class _Store:
    """Generated images in files that are mapped, not read: bounded memory, and nothing made twice after a kill."""

    def __init__(self, folder: Path, n: int) -> None:
        self.folder, self.n = folder, n

    def filled(
        self, rest: Callable[[int], Iterator[tuple[Any, Any, Any]]], progress: Progress
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.int64] | None]:
        """Whatever is missing is taken from ``rest(start)``: batches of images, masks, labels."""
        with cache.disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with cache.locked_for(self.folder, lambda: progress(0, self.n)):
            done = self._done()
            progress(done, self.n)
            for batch in rest(done) if done < self.n else ():
                with cache.disk_errors(self.folder):
                    for name, array in zip(("images", "masks", "labels"), batch, strict=True):
                        if array is not None:
                            self._put(name, array, done)
                    done += len(batch[0])
                    whole.write_json(self.folder / "done.json", {"done": done})
                progress(done, self.n)
        images = self._open("images")
        assert images is not None
        return images, self._open("masks"), self._open("labels")

    def _done(self) -> int:
        try:
            done = int(read_json(self.folder / "done.json")["done"])
            return done if self._open("images") is not None else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _put(self, name: str, array: NDArray[Any], start: int) -> None:
        path = self.folder / f"{name}.npy"
        mode = "r+" if path.exists() and start else "w+"
        shape = (self.n, *array.shape[1:])
        if mode == "w+":  # a full disk behind a mapped file would kill the process
            whole.need_space(self.folder, self.n * array[:1].nbytes)
        kwargs: dict[str, Any] = {} if mode == "r+" else {"dtype": array.dtype, "shape": shape}
        mapped = np.lib.format.open_memmap(path, mode=mode, **kwargs)
        mapped[start : start + len(array)] = array
        mapped.flush()

    def _open(self, name: str) -> NDArray[Any] | None:
        try:
            array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        return array if len(array) == self.n else None


def _in_classes(images: Images, wanted: tuple[str, ...] | None) -> Images:
    """Labels in the numbers of the benchmark's classes; without labels, where a class is unknown there."""
    if images.labels is not None and images.classes is not None and wanted is not None:
        try:
            return relabel(images, wanted)
        except DatasetError:
            pass
    return replace(images, labels=None, classes=None)


def _classes(entry: Entry) -> tuple[str, ...] | None:
    named = entry.condition.classes if entry.condition is not None else None
    return tuple(map(str, named)) if named else None


def _digest_of(conditions: Conditions) -> str:
    """Of what samples are conditioned on: the numbers and pixels, not the words or paths that lead to them."""
    digest = hashlib.sha256()
    for array in (conditions.labels, conditions.attributes, *(image.read() for image in conditions.inputs)):
        digest.update(b"none" if array is None else f"{array.shape} {array.dtype}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
