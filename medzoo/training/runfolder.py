"""The files of one training run, and how they stay whole and in step through a kill, a full disk or a second process.

    config.yaml        what is trained; a run never goes on with another configuration
    medzoo.yaml        what the model is: its entry, by which the folder generates
    latest.pt          everything needed to go on: the one file that decides; its checksum is in it
    best.safetensors   the averaged generator of the best measurement, copied out of latest.pt; with a checksum too
    log.csv            losses and numbers of techniques, a line every ten steps
    heldout.csv        held-out distances and signs of over-fitting, a line a measurement
    samples/<step>.png the same 32 samples each time
    tensorboard/       the tables and pictures once more, where asked for

A resumed run takes its step from ``latest.pt`` and brings the other files back to that step.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzoo.catalog.paths import HUB_FILE
from medzoo.errors import TrainingError
from medzoo.files.lock import held
from medzoo.files.reading import parse_json, read_bytes
from medzoo.files.whole import PARTS, disk_errors, write_bytes
from medzoo.training.config import TrainConfig, differences, dump_config, read_config
from medzoo.training.statefile import read_state, write_state
from medzoo.training.tables import add_row, forget_after


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
        if self.config.exists() and (changed := differences(read_config(self.config), config)):
            raise TrainingError(
                f"{self.path} holds a run of another configuration: {'; '.join(changed)}. "
                "Restore the value, or begin a new run in another --out"
            )
        with self.disk_errors():
            write_bytes(self.config, dump_config(config).encode())

    def describe(self, entry: str) -> None:
        """Write the entry of the model, unless it is there as it should be."""
        path = self.path / HUB_FILE
        if _content(path) != entry.encode():
            with self.disk_errors():
                write_bytes(path, entry.encode())

    def save(self, state: Mapping[str, Any], best: Best | None) -> None:
        """Write ``latest.pt``, then what follows it."""
        with self.disk_errors():
            for table in (self.log, self.held):
                _sync(table)
            write_state(self.latest, {**state, "best": None if best is None else vars(best)})
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
                forget_after(table, int(state["step"]))
            self._write_best(best, verify=True)
        return saved

    def read(self, device: torch.device) -> tuple[dict[str, Any], Best | None] | None:
        """The saved state and the best snapshot, None where nothing was saved yet."""
        if not self.latest.exists():
            return None
        state = read_state(self.latest, device)
        try:
            best = None if state["best"] is None else Best(**state["best"])
        except (KeyError, TypeError) as error:
            raise TrainingError(f"{self.latest}: not a state that this program wrote ({error})") from None
        return state, best

    def add(self, table: Path, row: Mapping[str, float | int]) -> None:
        """One line of a CSV file, with a header if it is the first."""
        with self.disk_errors():
            add_row(table, row)

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

    def _write_best(self, best: Best | None, *, verify: bool = False) -> None:
        """Write the best snapshot, unless it is there: by its step, or with ``verify`` byte for byte."""
        if best is None:
            self.best.unlink(missing_ok=True)
            return
        content = _best_file(best) if verify or _step_of(self.best) != best.step else None
        if content is not None and _content(self.best) != content:
            if self.best.is_dir():
                raise TrainingError(f"{self.best}: expected a file, found a folder; move it away")
            write_bytes(self.best, content)


def _content(path: Path) -> bytes | None:
    """What a file holds; None where none can be read."""
    with suppress(OSError):
        return read_bytes(path, "download_bytes")
    return None


def _best_file(best: Best) -> bytes:
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in best.generator.items()}
    # One key, because safetensors writes several in any order, and the same run shall give the same file.
    stated = {"step": best.step, **best.scores, "sha256": _checksum(best)}
    return save(tensors, {"medzoo": json.dumps(stated)})


def _checksum(best: Best) -> str:
    """SHA-256 of all that a snapshot holds."""
    digest = hashlib.sha256(json.dumps([best.step, sorted(best.scores.items())]).encode())
    for name, value in sorted(best.generator.items()):
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_best(path: Path) -> Best:
    """The snapshot in a ``best.safetensors``.

    Raises TrainingError: it is not there, or not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = read_bytes(path, "download_bytes")
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")])
        stated = parse_json(header["__metadata__"]["medzoo"])
        sha256, step = stated.pop("sha256"), int(stated.pop("step"))
        best = Best(step, {name: float(value) for name, value in stated.items()}, load(content))
        if _checksum(best) != sha256:
            raise ValueError("its checksum differs: it is damaged")
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise TrainingError(
            f"{path}: not a snapshot that this program wrote ({error}); type the command that trained it again, "
            "which restores it from latest.pt"
        ) from None
    return best


def read_best_scores(path: Path) -> Measured:
    """Step and scores of a ``best.safetensors``. Raises TrainingError."""
    best = read_best(path)
    return Measured(best.step, best.scores)


def _step_of(path: Path) -> int | None:
    with suppress(TrainingError):
        return read_best(path).step
    return None


def _sync(path: Path) -> None:
    if path.exists():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
