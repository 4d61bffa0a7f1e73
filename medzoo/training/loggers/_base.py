"""The contract of a logger: every method does nothing by default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo.training.config import TrainConfig


class Logger:
    """Shows a run. Of several processes the first one alone has loggers.

    An ``OSError`` ends the run with the words for a full disk. Keep every call short: training waits for it.

    Args:
        run: folder of the run, which may not be there yet.

    Raises:
        TrainingError: a package is missing.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def open(self, step: int, config: TrainConfig) -> None:
        """The run begins, or goes on after ``step``: what was shown of later steps is going to be shown again."""

    def step(self, step: int, left: float) -> None:
        """A step was made; ``left`` seconds are expected until the last one."""

    def numbers(self, table: str, row: Mapping[str, float]) -> None:
        """A line of ``log.csv`` (``table`` is ``train``) or of ``heldout.csv`` (``heldout``), with its ``step``."""

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """A sheet of samples uint8 [h, w, c], which also lies in ``samples/<step>.png`` of the run."""

    def flush(self) -> None:
        """See to it that what was shown survives a kill: the state of the run is about to be saved."""

    def close(self) -> None:
        """The run has ended, in whatever way."""
