"""``medzoo train`` and ``medzoo export``: a generator from a folder of images, and its way into the registry."""

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
    from medzoo.training.trainer import Trainer

DATA = "Folder that holds the datasets.  [default: $MEDZOO_DATA]"
DEVICE = "cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]"


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help=DATA)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; goes on if it exists.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop at this step instead of where CONFIG says.")
@click.option("--device", help=DEVICE)
@click.option("--no-held-out", is_flag=True, help="Measure no held-out distances (then there is no best snapshot).")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def train(config: Path, data: Path | None, out: Path, steps: int | None, **options: Any) -> None:
    """Train the generator that CONFIG (a YAML file) describes, or go on with the run in --out.

    Ctrl-C saves and ends; the same command goes on from there.
    """
    from medzoo.training.config import load_config

    settings = load_config(config)  # before anything slow
    if steps is not None:
        settings = settings.model_copy(update={"steps": steps})
    from medzoo.datasets import load_dataset
    from medzoo.families._device import find
    from medzoo.training.heldout import HeldOut
    from medzoo.training.trainer import Trainer

    device = find(options["device"])
    images = load_dataset(settings.dataset, root=data, split="train", size=settings.size)
    held = None
    if not options["no_held_out"]:
        held = HeldOut(load_dataset(settings.dataset, root=data, split="val", size=settings.size), str(device))
    trainer = Trainer(settings, images, out, held, device)
    with _signals() as caught:
        started = time.monotonic()
        made = _run(trainer, caught, quiet=options["quiet"] or options["as_json"])
        seconds = time.monotonic() - started
    if caught and trainer.step < settings.steps:
        click.echo(
            f"Stopped: step {trainer.step} of {settings.steps} is saved in {out}. "
            "To go on, type the same command again.",
            err=True,
        )
        sys.exit(128 + caught[0])
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
    statistics are computed anew, and kept if the held-out KID gets smaller.
    """
    from medzoo.training.config import load_config

    settings = load_config(run / "config.yaml")
    from dataclasses import asdict

    from medzoo.datasets import load_dataset
    from medzoo.families._device import find
    from medzoo.training.export import export as write
    from medzoo.training.heldout import HeldOut

    device = find(options.pop("device"))
    held = HeldOut(load_dataset(settings.dataset, root=data, split="val", size=settings.size), str(device))
    done = write(run, held_out=held, device=device, **options)
    if as_json:
        click.echo(json.dumps({**asdict(done), "weights": str(done.weights), "entry": str(done.entry)}))
        return
    click.echo(f"{done.weights}: step {done.step}, {done.size / 1e6:.2f} MB, sha256 {done.sha256}")
    for name, scores in done.scores.items():
        mark = "  (exported)" if name == done.chosen else ""
        click.echo(f"  {name} statistics: held-out kid {scores['kid']:.4g}, fd {scores['fd']:.4g}{mark}")
    if done.drafted:
        click.echo(f"{done.entry}: drafted; complete it, then: python -m pytest tests/test_registry.py")
    else:
        click.echo(f"{done.entry}: was there and is left alone; state sha256 and size {done.size} under weights")


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
            "best": None if best is None else {"step": best.step, **best.scores},
        }  # fmt: skip
        click.echo(json.dumps(summary))
        return
    rate = f", {made} made in {seconds / 60:.1f} min ({made / seconds:.2f} steps/s)" if made else ", none left to make"
    click.echo(f"{out}: {trainer.step} steps{rate}")
    if best is not None:
        click.echo(f"best: step {best.step}, held-out kid {best.scores['kid']:.4g}, fd {best.scores['fd']:.4g}")
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
