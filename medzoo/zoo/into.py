"""Samples of a model into a folder: streamed, resumable byte for byte, with a contact sheet."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo import conditions, zoo
from medzoo.arguments import hinted
from medzoo.entry import Entry
from medzoo.errors import ConditionError
from medzoo.files.cache import in_paths
from medzoo.progress import Progress, shown
from medzoo.samples import Samples, formats, saving, sheet
from medzoo.samples.folder import GRID
from medzoo.zoo import options
from medzoo.zoo.wording import described, last_name, nameless

if TYPE_CHECKING:
    from medzoo.conditions import Conditions
    from medzoo.families._base import Generator
    from medzoo.samples.formats import Bits, Masks

GRID_SAMPLES, GRID_SIDE = 100, 128  # samples on the contact sheet, and pixels of their longer side at most
MANY = 100_000  # samples in one folder, above which a warning names shards


@dataclass(frozen=True)
class Generated:
    """What ``generate_into`` has done.

    Attributes:
        folder: the files, ``manifest.jsonl`` and ``run.json``.
        grid: the contact sheet; None if there is none.
        run: what decides the bytes.
        n: samples asked for.
        whole: samples in the folder; fewer than ``n`` if it was stopped.
        made: samples that this call has made; a resumed run needs not all of them.
        seconds: for these.
    """

    folder: Path
    grid: Path | None
    run: saving.Run
    n: int
    whole: int
    made: int
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether samples are missing; ``resume=True`` makes them."""
        return self.whole < self.n


@hinted({})
def generate_into(
    folder: str | Path | None,
    model_id: str | int | Path,
    n: int | None = None,
    condition: Any = None,
    *,
    family: str | None = None,
    words: tuple[str, ...] = (),
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
    format: str | None = None,
    bits: Bits = 8,
    masks: Masks = "capture",
    keep_patient: bool = False,
    layout: str = "flat",
    shard: int | None = None,
    per_class: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    grid: bool = False,
    device: str | None = None,
    precision: str = "float32",
    window: tuple[float, float] | None = None,
    axis: str | None = None,
    slice: int | None = None,
    input_names: bool | None = None,
    truncation: float | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    noise: str | None = None,
    progress: bool | Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generated:
    """Make ``n`` samples of a model and write them into a folder, a few batches in memory at a time.

    Sample i is the same whatever the number, batch size or start. A run that was killed at any moment goes on with
    ``resume=True``, and its files come out byte for byte as if nothing had happened.

    Args:
        folder: where the files go; None for ``samples/MODEL_ID``.
        model_id, family: as ``medzoo.generate`` takes them.
        n: how many; None for 10, or one for each input that ``condition`` lists.
        condition: what the model is conditioned on: one for all samples or one for each.
        words: the condition as ``--condition`` takes it, instead.
        start: index of the first sample.
        batch_size: samples at a time; None for that of the resumed run, or what memory allows.
        format: a name of ``medzoo.samples.formats``; None for png, and for that of input volumes, nifti or dicom.
        bits: 8 or 16 a stored pixel.
        masks: of DICOM: ``capture`` writes them as pictures, ``seg`` as segmentation objects.
        keep_patient: of DICOM made from DICOM files: it stays in the study of the same patient.
        layout: a name of ``medzoo.samples.layouts``, which says in what folders the files lie.
        shard: samples in one sub-folder (of webdataset in one tar file, at least); None for all in one.
        per_class: so many of each class that ``condition`` lists, or of all, instead of ``n``.
        resume: go on with the run in the folder, or begin it.
        overwrite: replace the run in the folder.
        grid: also write a contact sheet of the first samples, ``grid.png``.
        device, precision: as ``medzoo.generate`` takes them.
        window: numbers of input image files that become black and white, in their units; None as the entry says.
        axis, slice: of input volumes: the plane of the slices (axial, coronal, sagittal; DICOM series are taken as
            acquired), and the one slice to take; None as the entry says, and for all slices.
        input_names: write the names of input image files into names of outputs, the manifest and the files; False
            writes ``input0``, ``input1``, ... in their place. None does so for DICOM and NIfTI files, whose names may
            tell a patient's.
        truncation, steps, sampler, guidance, strength, noise: as ``medzoo.generate`` takes them.
        progress: as ``medzoo.generate`` takes it; a function is called after each batch, and by slow models within it.
        stop: asked after each batch whether to stop there.

    Raises SavingError (a folder in use, another run, a format that does not fit), or what ``medzoo.generate`` raises.
    """
    if folder is not None:
        saving.check_folder(folder, resume=resume, overwrite=overwrite)  # before anything slow
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window, axis=axis, slice=slice,
    )  # fmt: skip

    def asked(entry: Entry) -> tuple[Any, int | None]:
        stated = conditions.from_words(entry.condition, words) if words else condition
        return (stated, n) if per_class is None else _of_each_class(entry, stated, n, per_class)

    def filed(entry: Entry, format: str) -> dict[str, Any]:
        output, declared = entry.output, entry.condition
        return {
            "format": format, "bits": bits, "layout": layout, "shard": shard, "channels": output.channels,
            "masks": output.masks, "classes": declared.classes if declared else None,
            "mask_names": output.mask_names, "mask_kind": masks, "keep_patient": keep_patient,
        }  # fmt: skip

    def check(cls: type[Generator], entry: Entry) -> None:
        nonlocal condition, n
        condition, n = asked(entry)
        n = cls.check_request(entry, n, condition, seed=seed, start=start, batch_size=batch_size)
        if format is None and entry.condition is not None and entry.condition.inputs:
            return  # the inputs decide it
        wanted = saving.Run(
            entry.model_id, None, None, seed, start, None, str(precision), 1, **filed(entry, format or "png")
        )
        _check_output(wanted, entry)

    generator = zoo.load_checked(model_id, check, override=override, device=device, precision=precision, family=family)
    generator.input_names = input_names
    out = Path("samples") / in_paths(generator.name) if folder is None else Path(folder)
    assert n is not None
    given = generator.resolve(condition, range(start, start + n))
    if keep_patient and not _are_of_studies(given):
        raise ConditionError(f"{generator.name}: the inputs are no DICOM files of a patient; leave out --keep-patient")
    inputs = generator.inputs_sha256(given)
    stated_words = [last_name(word) for word in words] if inputs is not None else words
    in_words = "; ".join(stated_words) if words else described(condition, files=inputs is not None)
    run = saving.Run(
        model_id=generator.name,
        revision=generator.entry.revision,
        weights_sha256=generator.weights_sha256,
        seed=seed,
        start=start,
        condition=nameless(in_words) if in_words and _is_hidden(given, input_names) else in_words,
        precision=generator.precision,
        batch_size=batch_size
        or (resume and _recorded_batch_size(out))
        or (1 if given.has_volumes else generator.suggest_batch_size()),
        spacing=generator.entry.output.spacing,
        inputs_sha256=inputs,
        **filed(generator.entry, format or _format_of(given)),
    )
    _check(generator, n, run, given)
    began = time.perf_counter()
    with saving.Writer(out, run, resume=resume, overwrite=overwrite) as writer, shown(progress) as show:
        first, made = _write(generator, writer, n, given, show, stop, GRID_SAMPLES if grid else 0)
    seconds = time.perf_counter() - began
    grid_file = _sheet(generator, out, n, run, first, given) if grid and n and writer.written >= n else None
    return Generated(out, grid_file, run, n, writer.written, made, seconds)


def _are_of_studies(given: Conditions) -> bool:
    lie = [one.provenance for one in given.inputs]
    return bool(lie) and all(one is not None and one.study is not None for one in lie)


def _is_hidden(given: Conditions, input_names: bool | None) -> bool:
    """Whether names of inputs are not written."""
    return not input_names if input_names is not None else any(one.private for one in given.inputs)


def _format_of(given: Conditions) -> str:
    """Volumes come back as they came."""
    if not given.has_volumes:
        return "png"
    return "dicom" if _are_of_studies(given) else "nifti"


def _check(generator: Generator, n: int, run: saving.Run, given: Conditions) -> None:
    """Let everything that is wrong be said before the folder is touched."""
    generator.stream(n, given, seed=run.seed or 0, start=run.start, batch_size=run.batch_size)
    depth = max(one.depth or 1 for one in given.inputs) if given.has_volumes else None
    _check_output(run, generator.entry, depth)
    if n > MANY and run.shard is None and not formats.load(run.format).sharded:
        files = f"{n * (2 if generator.entry.output.masks else 1):,} files in one folder are slow to list and to copy"
        warnings.warn(f"{files}; --shard 1000 makes folders of it, --format webdataset packs them", stacklevel=3)


def _check_output(run: saving.Run, entry: Entry, depth: int | None = None) -> None:
    """Raises SavingError: what a model makes, of ``depth`` slices where inputs decide it, does not fit the files."""
    output = entry.output
    size = output.size or (0,) * (3 if output.type.startswith("volume") else 2)
    saving.check_layout(run, (output.channels, *(() if depth is None else (depth,)), *size), output.masks)


def _write(
    generator: Generator,
    writer: saving.Writer,
    n: int,
    given: Conditions,
    progress: Progress,
    stop: Callable[[], bool] | None,
    shown: int,
) -> tuple[list[Samples], int]:
    """Make and write what is missing; gives those of the first ``shown`` samples, and how many were made."""
    run, first, made = writer.run, [], 0
    ranges = writer.pending(n)
    before = n - sum(map(len, ranges))

    def show(step: tuple[int, int] | None = None) -> None:
        progress(before + made, n, step)

    show()
    generator.on_progress = lambda done, calls: show((done, calls))
    for samples in generator.stream(
        n, given, seed=run.seed or 0, start=run.start, batch_size=run.batch_size, among=ranges
    ):
        writer.put(samples)
        made += len(samples)
        show()
        if samples.indices[0] < run.start + shown:
            first.append(samples)
        if stop is not None and stop():
            break
    return first, made


def _sheet(generator: Generator, out: Path, n: int, run: saving.Run, first: list[Samples], given: Conditions) -> Path:
    """Write the contact sheet; samples of an earlier part of a resumed run are made again for it."""
    wanted = range(run.start, run.start + min(n, GRID_SAMPLES))
    if sum(map(len, first)) < len(wanted):
        first = list(generator.stream(n, given, seed=run.seed or 0, start=run.start, among=[wanted]))
    alike = [part for part in first if part.images.shape[1:] == first[0].images.shape[1:]]  # volumes may differ
    samples = Samples.concatenate(alike)[: len(wanted)]
    declared = generator.declared

    def made_from(i: int) -> NDArray[np.float32]:
        assert declared is not None
        one = given.input(int(samples.indices[i]) - run.start)
        image = one.read() if one.slices is None or one.depth is None else one.slices(range(one.depth)).swapaxes(0, 1)
        low, high = declared.range
        return (image - low) / (high - low)

    return sheet.write(out / GRID, samples, size=GRID_SIDE, inputs=made_from if given.inputs else None)


def _of_each_class(entry: Entry, stated: Any, n: int | None, per_class: int) -> tuple[Any, int]:
    """The classes that samples take in turn, and how many samples that makes."""
    declared = entry.condition
    if declared is None or not declared.classes or not conditions.kind_of(declared).labelled:
        raise ConditionError(
            f"{entry.model_id} takes no class, of which there could be {per_class} each; state the number with -n"
        )
    if n is not None:
        raise ConditionError(f"{per_class} of each class and {n} samples in all were asked for; state one of them")
    listed = declared.classes if stated is None else stated
    classes = [listed] if isinstance(listed, str | int) else list(listed)
    return classes, per_class * len(classes)


def _recorded_batch_size(out: Path) -> int | None:
    """Batch size of the run in a folder: the same batches give the same bytes."""
    size = (saving.recorded(out) or {}).get("batch_size")
    return size if isinstance(size, int) else None
