"""Weights & Biases: the numbers of the tables and the pictures, in ``RUN/wandb``; nothing leaves the machine.

``wandb sync RUN/wandb/offline-*`` uploads them. To send them while the run trains, set ``WANDB_MODE=online``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import TrainingError, pip_install
from medzoo.training.config import TrainConfig
from medzoo.training.loggers._base import Logger


class WandB(Logger):
    """One run of Weights & Biases for each call of ``train``, in the group of the folder's name."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        try:
            self.wandb: Any = import_module("wandb")
        except ImportError:
            raise TrainingError(f"--logger wandb needs one more package; type: {pip_install('wandb')}") from None

    def open(self, step: int, config: TrainConfig) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        self.here = self.wandb.init(
            project="medzoo",
            group=self.run.resolve().name,
            dir=str(self.run),
            config={**config.model_dump(mode="json"), "from_step": step},
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=self.wandb.Settings(silent=True),
        )
        # Two tables speak of one step: it is a number among the others, so that none is refused as too late.
        self.here.define_metric("*", step_metric="step")

    def numbers(self, table: str, row: Mapping[str, float]) -> None:
        """As ``<table>/<column>``."""
        named = {f"{table}/{name}": value for name, value in row.items() if name != "step"}
        self.here.log({"step": int(row["step"]), **named})

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.here.log({"step": step, "samples": self.wandb.Image(pixels.squeeze())})

    def close(self) -> None:
        self.here.finish()


LOGGER = WandB
