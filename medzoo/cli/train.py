"""``medzoo train`` and ``medzoo export``: a generator from a folder of images, and its way into the registry."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from medzoo import plugins

if TYPE_CHECKING:
    from medzoo.training import Run, Stopped

DATA = "Folder that holds the datasets.  [default: $MEDZOO_DATA]"
IMAGES = f"{DATA} With --family: the images themselves."
DEVICE = "cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]"
TECHNIQUE = "Against over-fitting, as NAME or NAME:OPTION=VALUE,...; several are used in their order."
FAMILIES = ", ".join(plugins.builtin("medzoo.training.recipes"))  # without importing torch
# Options that describe a run without CONFIG, and how they are typed.
INSTEAD = {
    "family": "--family", "size": "--size", "channels": "--channels", "window": "--window",
    "techniques": "--technique", "start": "--from",
    "classes": "--classes", "batch": "--batch", "seed": "--seed", "patience": "--patience",
}  # fmt: skip


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help=IMAGES)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; goes on if it exists.")
@click.option("--family", help=f"In place of CONFIG: {FAMILIES}.")
@click.option("--size", type=click.IntRange(min=1), help="With --family: height and width in pixels.")
@click.option("--channels", type=click.Choice(["RGB", "L"]), help="With --family: make all pictures colour, or grey.")
@click.option(
    "--window", type=(float, float), metavar="LOW HIGH",
    help="With --family: numbers that become black and white, of images of more than 8 bits.",
)  # fmt: skip
@click.option("--technique", "techniques", multiple=True, metavar="NAME", help=f"With --family: {TECHNIQUE}")
@click.option(
    "--from", "start", metavar="MODEL", help="With --family: fine-tune a model of the zoo, or a run's folder."
)
@click.option("--classes", is_flag=True, help="With --family: learn the classes of the images.")
@click.option("--batch", type=click.IntRange(min=2), help="With --family: images of one update.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="With --family: of everything random.")
@click.option("--patience", type=click.IntRange(min=1), help="With --family: measurements without a better snapshot.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop here, not where CONFIG says.  [--family: 20000]")
@click.option("--device", help=DEVICE)
@click.option("--no-held-out", is_flag=True, help="Measure no held-out distances (then there is no best snapshot).")
@click.option("--tensorboard", is_flag=True, help="Write numbers and pictures to --out/tensorboard as well.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def train(config: Path | None, data: Path | None, out: Path, **options: Any) -> None:
    """Train a generator, or go on with the run in --out.

    CONFIG (a YAML file) describes it; or --family, with --data DIR --size PIXELS, for the images in a folder. Ctrl-C
    saves and ends; the same command goes on from there.
    """
    from medzoo import training
    from medzoo.training import parallel

    settings = {name: value for name in INSTEAD if (value := options.pop(name))}
    if config and settings:
        raise click.UsageError(f"{INSTEAD[next(iter(settings))]} is for a run without CONFIG; state it in {config}")
    if config is None and (data is None or not {"family", "size"} <= settings.keys()):
        raise click.UsageError("give CONFIG (a YAML file), or --family, --data and --size")
    if "techniques" in settings:
        settings["techniques"] = [_technique(text) for text in settings["techniques"]]
    as_json = options.pop("as_json")
    options |= {"held_out": not options.pop("no_held_out"), "quiet": options.pop("quiet") or as_json}
    try:
        with parallel.joined(options.pop("device")) as device:
            try:
                run = training.train(config, data, out, device=str(device), **options, **settings)
            except training.Stopped as stopped:
                run = stopped.run
                if not run.finished and parallel.rank() == 0:
                    _stop(stopped)
            if parallel.rank() == 0:
                _report(run, as_json)
    except parallel.AlreadyReported:
        sys.exit(2)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--model-id", required=True, help="Id of the entry: five digits, then FAMILY_CONTENT.")
@click.option(
    "--registry", type=click.Path(path_type=Path), default=Path("registry"), show_default=True, help="Registry folder."
)
@click.option("--checkpoint", type=click.Choice(["best", "latest"]), default="best", show_default=True)
@click.option("--half", is_flag=True, help="Store the weights as float16 (vectors stay float32).")
@click.option("--data", type=click.Path(path_type=Path), help=DATA)
@click.option("--device", help=DEVICE)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def export(run: Path, data: Path | None, as_json: bool, **options: Any) -> None:
    """Make a model of the registry from a training run in folder RUN.

    Writes weights/ID.safetensors, training/ID/ and, where there is none, a draft of models/ID.yaml. Batch-norm
    statistics, if any, are computed anew, and kept if the held-out KID gets smaller.
    """
    from dataclasses import asdict

    from medzoo.training import export_run

    done = export_run(run, data=data, **options)
    if as_json:
        click.echo(json.dumps({**asdict(done), "weights": str(done.weights), "entry": str(done.entry)}))
        return
    click.echo(f"{done.weights}: step {done.step}, {done.size / 1e6:.2f} MB, sha256 {done.sha256}")
    for name, scores in done.scores.items():
        mark = "  (exported)" if name == done.chosen else ""
        click.echo(f"  {name} statistics: held-out kid {scores['kid']:.4g}, fd {scores['fd']:.4g}{mark}")
    if done.drafted:
        click.echo(f"{done.entry}: drafted; complete it, then: python -m pytest tests/catalog/test_registry.py")
    else:
        click.echo(f"{done.entry}: was there and is left alone; state sha256 and size {done.size} under weights")


def _technique(text: str) -> dict[str, Any]:
    """``r1:gamma=10,every=16`` -> {name: r1, gamma: 10, every: 16}."""
    import yaml

    name, _, options = text.partition(":")
    technique: dict[str, Any] = {"name": name}
    for option in filter(None, re.split(r",(?![^\[]*\])", options)):
        key, equals, value = option.partition("=")
        try:
            technique[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise click.BadParameter(
                f"'{text}': expected NAME:OPTION=VALUE, such as r1:gamma=10", param_hint="--technique"
            )
    return technique


def _stop(stopped: Stopped) -> NoReturn:
    """Say what was saved, and end as a process does that the signal ended."""
    run = stopped.run
    click.echo(
        f"Stopped: step {run.step} of {run.steps} is saved in {run.folder}. To go on, type the same command again.",
        err=True,
    )
    sys.exit(128 + stopped.signum)


def _report(run: Run, as_json: bool) -> None:
    best, stopped = run.best, run.stopped
    if as_json:
        summary = {
            "folder": str(run.folder), "step": run.step, "made": run.made, "seconds": round(run.seconds, 3),
            "steps_per_second": round(run.made / run.seconds, 3) if run.made else None,
            "best": None if best is None else {"step": best.step, **best.scores}, "stopped": stopped,
        }  # fmt: skip
        click.echo(json.dumps(summary))
        return
    rate = f", {run.made} made in {run.seconds / 60:.1f} min ({run.made / run.seconds:.2f} steps/s)"
    click.echo(f"{run.folder}: {run.step} steps{rate if run.made else ', none left to make'}")
    if best is not None:
        click.echo(f"best: step {best.step}, held-out kid {best.scores['kid']:.4g}, fd {best.scores['fd']:.4g}")
    if stopped is not None:
        click.echo(f"ended early: {stopped}")
    click.echo(f"pictures: {run.folder / 'samples'}")
