"""``medzoo generate``: samples of one model into a folder."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medzoo.families._base import Generator
    from medzoo.samples import Samples
    from medzoo.samples.saving import Run, Writer

GRID, GRID_SAMPLES, GRID_SIDE = "grid.png", 100, 128
SAMPLING = ("truncation", "steps", "sampler", "guidance", "strength")
FORMATS = ("png", "npy", "npz", "dicom", "nifti", "webdataset")  # those of medzoo.samples.formats, which needs NumPy


@click.command()
@click.argument("model_id")
@click.option(
    "-n",
    "--number",
    "n",
    type=click.IntRange(min=0),
    help="How many samples.  [default: 10, or one for each input image]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files.  [default: samples/MODEL_ID]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first sample.")
@click.option(
    "--condition",
    "--class",
    "conditions",
    multiple=True,
    metavar="WHAT",
    help="Class by name or index; a prompt; file or folder of input images; NAME=VALUE for one of several. "
    "May be repeated.",
)
@click.option("--truncation", type=float, help="Of GANs that have it: below 1 for less variety.")
@click.option("--steps", type=click.IntRange(min=1), help="Of a diffusion model.  [default: as its entry says]")
@click.option("--sampler", type=click.Choice(["ddpm", "ddim", "dpm++", "heun"]), help="Of a diffusion model.")
@click.option("--guidance", type=click.FloatRange(min=0), help="Towards the condition; 1 for none.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    help="How much noise the image gets that a diffusion model begins with.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples at a time.  [default: what memory allows]")
@click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: cuda if there is one, else cpu]")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True
)
@click.option("--format", type=click.Choice(FORMATS), default="png", show_default=True)
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Of a stored pixel.")
@click.option("--grid", is_flag=True, help=f"Also write {GRID}, a sheet of the first {GRID_SAMPLES}.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the run in the folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def generate(model_id: str, n: int | None, out: Path | None, **options: Any) -> None:
    """Generate samples of MODEL_ID: images, masks if it makes any, and manifest.jsonl.

    Sample i is the same whatever the number, batch size or start. Synthetic images, not for clinical use.
    """
    from medzoo.samples import saving

    resume, overwrite = options["resume"], options["overwrite"]
    if out is not None:
        saving.check_folder(out, resume=resume, overwrite=overwrite)  # before anything slow
    from medzoo import zoo

    generator = zoo.load(
        model_id, override=_override(options), device=options["device"], precision=options["precision"]
    )
    out = out or Path("samples") / generator.entry.model_id
    options["condition"] = condition = _condition(generator, options["conditions"])
    n = n if n is not None else generator.count_inputs(condition) or 10
    batch_size = options["batch_size"] or (resume and _recorded_batch_size(out)) or generator.suggest_batch_size()
    run = saving.Run(
        model_id=generator.entry.model_id,
        revision=generator.entry.revision,
        weights_sha256=generator.weights_sha256,
        seed=options["seed"],
        start=options["start"],
        condition="; ".join(options["conditions"]) or None,
        precision=generator.precision,
        batch_size=batch_size,
        format=options["format"],
        bits=8 if options["bits"] == "8" else 16,
        spacing=generator.entry.output.spacing,
    )
    _check(generator, n, run, condition)
    began = time.perf_counter()
    with _ctrl_c() as stopped, saving.Writer(out, run, resume=resume, overwrite=overwrite) as writer:
        quiet = options["quiet"] or options["as_json"]
        head, made, left = _write(generator, writer, n, condition, quiet=quiet, stopped=stopped)
    seconds = time.perf_counter() - began
    if made < left:
        click.echo(
            f"Stopped: {writer.written} of {n} samples are whole in {out}. "
            "To go on, type the same command with --resume (without --overwrite).",
            err=True,
        )
        sys.exit(130)
    sheet = _sheet(generator, out, n, head, options) if options["grid"] and n else None
    _report(out, sheet, run, writer.written, made, seconds, options["as_json"])


def _override(options: dict[str, Any]) -> dict[str, Any]:
    """The options that change the entry's way of sampling, and so the model's revision."""
    stated = {name: options[name] for name in SAMPLING if options[name] is not None}
    return {"sampling": stated} if stated else {}


def _condition(generator: Generator, stated: tuple[str, ...]) -> Any:
    """The words of ``--condition`` -> what ``Generator.generate`` takes."""
    declared = generator.declared
    names = {*(declared.inputs or ()), *(one.name for one in declared.attributes or ())} if declared else set()
    if declared is not None and declared.kind == "text":
        return _with_text(stated, names)
    named: dict[str, Any] = {}
    plain: list[str] = []
    for word in stated:
        name, is_named, value = word.partition("=")
        if is_named and name in names:
            named[name] = _value(value)
        else:
            plain.append(word)
    numbers = {one.name for one in declared.attributes or ()} if declared else set()
    if named and plain and set(named) <= numbers:
        named["images"] = plain if len(plain) > 1 else plain[0]
        plain = []
    if named and plain:
        raise click.UsageError(f"--condition {plain[0]}: give every part a name: {', '.join(sorted(names))}")
    if declared is not None and declared.kind == "attributes" and plain:
        return [_value(word) for word in plain] if len(plain) > 1 else _value(plain[0])
    return named or (plain[0] if len(plain) == 1 else plain or None)


def _with_text(stated: tuple[str, ...], images: set[str]) -> Any:
    """Prompts, which may hold any sign, and NAME=FILE for an image beside them."""
    named: dict[str, str] = {}
    prompts: list[str] = []
    for word in stated:
        name, is_named, value = word.partition("=")
        if is_named and name in images:
            named[name] = value
        else:
            prompts.append(word.removeprefix("text="))
    prompt = prompts[0] if len(prompts) == 1 else prompts or None
    return {"text": prompt} | named if named else prompt


def _value(text: str) -> Any:
    """A number, several with commas between them, or the text itself: a file or a folder."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


def _recorded_batch_size(out: Path) -> int | None:
    """Batch size of the run in a folder: the same batches give the same bytes."""
    from medzoo.samples import saving

    size = (saving.recorded(out) or {}).get("batch_size")
    return size if isinstance(size, int) else None


def _check(generator: Generator, n: int, run: Run, condition: Any) -> None:
    """Let everything that is wrong be said before the folder is touched."""
    from medzoo.samples import saving

    generator.stream(n, condition, seed=run.seed or 0, start=run.start, batch_size=run.batch_size)
    output = generator.entry.output
    size = output.size or (0,) * (3 if output.type.startswith("volume") else 2)
    saving.check_format(run, (output.channels, *size), output.masks)


@contextmanager
def _ctrl_c() -> Iterator[list[bool]]:
    """The first Ctrl-C only makes the list non-empty, so that the batch under way is finished; the second stops."""
    stopped: list[bool] = []

    def note(signum: int, frame: object) -> None:
        stopped.append(True)
        signal.signal(signal.SIGINT, before)
        click.echo("\nStopping after this batch (Ctrl-C again: at once) ...", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _write(
    generator: Generator, writer: Writer, n: int, condition: Any, *, quiet: bool, stopped: list[bool]
) -> tuple[list[Samples], int, int]:
    """Make and write what is missing; gives the first samples, for the sheet, how many were made, and had to be."""
    from tqdm import tqdm

    run, head, made = writer.run, [], 0
    ranges = writer.pending(n)
    left = sum(map(len, ranges))
    # In a log file a bar line every ten seconds will do.
    pace = 0.1 if sys.stderr.isatty() else 10.0
    with tqdm(
        total=n, initial=n - left, unit="image", disable=quiet, mininterval=pace, miniters=0, dynamic_ncols=True
    ) as bar:

        def tell(done: int, calls: int) -> None:
            bar.set_postfix_str(f"step {done} of {calls}", refresh=False)
            bar.update(0)

        generator.on_progress = tell
        for samples in generator.stream(
            n, condition, seed=run.seed or 0, start=run.start, batch_size=run.batch_size, among=ranges
        ):
            writer.put(samples)
            made += len(samples)
            bar.update(len(samples))
            if samples.indices[0] < run.start + GRID_SAMPLES:
                head.append(samples)
            if stopped:
                break
    return head, made, left


def _sheet(generator: Generator, out: Path, n: int, head: list[Samples], options: dict[str, Any]) -> Path:
    """Write the contact sheet; samples of an earlier part of a resumed run are made again for it."""
    from medzoo.samples import Samples
    from medzoo.samples.saving import write_picture

    shown = min(n, GRID_SAMPLES)
    if sum(map(len, head)) >= shown:
        first = Samples.concatenate(head)[:shown]
    else:
        wanted = range(options["start"], options["start"] + shown)
        parts = generator.stream(n, options["condition"], seed=options["seed"], start=options["start"], among=[wanted])
        first = Samples.concatenate(list(parts))
    return write_picture(out / GRID, first, size=GRID_SIDE)


def _report(out: Path, sheet: Path | None, run: Any, n: int, made: int, seconds: float, as_json: bool) -> None:
    rate = made / seconds if seconds else 0.0
    if as_json:
        summary = {
            "folder": str(out), "grid": str(sheet) if sheet else None, "model_id": run.model_id,
            "revision": run.revision, "seed": run.seed, "start": run.start, "samples": n, "made": made,
            "seconds": round(seconds, 3), "images_per_second": round(rate, 2),
        }  # fmt: skip
        click.echo(json.dumps(summary))
        return
    click.echo(f"{out}: {n} synthetic samples of {run.model_id}, {made} made in {seconds:.1f} s ({rate:.1f} images/s)")
    if sheet:
        click.echo(f"contact sheet: {sheet}")
