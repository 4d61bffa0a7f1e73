"""``medzoo train``: a generator from a folder of images."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder with the datasets; default $MEDZOO_DATA.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run; it resumes if it exists.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop here instead of where the configuration says.")
@click.option("--no-held-out", is_flag=True, help="Do not measure held-out distances (then no best snapshot is kept).")
def train(config: Path, data: Path | None, out: Path, steps: int | None, no_held_out: bool) -> None:
    """Train the generator that CONFIG (a YAML file) describes, or go on with it."""
    from tqdm import tqdm

    from medzoo.datasets import load_dataset
    from medzoo.training.config import load_config
    from medzoo.training.heldout import HeldOut
    from medzoo.training.trainer import Trainer

    settings = load_config(config)
    if steps is not None:
        settings = settings.model_copy(update={"steps": steps})
    images = load_dataset(settings.dataset, root=data, split="train", size=settings.size)
    held = None
    if not no_held_out:
        held = HeldOut(load_dataset(settings.dataset, root=data, split="val", size=settings.size))
    trainer = Trainer(settings, images, out, held)
    started = time.monotonic()
    with tqdm(total=settings.steps, unit="step", smoothing=0.05) as bar:

        def report(step: int, logs: dict[str, float]) -> None:
            bar.update(step - bar.n)
            bar.set_postfix({name: f"{value:.3f}" for name, value in logs.items()}, refresh=False)

        trainer.run(report)
    click.echo(f"{out}: {settings.steps} steps in {(time.monotonic() - started) / 60:.1f} min; samples in {out / 'samples'}")
