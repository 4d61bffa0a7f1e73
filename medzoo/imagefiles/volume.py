"""Volumes as stored numbers, of which some slices at a time become numbers in [0, 1]."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError
from medzoo.imagefiles import tone
from medzoo.imagefiles._picture import Picture, ReadingWarning
from medzoo.imagefiles.provenance import Provenance
from medzoo.imagefiles.tone import Window
from medzoo.imagefiles.world import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """Stored numbers [slices, rows, columns].

    ``low`` and ``high`` are black and white, in the units of the file: stored numbers times slope plus intercept.
    """

    path: Path
    stored: NDArray[Any]
    slope: float
    intercept: float
    low: float
    high: float
    geometry: Geometry

    @property
    def spacing(self) -> tuple[float, ...]:
        """The size of a voxel in millimetres, in the order of the axes."""
        return self.geometry.spacing

    def part(self, index: Any) -> NDArray[np.float32]:
        """Some voxels in [0, 1]. Raises ImageFileError when one is not a number."""
        values = self.units(index)
        scaled = ((values - self.low) / ((self.high - self.low) or 1.0)).clip(0, 1).astype(np.float32)
        if not np.isfinite(scaled).all():
            raise ImageFileError(f"{self.path}: holds numbers that are not finite")
        return scaled

    def units(self, index: Any) -> NDArray[np.float64]:
        """Some voxels in the units of the file."""
        return np.asarray(self.stored[index].astype(np.float64) * self.slope + self.intercept)


@dataclass(frozen=True)
class Stack:
    """One volume, or one picture (``depth`` None), of one or several files.

    Attributes:
        files: in the order of the slices; the first names it.
        depth: slices.
        provenance: where it lies, and of which study it is.
        load: black and white as the caller states them, or None -> its numbers.
        plain: whether ``read_image`` of its file gives the same picture.
    """

    files: tuple[Path, ...]
    depth: int | None
    provenance: Provenance
    load: Callable[[Window | None], Volume]
    plain: bool = True

    @property
    def path(self) -> Path:
        return self.files[0]


def volume_of(
    path: Path, picture: Picture, geometry: Geometry, window: Window | None, slope: float = 1.0, intercept: float = 0.0
) -> Volume:
    """What becomes black and white is decided for all of it, by the rules of ``tone``.

    Args:
        picture: the numbers [slices, rows, columns] before slope and intercept; ``full`` and ``window`` after them.
        window: black and white as the caller states them.
    """
    stored = picture.pixels
    window = window or picture.window
    if window is None and picture.full is None:
        ends = sorted(float(end) * slope + intercept for end in (stored.min(), stored.max()))
        window = ends[0], ends[1]
    elif window is None and 0 < picture.used < tone.USED:
        ends = sorted(end * slope + intercept for end in tone.percentiles(stored))
        window = ends[0], ends[1]
        warnings.warn(f"{path}: {tone.notice(window)}", ReadingWarning, stacklevel=3)
    low, high = window or picture.full or (0.0, 1.0)
    if not np.isfinite([low, high]).all():
        raise ImageFileError(f"{path}: holds numbers that are not finite")
    if picture.inverted:
        low, high = high, low
    return Volume(path, stored, slope, intercept, low, high, geometry)
