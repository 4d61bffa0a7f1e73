"""TensorBoard: the numbers of the tables and the pictures, in ``RUN/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import TrainingError, pip_install
from medzoo.training.config import TrainConfig
from medzoo.training.loggers._base import Logger


class TensorBoard(Logger):
    """Writes events. A run that goes on takes back those after its step, as it does the lines of its tables."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            install = pip_install("medzoo[tensorboard]")
            raise TrainingError(f"--logger tensorboard needs one more package; type: {install}") from None
        self.kind = SummaryWriter

    def open(self, step: int, config: TrainConfig) -> None:
        self.writer = self.kind(str(self.run / "tensorboard"), purge_step=step + 1)

    def numbers(self, table: str, row: Mapping[str, float]) -> None:
        """As ``<table>/<column>``."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(f"{table}/{name}", value, int(row["step"]))

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.writer.add_image("samples", pixels, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


LOGGER = TensorBoard
