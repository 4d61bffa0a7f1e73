"""Samples of a model into a folder: streamed, resumable byte for byte, with a contact sheet."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medzoo import conditions, zoo
from medzoo.arguments import hinted
from medzoo.entry import Entry
from medzoo.files.cache import in_paths
from medzoo.progress import Progress, shown
from medzoo.samples import Samples, saving
from medzoo.samples.folder import GRID
from medzoo.zoo import options

if TYPE_CHECKING:
    from medzoo.families._base import Generator
    from medzoo.samples.formats import Bits

GRID_SAMPLES, GRID_SIDE = 100, 128  # samples on the contact sheet, and pixels of their longer side at most


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
    model_id: str | int,
    n: int | None = None,
    condition: Any = None,
    *,
    words: tuple[str, ...] = (),
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
    format: str = "png",
    bits: Bits = 8,
    resume: bool = False,
    overwrite: bool = False,
    grid: bool = False,
    device: str | None = None,
    precision: str = "float32",
    window: tuple[float, float] | None = None,
    input_names: bool = True,
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
        model_id: as ``medzoo.generate`` takes it.
        n: how many; None for 10, or one for each input that ``condition`` lists.
        condition: what the model is conditioned on: one for all samples or one for each.
        words: the condition as ``--condition`` takes it, instead.
        start: index of the first sample.
        batch_size: samples at a time; None for that of the resumed run, or what memory allows.
        format: a name of ``medzoo.samples.formats``.
        bits: 8 or 16 a stored pixel.
        resume: go on with the run in the folder, or begin it.
        overwrite: replace the run in the folder.
        grid: also write a contact sheet of the first samples, ``grid.png``.
        device, precision: as ``medzoo.generate`` takes them.
        window: numbers of input image files that become black and white, in their units; None as the entry says.
        input_names: write the names of input image files into names of outputs, the manifest and the files; False
            writes ``input0``, ``input1``, ..., for files whose names may tell a patient's.
        truncation, steps, sampler, guidance, strength, noise: as ``medzoo.generate`` takes them.
        progress: as ``medzoo.generate`` takes it; a function is called after each batch, and by slow models within it.
        stop: asked after each batch whether to stop there.

    Raises SavingError (a folder in use, another run, a format that does not fit), or what ``medzoo.generate`` raises.
    """
    if folder is not None:
        saving.check_folder(folder, resume=resume, overwrite=overwrite)  # before anything slow
    override = options.overriding(
        truncation=truncation, noise=noise, steps=steps, sampler=sampler, guidance=guidance, strength=strength,
        window=window,
    )  # fmt: skip

    def check(family: type[Generator], entry: Entry) -> None:
        stated = conditions.from_words(entry.condition, words) if words else condition
        family.check_request(entry, n, stated, seed=seed, start=start, batch_size=batch_size)

    generator = zoo.load_checked(model_id, check, override=override, device=device, precision=precision)
    generator.input_names = input_names
    out = Path("samples") / in_paths(generator.name) if folder is None else Path(folder)
    if words:
        condition = conditions.from_words(generator.declared, words)
    n = generator.check_request(generator.entry, n, condition, seed=seed, start=start, batch_size=batch_size)
    inputs = generator.inputs_sha256(condition)
    stated_words = [_last_name(word) for word in words] if inputs is not None else words
    described = "; ".join(stated_words) if words else _described(condition, files=inputs is not None)
    run = saving.Run(
        model_id=generator.name,
        revision=generator.entry.revision,
        weights_sha256=generator.weights_sha256,
        seed=seed,
        start=start,
        condition=_nameless(described) if not input_names and described else described,
        precision=generator.precision,
        batch_size=batch_size or (resume and _recorded_batch_size(out)) or generator.suggest_batch_size(),
        format=format,
        bits=bits,
        spacing=generator.entry.output.spacing,
        inputs_sha256=inputs,
    )
    _check(generator, n, run, condition)
    began = time.perf_counter()
    with saving.Writer(out, run, resume=resume, overwrite=overwrite) as writer, shown(progress) as show:
        first, made = _write(generator, writer, n, condition, show, stop)
    seconds = time.perf_counter() - began
    sheet = _sheet(generator, out, n, run, first, condition) if grid and n and writer.written >= n else None
    return Generated(out, sheet, run, n, writer.written, made, seconds)


def _check(generator: Generator, n: int, run: saving.Run, condition: Any) -> None:
    """Let everything that is wrong be said before the folder is touched."""
    generator.stream(n, condition, seed=run.seed or 0, start=run.start, batch_size=run.batch_size)
    output = generator.entry.output
    size = output.size or (0,) * (3 if output.type.startswith("volume") else 2)
    saving.check_format(run, (output.channels, *size), output.masks)


def _write(
    generator: Generator,
    writer: saving.Writer,
    n: int,
    condition: Any,
    progress: Progress,
    stop: Callable[[], bool] | None,
) -> tuple[list[Samples], int]:
    """Make and write what is missing; gives the first samples among them, for the sheet, and how many were made."""
    run, first, made = writer.run, [], 0
    ranges = writer.pending(n)
    before = n - sum(map(len, ranges))

    def show(step: tuple[int, int] | None = None) -> None:
        progress(before + made, n, step)

    show()
    generator.on_progress = lambda done, calls: show((done, calls))
    for samples in generator.stream(
        n, condition, seed=run.seed or 0, start=run.start, batch_size=run.batch_size, among=ranges
    ):
        writer.put(samples)
        made += len(samples)
        show()
        if samples.indices[0] < run.start + GRID_SAMPLES:
            first.append(samples)
        if stop is not None and stop():
            break
    return first, made


def _sheet(generator: Generator, out: Path, n: int, run: saving.Run, first: list[Samples], condition: Any) -> Path:
    """Write the contact sheet; samples of an earlier part of a resumed run are made again for it."""
    shown = min(n, GRID_SAMPLES)
    if sum(map(len, first)) < shown:
        wanted = range(run.start, run.start + shown)
        first = list(generator.stream(n, condition, seed=run.seed or 0, start=run.start, among=[wanted]))
    return saving.write_picture(out / GRID, Samples.concatenate(first)[:shown], size=GRID_SIDE)


def _recorded_batch_size(out: Path) -> int | None:
    """Batch size of the run in a folder: the same batches give the same bytes."""
    size = (saving.recorded(out) or {}).get("batch_size")
    return size if isinstance(size, int) else None


def _nameless(described: str) -> str:
    """A condition told apart from others by a hash, which shows no names."""
    return f"sha256:{hashlib.sha256(described.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _described(condition: Any, *, files: bool = False) -> str | None:
    """A condition in words, different for different ones: a run is only resumed with the same.

    Args:
        files: it names files or folders, of which the last name is enough: their contents are hashed, and the folders
            above may tell whose they are.
    """
    if condition is None:
        return None
    if isinstance(condition, str | Path | int | float):
        text = _last_name(str(condition)) if files and isinstance(condition, str | Path) else str(condition)
    elif isinstance(condition, Mapping):
        text = "; ".join(f"{name}={_described(value, files=files)}" for name, value in condition.items())
    elif isinstance(condition, list | tuple):
        text = "; ".join(str(_described(value, files=files)) for value in condition)
    else:  # an array, a tensor, a picture, Samples
        held = condition.images if isinstance(condition, Samples) else condition
        array = np.ascontiguousarray(held.detach().cpu() if hasattr(held, "detach") else held)
        return f"array {list(array.shape)} sha256:{hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    if len(text) <= 1000:
        return text
    return f"{text[:100]}... sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def _last_name(stated: str) -> str:
    """``left=/home/a/b.png`` -> ``left=b.png``."""
    start, is_named, path = stated.partition("=")
    if not is_named or set(start) & {"/", os.sep}:
        start, path = "", stated
    return (f"{start}=" if start else "") + os.path.basename(os.path.abspath(os.path.expanduser(path)))
