"""Held-out distances of one small generator trained on 100, 500 and all images, by technique against over-fitting.

    python benchmarks/limited_data.py --data DIR --out runs/limited [--seeds 3] [--jobs 2] [--json]
    python benchmarks/limited_data.py --data DIR --out runs/limited_more --form more-steps
    python benchmarks/limited_data.py --data DIR --out runs/limited_long --form long --device cuda --jobs 4
    python benchmarks/limited_data_page.py runs/limited/results.json runs/limited_more/results.json

The second line is 100 images for four times as long, the third the form for a GPU; the last puts tables and plot into
``docs/``. Every cell (seed, images, technique) is a run of ``medzoo.training`` in a folder of its own, made by any
process that is free, one thread each. The same command goes on after Ctrl-C or a kill: what is finished stays, what is
under way goes on from its last measurement; ``--collect`` writes the results of what is finished by now. Choices and
results: ``docs/limited_data.md``.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import filelock
import limited_data_page
import torch

from medzoo import __version__
from medzoo.bench.records import processor
from medzoo.datasets import Images, content_sha256, load_dataset
from medzoo.device import find
from medzoo.errors import MedzooError
from medzoo.files.whole import write_bytes
from medzoo.metrics.near_copies import small_pixels
from medzoo.training.config import TrainConfig, settings_of
from medzoo.training.heldout import HeldOut
from medzoo.training.selection import best
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer

ADAPTIVE = ("ada", "apa")
PAUSE = 60.0  # seconds between two lines of progress, unless a cell is finished


@dataclass(frozen=True)
class Cell:
    """One run."""

    seed: int
    images: int
    technique: str

    @property
    def name(self) -> str:
        return f"seed{self.seed}/{self.images:05d}-{self.technique}"


@dataclass(frozen=True)
class Study:
    """What is the same in every cell, and what differs.

    Attributes:
        dataset: of the registry; its split ``train`` is learned, ``val`` held out.
        size: height and width in pixels.
        images: how many are learned, null for all; those of a seed are nested, so that more means more of the same.
        techniques: ``none``, or the name of a technique, which is used with its published options.
        width: ``ngf`` and ``ndf``, of generator and discriminator.
        ema: decay of the averaged generator, which is what gets measured.
        every: steps between two measurements.
        samples: generated images of each.
    """

    dataset: str = "cxr_pneumoniamnist_28"
    size: int = 28
    images: tuple[int | None, ...] = (100, 500, None)
    techniques: tuple[str, ...] = ("none", "diffaugment", "ada", "apa", "bcr")
    width: int = 16
    steps: int = 3000
    batch: int = 32
    ema: float = 0.995
    every: int = 750
    samples: int = 256

    @property
    def kimg(self) -> float:
        """Of ADA and APA: thousands of images in which p rises from 0 to 1, here those of half a run."""
        return self.steps * self.batch / 2000

    def cells(self, seeds: int, available: int) -> list[Cell]:
        """All runs, seed by seed, of a data set with so many training images. Raises MedzooError if it is too small."""
        counts = [n or available for n in self.images]
        if max(counts) > available or len(set(counts)) < len(counts):
            most = max(n for n in self.images if n)
            raise MedzooError(f"{self.dataset} has {available} training images; the study needs more than {most}")
        return [Cell(seed, n, name) for seed in range(seeds) for n in counts for name in self.techniques]

    def config(self, cell: Cell) -> TrainConfig:
        technique = {"name": cell.technique} | ({"kimg": self.kimg} if cell.technique in ADAPTIVE else {})
        return settings_of(
            {
                "family": "dcgan", "dataset": self.dataset, "size": self.size, "masks": False,
                "config": {"ngf": self.width}, "critic": {"ndf": self.width},
                "techniques": [] if cell.technique == "none" else [technique],
                "steps": self.steps, "batch": self.batch, "ema": self.ema, "seed": cell.seed,
                "snapshot": self.every, "held": {"every": self.every, "samples": self.samples},
            }
        )  # fmt: skip


SHORT = Study()
FORMS = {
    "short": SHORT,
    "more-steps": replace(SHORT, images=(100,), techniques=("none", "diffaugment", "ada"), steps=12_000, every=1500),
    "long": replace(SHORT, width=64, steps=20_000, batch=64, ema=0.999, every=1000, samples=1024),
}
SEEDS = {"short": 2, "more-steps": 1, "long": 5}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    study = FORMS[options.form]
    changed = {name: value for name in ("dataset", "size") if (value := getattr(options, name)) is not None}
    try:
        return run(replace(study, **changed), options)
    except MedzooError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; to go on, type the same command again.", file=sys.stderr)
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: $MEDZOO_DATA)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; goes on if it exists")
    forms = "short; more-steps: 100 images for longer; long: wider networks, more steps, for a GPU"
    parser.add_argument("--form", choices=FORMS, default="short", help=forms)
    parser.add_argument("--seeds", type=int, help=f"how many (default: {', '.join(map(str, SEEDS.values()))} by form)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dataset", help=f"of the registry, with a split val (default: {SHORT.dataset})")
    parser.add_argument("--size", type=int, help=f"pixels (default: {SHORT.size})")
    parser.add_argument("--collect", action="store_true", help="train nothing: results of what is finished by now")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args(arguments)


def run(study: Study, options: argparse.Namespace) -> int:
    """Make every cell that is not there yet; write ``results.json``, ``table.md`` and ``plot.svg`` of those there are.

    Raises:
        MedzooError: the data are not there, the folder holds another study, or cells are still missing.
    """
    folder, device = options.out, str(find(options.device))
    train, held = (
        load_dataset(study.dataset, root=options.data, split=name, size=study.size) for name in ("train", "val")
    )
    cells = study.cells(options.seeds or SEEDS[options.form], len(train))
    keep(folder, study)
    if not options.collect and not all(finished(folder, cell) for cell in cells):
        make_all(study, cells, train, held, folder, device, options.jobs)
    results = collected(study, cells, train, held, folder, device)
    write_bytes(folder / "results.json", json.dumps(results, indent=1).encode())
    if results["cells"]:
        write_bytes(folder / "table.md", limited_data_page.table(results).encode())
        write_bytes(folder / "plot.svg", limited_data_page.plot(results).encode())
        print(json.dumps(results, indent=1) if options.json else limited_data_page.table(results))
    if left := [cell.name for cell in cells if not finished(folder, cell)]:
        raise MedzooError(f"{len(left)} of {len(cells)} runs are not finished ({left[0]} ...); type the command again")
    return 0


def keep(folder: Path, study: Study) -> None:
    """Remember what is studied in this folder. Raises MedzooError where it was something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path, wanted = folder / "study.json", json.loads(json.dumps(asdict(study)))
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else wanted
    if different := [f"{key}: {stored.get(key)} -> {wanted[key]}" for key in wanted if stored.get(key) != wanted[key]]:
        raise MedzooError(f"{folder} holds another study ({'; '.join(different)}); take another --out")
    write_bytes(path, json.dumps(wanted, indent=1).encode())


def make_all(
    study: Study, cells: Sequence[Cell], train: Images, held: Images, folder: Path, device: str, jobs: int
) -> None:
    """Run the cells in ``jobs`` processes; says every minute how far they are."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    task = (study, cells, train, held, folder, device, os.getpid(), stop)
    workers = [context.Process(target=work, args=task) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        watch(workers, study, cells, folder)
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def watch(workers: Sequence[BaseProcess], study: Study, cells: Sequence[Cell], folder: Path) -> None:
    """Until the last process ends; time left is that of the steps left at the rate since the start."""
    began, total = time.monotonic(), study.steps * len(cells)
    first = made(study, cells, folder)
    running = list(workers)
    while running:
        ended = connection.wait([worker.sentinel for worker in running], timeout=PAUSE)
        for worker in [each for each in running if each.sentinel in ended]:
            worker.join()
            running.remove(worker)
        steps, done = made(study, cells, folder), sum(finished(folder, cell) for cell in cells)
        left = (total - steps) * (time.monotonic() - began) / (steps - first) if steps > first else None
        shown = "" if left is None else f", about {left / 60:.0f} min left"
        print(f"{done} of {len(cells)} runs, {steps / total:.1%} of the steps{shown}", file=sys.stderr, flush=True)


def made(study: Study, cells: Sequence[Cell], folder: Path) -> int:
    """Steps of all cells so far."""
    return sum(study.steps if finished(folder, cell) else _step(folder / cell.name / "log.csv") for cell in cells)


def _step(log: Path) -> int:
    """Of the last whole line of a table that another process may be writing."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    last = text.rpartition("\n")[0].rpartition("\n")[2].partition(",")[0]
    return int(last) if last.isdigit() else 0


def work(
    study: Study,
    cells: Sequence[Cell],
    train: Images,
    held: Images,
    folder: Path,
    device: str,
    parent: int,
    stop: Event,
) -> None:
    """One process: the cells that are neither finished nor another's. Ends when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    torch.set_num_threads(1)
    try:
        measure = HeldOut(held, device)
    except MedzooError as error:
        print(error, file=sys.stderr, flush=True)
        return
    with claimed(folder / "real") as mine:
        if mine and not (folder / "real.json").exists():
            scores = measure(subset(train, study.samples, 0).images)
            write_bytes(folder / "real.json", json.dumps(scores).encode())

    def halt() -> bool:
        return stop.is_set() or os.getppid() != parent

    for cell in cells:
        if halt():
            return
        with claimed(folder / cell.name) as mine:
            if mine and not finished(folder, cell):
                try:
                    make(study, cell, train, measure, folder, device, halt)
                except MedzooError as error:
                    print(f"{cell.name}: {error}", file=sys.stderr, flush=True)


def make(
    study: Study,
    cell: Cell,
    train: Images,
    measure: HeldOut,
    folder: Path,
    device: str,
    stopped: Callable[[], object] = lambda: False,
) -> None:
    """Train one cell; ``cell.json`` appears when it is finished."""
    images, path = subset(train, cell.images, cell.seed), folder / cell.name
    measure = copy.copy(measure)  # the features of held-out images are those of every cell, near copies are its own
    measure.training = small_pixels(images.images)
    trainer = Trainer(study.config(cell), images, path, measure, torch.device(device))
    if not trainer.run(lambda step, losses: None, stopped):
        return
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_table(path / "heldout.csv")]
    rows = [row for row in rows if row["step"] != trainer.config.held.early]  # as in results of before it was measured
    at = best(rows)
    assert at is not None
    log = read_table(path / "log.csv")
    result = {**asdict(cell), "best": rows[at], "last": rows[-1], "trace": rows}
    if cell.technique in ADAPTIVE and log:
        result["p"] = log[-1][f"{cell.technique}_p"]
    write_bytes(path / "cell.json", json.dumps(result).encode())


def subset(train: Images, n: int, seed: int) -> Images:
    """The first ``n`` images in an order that the seed decides."""
    order = sorted(range(len(train)), key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
    return train[order[:n]]


def finished(folder: Path, cell: Cell) -> bool:
    return (folder / cell.name / "cell.json").exists()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has it; the system takes the claim back when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.claim"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def collected(
    study: Study, cells: Sequence[Cell], train: Images, held: Images, folder: Path, device: str
) -> dict[str, Any]:
    """Everything that the finished cells say, and what they were made of."""
    paths = [folder / cell.name / "cell.json" for cell in cells if finished(folder, cell)]
    real = folder / "real.json"
    return {
        "study": {**asdict(study), "kimg": study.kimg, "seeds": 1 + max((cell.seed for cell in cells), default=0)},
        "data": {
            name: {"images": len(images), "sha256": content_sha256(images)}
            for name, images in (("train", train), ("held_out", held))
        },
        "made": {
            "device": processor() if device == "cpu" else torch.cuda.get_device_name(device),
            "torch": torch.__version__,
            "medzoo": __version__,
        },
        "real": json.loads(real.read_text(encoding="utf-8")) if real.exists() else None,
        "cells": [json.loads(path.read_text(encoding="utf-8")) for path in paths],
    }


if __name__ == "__main__":
    raise SystemExit(main())
