"""``medzoo train`` and ``medzoo export``: a generator from a folder of images, and its way into the registry."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import torch

    from medzoo.datasets import Images
    from medzoo.training.config import TrainConfig
    from medzoo.training.trainer import Trainer

DATA = "Folder that holds the datasets.  [default: $MEDZOO_DATA]"
IMAGES = f"{DATA} With --family: the images themselves."
DEVICE = "cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]"
TECHNIQUE = "Against over-fitting, as NAME or NAME:OPTION=VALUE,...; several are used in their order."
STEPS = 20_000  # of a run without a configuration
RECIPES = Path(__file__).parents[1] / "training" / "recipes"
FAMILIES = ", ".join(sorted(one.stem for one in RECIPES.glob("[!_]*.py")))  # read from there without importing torch


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help=IMAGES)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; goes on if it exists.")
@click.option("--family", help=f"In place of CONFIG: {FAMILIES}.")
@click.option("--size", type=click.IntRange(min=1), help="With --family: height and width in pixels.")
@click.option("--channels", type=click.Choice(["RGB", "L"]), help="With --family: make all pictures colour, or grey.")
@click.option("--technique", "techniques", multiple=True, metavar="NAME", help=f"With --family: {TECHNIQUE}")
@click.option(
    "--from", "start", metavar="MODEL", help="With --family: fine-tune a model of the zoo, or a run's folder."
)
@click.option("--classes", is_flag=True, help="With --family: learn the classes of the images.")
@click.option("--batch", type=click.IntRange(min=2), help="With --family: images of one update.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="With --family: of everything random.")
@click.option("--patience", type=click.IntRange(min=1), help="With --family: measurements without a better snapshot.")
@click.option("--steps", type=click.IntRange(min=1), help=f"Stop here, not where CONFIG says.  [--family: {STEPS}]")
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
    from medzoo.training import parallel

    try:
        with parallel.joined(options.pop("device")) as device:
            _train(config, data, out, device, **options)
    except parallel.Told:  # the first process has said it
        sys.exit(2)


def _train(config: Path | None, data: Path | None, out: Path, device: torch.device, **options: Any) -> None:
    from medzoo.training import parallel
    from medzoo.training.board import Board
    from medzoo.training.heldout import HeldOut
    from medzoo.training.trainer import Trainer

    board = parallel.first(lambda: Board(out)) if options["tensorboard"] else None  # before anything slow
    settings, images, held = parallel.in_turn(
        lambda: _described(config, data, **options) if config else _from_folder(data, **options)
    )
    measure = None if options["no_held_out"] else parallel.first(lambda: HeldOut(held, str(device), images))
    trainer = Trainer(settings, images, out, measure, device, board)
    quiet = options["quiet"] or options["as_json"] or parallel.rank() > 0
    if not quiet:
        click.echo(f"{settings.source}: {len(images)} images to learn, {len(held)} held out", err=True)
    with _signals() as caught:
        started = time.monotonic()
        made = _run(trainer, caught, quiet=quiet)
        seconds = time.monotonic() - started
    if parallel.rank():
        return
    if trainer.step < settings.steps and trainer.stopped is None:  # caught here, or by another process
        click.echo(
            f"Stopped: step {trainer.step} of {settings.steps} is saved in {out}. "
            "To go on, type the same command again.",
            err=True,
        )
        sys.exit(128 + (caught or [signal.SIGINT])[0])
    _report(trainer, out, made, seconds, options["as_json"])


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
    from medzoo.training.config import load_config

    settings = load_config(run / "config.yaml")
    from dataclasses import asdict

    from medzoo.device import find
    from medzoo.training import data as reading
    from medzoo.training.export import export as write
    from medzoo.training.heldout import HeldOut

    device = find(options.pop("device"))
    images, held = reading.load(settings, data)
    about = reading.about(settings, images)
    done = write(run, held_out=HeldOut(held, str(device), images), about=about, device=device, **options)
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


def _described(
    config: Path, data: Path | None, steps: int | None, **options: Any
) -> tuple[TrainConfig, Images, Images]:
    """What a YAML file says, the images to learn and those held out."""
    from medzoo.training.config import load_config

    instead = {
        "family": "--family", "size": "--size", "channels": "--channels", "techniques": "--technique",
        "start": "--from", "classes": "--classes", "batch": "--batch", "seed": "--seed", "patience": "--patience",
    }  # fmt: skip
    if given := [shown for name, shown in instead.items() if options[name]]:
        raise click.UsageError(f"{given[0]} is for a run without CONFIG; state it in {config}")
    settings = load_config(config)  # before anything slow
    if steps is not None:
        settings = settings.model_copy(update={"steps": steps})
    from medzoo.training.data import load

    return settings, *load(settings, data)


def _from_folder(data: Path | None, **options: Any) -> tuple[TrainConfig, Images, Images]:
    """What options say of the images at a path; masks are learned where there are any."""
    family, size, start = options["family"], options["size"], options["start"]
    if family is None or size is None or data is None:
        raise click.UsageError("give CONFIG (a YAML file), or --family, --data and --size")
    from medzoo.training import parallel
    from medzoo.training.config import settings_of
    from medzoo.training.data import load

    fields = {
        "family": family, "folder": str(data.resolve()), "size": size, "masks": False, "classes": options["classes"],
        "techniques": [_technique(one) for one in options["techniques"]], "steps": options["steps"] or STEPS,
        "start": str(Path(start).resolve()) if start and Path(start).is_dir() else start,
        "channels": options["channels"], "seed": options["seed"], "held": {"patience": options["patience"]},
    }  # fmt: skip
    if options["batch"] is not None:
        fields["batch"] = options["batch"]
    settings = settings_of(fields)  # before anything slow
    images, held = load(settings)
    few = min(settings.batch, len(images))
    fields["batch"] = options["batch"] or few - few % parallel.world()
    return settings_of(fields | {"masks": images.masks is not None}), images, held


def _technique(text: str) -> dict[str, Any]:
    """``r1:gamma=10,every=16`` -> {name: r1, gamma: 10, every: 16}."""
    import yaml

    name, _, options = text.partition(":")
    found: dict[str, Any] = {"name": name}
    for one in filter(None, re.split(r",(?![^\[]*\])", options)):
        key, equals, value = one.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            raise click.BadParameter(
                f"'{text}': expected NAME:OPTION=VALUE, such as r1:gamma=10", param_hint="--technique"
            )
    return found


def _run(trainer: Trainer, caught: list[int], *, quiet: bool) -> int:
    """Train under a progress bar; the number of steps made."""
    from tqdm import tqdm

    # In a log file a bar line every half minute will do.
    pace = 0.5 if sys.stderr.isatty() else 30.0
    total, made = trainer.config.steps, 0
    with tqdm(total=total, unit="step", disable=quiet, mininterval=pace, smoothing=0.05, dynamic_ncols=True) as bar:

        def report(step: int, losses: dict[str, float]) -> None:
            nonlocal made
            made += 1
            if made == 1:  # rate and time left count this session's steps, without those made before
                bar.initial = bar.n = bar.last_print_n = step - 1
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
            bar.update()

        trainer.run(report, lambda: caught)
    return made


def _report(trainer: Trainer, out: Path, made: int, seconds: float, as_json: bool) -> None:
    best = trainer.best
    if as_json:
        summary = {
            "folder": str(out), "step": trainer.step, "made": made, "seconds": round(seconds, 3),
            "steps_per_second": round(made / seconds, 3) if made else None,
            "best": None if best is None else {"step": best.step, **best.scores}, "stopped": trainer.stopped,
        }  # fmt: skip
        click.echo(json.dumps(summary))
        return
    rate = f", {made} made in {seconds / 60:.1f} min ({made / seconds:.2f} steps/s)" if made else ", none left to make"
    click.echo(f"{out}: {trainer.step} steps{rate}")
    if best is not None:
        click.echo(f"best: step {best.step}, held-out kid {best.scores['kid']:.4g}, fd {best.scores['fd']:.4g}")
    if trainer.stopped is not None:
        click.echo(f"ended early: {trainer.stopped}")
    click.echo(f"pictures: {out / 'samples'}")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) only fills the list, so that the step under way is finished; the second ends."""
    caught: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM)

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        restore()
        click.echo("\nSaving after this step (again: end at once) ...", err=True)

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.getsignal(one) for one in watched}
    for one in watched:
        signal.signal(one, note)
    try:
        yield caught
    finally:
        restore()
