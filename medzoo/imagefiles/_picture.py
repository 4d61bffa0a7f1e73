"""What the readers of single formats share: the picture they give, its limits, its errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError

MOST_PIXELS = 2**26  # of one picture: 8192 x 8192
MOST_BYTES = 2**32  # of one volume


@dataclass(frozen=True)
class Picture:
    """Pixels [H, W] or [H, W, C] in the units of the file.

    ``full`` are the values of black and white where the kind of numbers tells, else None. ``inverted``: white is low.
    """

    pixels: NDArray[Any]
    full: tuple[float, float] | None
    inverted: bool = False


def full_range(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Black and white of numbers of a type; None where the type does not tell."""
    if dtype.kind == "b":
        return 0.0, 1.0
    return (0.0, float(np.iinfo(dtype).max)) if dtype.kind == "u" and dtype.itemsize <= 2 else None


def check_size(path: Path, height: int, width: int) -> None:
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise ImageFileError(f"{path}: is {height} x {width} pixels; read are pictures of 1 to {MOST_PIXELS:,} pixels")


def chosen(path: Path, count: int, slice: int | None) -> int:
    """Which of so many slices."""
    if slice is None:
        return count // 2
    if not 0 <= slice < count:
        raise ImageFileError(f"{path}: has no slice {slice}; it takes 0 to {count - 1}")
    return slice


def missing_package(path: Path, extra: str, package: str) -> ImageFileError:
    return ImageFileError(f"{path}: reading it needs {package}; type: pip install 'medzoo[{extra}]'")
