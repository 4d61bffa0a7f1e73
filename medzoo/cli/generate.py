"""``medzoo generate``: samples of one model into a folder."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.entry import NOISES, SAMPLERS
from medzoo.samples import formats, layouts

if TYPE_CHECKING:
    from medzoo.zoo.into import Generated


@click.command()
@click.argument("model_id", metavar="ID|PATH")
@click.option(
    "-n",
    "--number",
    "n",
    type=click.IntRange(min=0),
    help="How many samples.  [default: 10, or one for each input image]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files.  [default: samples/MODEL_ID]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True,
    help="Other seeds give other samples; the same one gives the same again.",
)  # fmt: skip
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first sample.")
@click.option(
    "--condition",
    "--class",
    "conditions",
    multiple=True,
    metavar="WHAT",
    help="Class by name or index; a prompt; file or folder of input images; NAME=VALUE for one of several. "
    "Several classes are taken in turn.",
)
@click.option(
    "--per-class", type=click.IntRange(min=1), metavar="N",
    help="N samples of each class that --condition lists, or of all, instead of -n.",
)  # fmt: skip
@click.option(
    "--window", type=(float, float), metavar="LOW HIGH",
    help="Numbers of input image files that become black and white, such as Hounsfield units.  [default: the entry's]",
)  # fmt: skip
@click.option(
    "--axis", type=click.Choice(["axial", "coronal", "sagittal"]),
    help="Plane of the slices that an input volume is cut into; DICOM series are taken as acquired.  "
    "[default: the entry's, else axial]",
)  # fmt: skip
@click.option(
    "--slice", type=click.IntRange(min=0), help="One slice of each input volume, counted from 0.  [default: all]"
)
@click.option(
    "--input-names/--no-input-names", default=None,
    help="Whether outputs carry the names of input image files, which may be those of patients.  "
    "[default: all but those of DICOM and NIfTI files]",
)  # fmt: skip
@click.option("--family", help="Of a file of weights: the family to look for in it.  [default: all are tried]")
@click.option("--truncation", type=float, help="GANs that support it: below 1 trades variety for quality.")
@click.option("--steps", type=click.IntRange(min=1), help="Diffusion models: sampler steps.  [default: the entry's]")
@click.option("--sampler", type=click.Choice(SAMPLERS), help="Diffusion models.  [default: the entry's]")
@click.option("--guidance", type=click.FloatRange(min=0), help="Scale of classifier-free guidance; 1 for none.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    help="Diffusion models that begin with an image: how much noise it gets.",
)
@click.option("--noise", type=click.Choice(NOISES), help="StyleGAN: injected noise.  [default: the entry's]")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples at a time.  [default: what memory allows]")
@click.option(
    "--device", help="Where the model runs: cpu, cuda, cuda:1, mps.  [default: cuda if there is one, else cpu]"
)
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True,
    help="Numbers that the network computes with; those of 16 bits are for GPUs.",
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(formats.names()),
    help="Format of the files.  [default: png; of input volumes nifti or dicom, as they came]",
)  # fmt: skip
@click.option(
    "--masks", type=click.Choice(["capture", "seg"]), default="capture", show_default=True,
    help="Masks of DICOM: as pictures, or as segmentation objects, which viewers draw on the images.",
)  # fmt: skip
@click.option(
    "--keep-patient", is_flag=True,
    help="DICOM made from DICOM: stay in the study of the same patient.  [default: a synthetic patient for each]",
)  # fmt: skip
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits of a stored pixel.")
@click.option(
    "--layout", type=click.Choice(layouts.names()), default="flat", show_default=True,
    help="Folders and names of the files: all in one; images/ and masks/; a folder a class; as nnU-Net v2 or the "
    "library datasets of Hugging Face read them.",
)  # fmt: skip
@click.option(
    "--shard", type=click.IntRange(min=1), metavar="N",
    help="N samples a sub-folder, or a tar file of webdataset (at least).  [default: all in one; 256]",
)  # fmt: skip
@click.option("--grid", is_flag=True, help="Also write grid.png, a contact sheet of the first 100.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the run in the folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def generate(model_id: str, n: int | None, out: Path | None, **options: Any) -> None:
    """Generate samples of a model: images, masks if it makes any, and manifest.jsonl.

    It is an id (or a part of one), hf://organisation/repository, or the path of a training run, an entry, a published
    folder, a folder of diffusers or a file of weights.

    Sample i is the same whatever the number, batch size or start. Synthetic images, not for clinical use.
    """
    from medzoo.zoo.into import generate_into

    quiet, as_json = options.pop("quiet"), options.pop("as_json")
    with _ctrl_c() as stopped:
        done = generate_into(
            out,
            model_id,
            n,
            words=options.pop("conditions"),
            bits=8 if options.pop("bits") == "8" else 16,
            progress=not (quiet or as_json),
            stop=lambda: bool(stopped),
            **options,
        )
    if done.stopped:
        click.echo(
            f"Stopped: {done.whole} of {done.n} samples are whole in {done.folder}. "
            "To go on, type the same command with --resume (without --overwrite).",
            err=True,
        )
        sys.exit(130)
    _report(done, as_json)


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


def _report(done: Generated, as_json: bool) -> None:
    run, rate = done.run, done.made / done.seconds if done.seconds else 0.0
    if as_json:
        summary = {
            "folder": str(done.folder), "grid": str(done.grid) if done.grid else None, "model_id": run.model_id,
            "revision": run.revision, "seed": run.seed, "start": run.start, "samples": done.whole, "made": done.made,
            "seconds": round(done.seconds, 3), "images_per_second": round(rate, 2),
        }  # fmt: skip
        click.echo(json.dumps(summary))
        return
    samples = "sample" if done.whole == 1 else "samples"
    click.echo(
        f"{done.folder}: {done.whole} synthetic {samples} of {run.model_id}, {done.made} made in {done.seconds:.1f} s "
        f"({rate:.1f} images/s)"
    )
    if done.grid:
        click.echo(f"contact sheet: {done.grid}")
