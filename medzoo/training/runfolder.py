"""The files of one training run, and how they stay whole and in step through a kill, a full disk or a second process.

    config.yaml        what is trained; a run never goes on with another configuration
    latest.pt          everything needed to go on: the one file that decides
    best.safetensors   the averaged generator of the best measurement, copied out of latest.pt
    log.csv            losses and numbers of techniques, a line every ten steps
    heldout.csv        held-out distances and signs of over-fitting, a line a measurement
    samples/<step>.png the same 32 samples each time
    tensorboard/       the tables and pictures once more, where asked for

A resumed run takes its step from ``latest.pt`` and brings the other files back to that step.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzoo.errors import TrainingError
from medzoo.files.lock import held
from medzoo.files.whole import PARTS, disk_errors, sync_folder, write_bytes, writing
from medzoo.training.config import TrainConfig, differences, dump_config, load_config


@dataclass(frozen=True)
class Measured:
    """A snapshot that was measured.

    Attributes:
        step: steps done by then.
        scores: its numbers by name, ``kid`` and the other columns of ``heldout.csv``.
    """

    step: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Best(Measured):
    """The best snapshot so far, with the state dict of the averaged generator."""

    generator: dict[str, Tensor]


class RunFolder:
    """Reads and writes the files of one run; every problem is a TrainingError that says what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.latest, self.best = path / "config.yaml", path / "latest.pt", path / "best.safetensors"
        self.log, self.held = path / "log.csv", path / "heldout.csv"

    @contextmanager
    def opened(self, config: TrainConfig) -> Iterator[None]:
        """Hold the folder's lock, with the configuration checked and stored."""

        def busy() -> None:
            raise TrainingError(f"{self.path}: another process trains here; wait for it, or take another --out")

        with ExitStack() as stack:
            with self.disk_errors():
                (self.path / "samples").mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(self.path / ".lock", busy, patience=0))
            self.store(config)
            yield

    def store(self, config: TrainConfig) -> None:
        """Write the configuration, once it fits the one that the run began with."""
        if self.config.exists() and (changed := differences(load_config(self.config), config)):
            raise TrainingError(
                f"{self.path} holds a run of another configuration: {'; '.join(changed)}. "
                "Restore the value, or begin a new run in another --out"
            )
        with self.disk_errors():
            write_bytes(self.config, dump_config(config).encode())

    def save(self, state: Mapping[str, Any], best: Best | None) -> None:
        """Write ``latest.pt``, then what follows it."""
        with self.disk_errors():
            for table in (self.log, self.held):
                _sync(table)
            _write_torch(self.latest, {**state, "best": None if best is None else vars(best)})
            self._write_best(best)

    def load(self, device: torch.device) -> tuple[dict[str, Any], Best | None] | None:
        """What ``read`` gives, with every other file brought back to its step."""
        for partial in self.path.glob(PARTS):
            partial.unlink()  # of a killed process; the lock is held
        saved = self.read(device)
        if saved is None:
            if self.best.exists():
                raise TrainingError(
                    f"{self.path} holds {self.best.name} but no {self.latest.name} to go on from; take another --out"
                )
            self.log.unlink(missing_ok=True)
            self.held.unlink(missing_ok=True)
            return None
        state, best = saved
        with self.disk_errors():
            for table in (self.log, self.held):
                _forget_after(table, int(state["step"]))
            self._write_best(best)
        return saved

    def read(self, device: torch.device) -> tuple[dict[str, Any], Best | None] | None:
        """The saved state and the best snapshot, None where nothing was saved yet."""
        if not self.latest.exists():
            return None
        try:
            state = torch.load(self.latest, map_location=device, weights_only=True)
            best = None if state["best"] is None else Best(**state["best"])
            int(state["step"])
        except Exception as error:  # whatever a damaged file makes of the reader
            raise TrainingError(
                f"{self.latest}: not a state that this program wrote ({type(error).__name__}); "
                "move it away to begin anew"
            ) from None
        return state, best

    def add(self, table: Path, row: Mapping[str, float | int]) -> None:
        """One line of a CSV file, with a header if it is the first."""
        with self.disk_errors(), table.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({key: value if isinstance(value, int) else f"{value:.6g}" for key, value in row.items()})

    def picture(self, name: str, content: bytes) -> None:
        with self.disk_errors():
            write_bytes(self.path / "samples" / name, content)

    def disk_errors(self) -> AbstractContextManager[None]:
        """Turn what the disk refuses into a ``TrainingError``."""

        def state() -> str:
            return "the state of the last snapshot is whole" if self.latest.exists() else "nothing was saved yet"

        return disk_errors(
            self.path,
            TrainingError,
            state=state,
            full="make room and type the same command again",
            denied="fix that and type the same command again",
        )

    def _write_best(self, best: Best | None) -> None:
        if best is None:
            self.best.unlink(missing_ok=True)
        elif not self.best.exists() or _step_of(self.best) != best.step:
            from safetensors.torch import save

            tensors = {name: value.contiguous() for name, value in best.generator.items()}
            # One key, because safetensors writes several in any order, and the same run shall give the same file.
            stated = {"medzoo": json.dumps({"step": best.step, **best.scores})}
            write_bytes(self.best, save(tensors, stated))


def read_best(path: Path) -> Best:
    """The snapshot in a ``best.safetensors``. Raises TrainingError."""
    with _opened(path) as file:
        measured = _measured(file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Best(measured.step, measured.scores, tensors)


def read_best_scores(path: Path) -> Measured:
    """Step and scores of a ``best.safetensors``, without its tensors. Raises TrainingError."""
    with _opened(path) as file:
        return _measured(file)


def read_step(path: Path) -> int:
    """The step of a ``latest.pt``, without its tensors. Raises TrainingError."""
    try:
        return int(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["step"])
    except Exception as error:  # whatever a damaged file makes of the reader
        raise TrainingError(f"{path}: not a state that this program wrote ({type(error).__name__})") from None


def read_table(path: Path) -> list[dict[str, float]]:
    """The rows of a ``log.csv`` or ``heldout.csv``; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A ``best.safetensors`` to read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: not a snapshot that this program wrote ({error})") from None


def _measured(file: Any) -> Measured:
    scores = {name: float(value) for name, value in json.loads((file.metadata() or {})["medzoo"]).items()}
    return Measured(int(scores.pop("step")), scores)


def _step_of(path: Path) -> int | None:
    with suppress(TrainingError):
        return read_best_scores(path).step
    return None


def _write_torch(path: Path, state: Mapping[str, Any]) -> None:
    """``torch.save`` that appears whole or not at all. Raises OSError."""
    with writing(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch's own word for a write that failed
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error
    sync_folder(path.parent)


def _sync(path: Path) -> None:
    if path.exists():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines that a resumed run will write again, and one that was cut off."""
    if not path.exists():
        return
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    kept = io.StringIO()
    if header.endswith("\n"):
        kept.write(header)
        kept.writelines(line for line in lines if line.endswith("\n") and float(line.split(",")[0]) <= step)
    write_bytes(path, kept.getvalue().encode())
