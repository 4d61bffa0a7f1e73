"""A training run, described by its folder: how far it is, its best snapshot, its tables, and the way to a model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from medzoo.training.config import TrainConfig, load_config
from medzoo.training.export import Checkpoint, Exported, checkpoint_path, export_run, read_checkpoint
from medzoo.training.runfolder import Measured, RunFolder, read_best_scores
from medzoo.training.selection import reason_to_stop
from medzoo.training.statefile import read_step
from medzoo.training.tables import read_table

if TYPE_CHECKING:
    from torch import Tensor


class Run:
    """One training run. Everything is read from the folder when it is asked for, so a run under way can be watched.

    Args:
        folder: of the run.
        made: steps that the call of ``train`` made which gave this run, of all that it has.
        seconds: that they took.

    Raises:
        TrainingError: no run is there.
    """

    def __init__(self, folder: Path | str, *, made: int = 0, seconds: float = 0.0) -> None:
        self.folder, self.made, self.seconds = Path(folder), made, seconds
        self._files = RunFolder(self.folder)
        self.config  # noqa: B018  a folder without a configuration is no run

    @cached_property
    def config(self) -> TrainConfig:
        """What is trained."""
        return load_config(self._files.config)

    @property
    def steps(self) -> int:
        """Steps to make."""
        return self.config.steps

    @property
    def step(self) -> int:
        """Steps that are made and saved."""
        return read_step(self._files.latest) if self._files.latest.exists() else 0

    @property
    def best(self) -> Measured | None:
        """Step and scores of the best snapshot; None where none was measured."""
        return read_best_scores(self._files.best) if self._files.best.exists() else None

    @property
    def stopped(self) -> str | None:
        """Why the run ended before its last step (``held.patience``); None where it did not."""
        return reason_to_stop(self.heldout(), self.config.held.patience, self.config.held.early)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.step >= self.steps or self.stopped is not None

    def log(self) -> list[dict[str, float]]:
        """Losses and numbers of techniques: the rows of ``log.csv``, one every ten steps."""
        return read_table(self._files.log)

    def heldout(self) -> list[dict[str, float]]:
        """Held-out distances and signs of over-fitting: the rows of ``heldout.csv``, one a measurement."""
        return read_table(self._files.held)

    def snapshot(self, checkpoint: Checkpoint = "best") -> Path:
        """The file that holds a checkpoint: ``best.safetensors`` or ``latest.pt``.

        Raises:
            TrainingError: there is none yet.
        """
        return checkpoint_path(self.folder, checkpoint)

    def generator(self, checkpoint: Checkpoint = "best") -> Mapping[str, Tensor]:
        """The state dict of the averaged generator, under the names of the zoo's network.

        Raises:
            TrainingError: there is no such checkpoint yet, or its file is damaged.
        """
        return read_checkpoint(self.folder, checkpoint)[1]

    def export(
        self,
        model_id: str,
        registry: Path | str = "registry",
        *,
        checkpoint: Checkpoint = "best",
        half: bool = False,
        data: Path | str | None = None,
        device: str | None = None,
    ) -> Exported:
        """Make a model of a registry folder from this run; arguments as of :func:`medzoo.training.export_run`."""
        return export_run(self.folder, model_id, registry, checkpoint=checkpoint, half=half, data=data, device=device)

    def __repr__(self) -> str:
        best = self.best
        measured = "" if best is None else f", best kid {best.scores['kid']:.4g} at step {best.step}"
        return f"Run('{self.folder}': {self.config.family}, step {self.step} of {self.steps}{measured})"
