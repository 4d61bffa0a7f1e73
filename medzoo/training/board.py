"""What TensorBoard shows of a run: the numbers of its tables and its pictures, in ``RUN/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import TrainingError, pip_install


class Board:
    """Writes events. A run that goes on takes back those after its step, as it does the lines of its tables.

    Args:
        run: folder of the run.

    Raises:
        TrainingError: the package ``tensorboard`` is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            install = pip_install("medzoo[tensorboard]")
            raise TrainingError(f"--tensorboard needs one more package; type: {install}") from None
        self.kind, self.folder = SummaryWriter, run / "tensorboard"

    def open(self, step: int) -> None:
        """Go on after ``step``."""
        self.writer = self.kind(str(self.folder), purge_step=step + 1)

    def numbers(self, table: str, row: Mapping[str, float]) -> None:
        """A line of a table, as ``<table>/<column>``."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(f"{table}/{name}", value, int(row["step"]))

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """The samples uint8 [h, w, c]."""
        self.writer.add_image("samples", pixels, step, dataformats="HWC")
        self.flush()

    def flush(self) -> None:
        """See to it that what was written survives a kill."""
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
