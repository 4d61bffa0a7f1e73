"""``medzoo train`` and ``medzoo export``: a generator from a folder of images, and its way into the registry."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import suppress
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
LOGGERS = ", ".join(name for name in plugins.builtin("medzoo.training.loggers") if name != "page")
# Options that describe a run without CONFIG, and how they are typed.
INSTEAD = {
    "family": "--family", "size": "--size", "channels": "--channels", "window": "--window",
    "techniques": "--technique", "start": "--from",
    "classes": "--classes", "batch": "--batch", "seed": "--seed", "patience": "--patience", "mirror": "--mirror",
    "precision": "--precision", "lr": "--lr", "ema": "--ema", "fields": "--set", "preset": "--preset",
}  # fmt: skip


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help=IMAGES)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; goes on if it exists.")
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
@click.option("--batch", type=click.IntRange(min=2), help="With --family: how many images one update sees.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="With --family: seed of everything random.")
@click.option(
    "--patience", type=click.IntRange(min=1), metavar="N",
    help="With --family: stop after N held-out measurements without a better snapshot.  [default: never]",
)  # fmt: skip
@click.option("--mirror", is_flag=True, help="With --family: flip every other real image left to right.")
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16", "float16"]),
    help="With --family: numbers that networks compute with; float16 is for GPUs.  [default: float32]",
)  # fmt: skip
@click.option("--lr", type=float, help="With --family: learning rate.")
@click.option("--ema", type=float, help="With --family: decay of the averaged generator.")
@click.option(
    "--set", "fields", multiple=True, metavar="FIELD=VALUE",
    help="With --family: any other field of the configuration, such as critic.ndf=32 or held.every=500.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(["auto", "tiny", "small", "full"]),
    help="With --family: how large and long a run is, where nothing is stated: an hour, a night on a CPU, or all. "
    "[default: auto, which is small on a CPU, else full]",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), help="Stop here, not where CONFIG or the preset says.")
@click.option("--dry-run", is_flag=True, help="Train nothing; print the configuration, which CONFIG may be.")
@click.option("--device", help=DEVICE)
@click.option("--no-held-out", is_flag=True, help="Measure no held-out distances (then there is no best snapshot).")
@click.option(
    "--logger", "loggers", multiple=True, metavar="NAME", help=f"Beside --out/index.html, show the run in {LOGGERS}."
)
@click.option("--quiet", is_flag=True, help="No progress bar, and nothing of what the run is going to take.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def train(config: Path | None, data: Path | None, out: Path | None, **options: Any) -> None:
    """Train a generator, or go on with the run in --out.

    CONFIG (a YAML file) describes it; or --family, with --data DIR --size PIXELS, for the images in a folder. Open
    --out/index.html to watch. Ctrl-C saves and ends; the same command goes on from there.
    """
    settings = {name: value for name in INSTEAD if (value := options.pop(name))}
    if config and settings:
        raise click.UsageError(f"{INSTEAD[next(iter(settings))]} is for a run without CONFIG; state it in {config}")
    if config is None and (data is None or not {"family", "size"} <= settings.keys()):
        raise click.UsageError("give CONFIG (a YAML file), or --family, --data and --size")
    if "techniques" in settings:
        settings["techniques"] = [_technique(text) for text in settings["techniques"]]
    settings = _with_fields(settings, settings.pop("fields", ()))
    if options.pop("dry_run"):
        _print_configuration(config, data, options, settings)
        return
    if out is None:
        raise click.UsageError("give --out, the folder of the run (or --dry-run, to see its configuration)")
    _train(config, data, out, options, settings)


def _print_configuration(config: Path | None, data: Path | None, options: Any, settings: dict[str, Any]) -> None:
    from medzoo import device
    from medzoo.training.config import dump_config
    from medzoo.training.launch import plan

    place = device.find(options["device"])
    job = plan(config, data, options["steps"], settings, settings.pop("preset", "auto"), place)
    click.echo("\n".join(job.remarks(place)), err=True)
    click.echo(dump_config(job.config), nl=False)


def _train(config: Path | None, data: Path | None, out: Path, options: Any, settings: dict[str, Any]) -> None:
    from medzoo import training
    from medzoo.training import parallel

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
@click.option(
    "--checkpoint", type=click.Choice(["best", "latest"]), default="best", show_default=True,
    help="Which snapshot of the run is exported.",
)  # fmt: skip
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


def _with_fields(settings: dict[str, Any], stated: tuple[str, ...]) -> dict[str, Any]:
    """Add ``critic.ndf=32`` as {critic: {ndf: 32}}."""
    for text in stated:
        key, equals, value = text.partition("=")
        *path, last = key.strip().split(".")
        place: Any = settings
        for name in path:
            place = place.setdefault(name, {}) if isinstance(place, dict) else None
        try:
            if not (equals and last and isinstance(place, dict)):
                raise ValueError
            place[last] = _value(value)
        except ValueError:
            raise click.BadParameter(
                f"'{text}': expected FIELD=VALUE, such as critic.ndf=32", param_hint="--set"
            ) from None
    return settings


def _value(text: str) -> Any:
    """A value as YAML has it, and numbers as people type them (1e-4 is text in YAML). Raises ValueError."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise ValueError(text) from None
    with suppress(TypeError, ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _technique(text: str) -> dict[str, Any]:
    """``r1:gamma=10,every=16`` -> {name: r1, gamma: 10, every: 16}."""
    name, _, options = text.partition(":")
    technique: dict[str, Any] = {"name": name}
    for option in filter(None, re.split(r",(?![^\[]*\])", options)):
        key, equals, value = option.partition("=")
        try:
            technique[key.strip()] = _value(value)
        except ValueError:
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
    typed = shlex.quote(str(run.folder))
    click.echo(f"curves and pictures: {run.folder / 'index.html'}")
    click.echo(f"next: medzoo generate {typed} -n 100 --out samples --grid")
    click.echo(f"      medzoo publish {typed} --repo YOU/MODEL --dry-run")
