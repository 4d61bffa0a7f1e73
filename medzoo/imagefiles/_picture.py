"""What the readers of single formats share: the file, the picture they give, its limits, its errors."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from medzoo import limits
from medzoo.errors import ImageFileError, pip_install

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MOST_PIXELS = limits.LIMITS["input_pixels"].most  # of one picture: 8192 x 8192
MOST_BYTES = 2**32  # of one volume


def remembered(most: int) -> Callable[[Callable[[Path, *Ts], T]], Callable[[Path, *Ts], T]]:
    """Keeps what a function gave for the last ``most`` files, each for as long as nobody writes it anew."""

    def kept(function: Callable[[Path, *Ts], T]) -> Callable[[Path, *Ts], T]:
        @lru_cache(maxsize=most)
        def of_state(state: tuple[int, int], path: Path, *args: *Ts) -> T:
            return function(path, *args)

        @wraps(function)
        def asked(path: Path, *args: *Ts) -> T:
            about = path.stat()
            return of_state((about.st_mtime_ns, about.st_size), path, *args)

        return asked

    return kept


class ReadingWarning(UserWarning):
    """Something about image files that a person should know: what was left out, what was taken for black and white."""


class File(NamedTuple):
    """A file on the disk, or its content, which somebody has read and checked."""

    path: Path
    content: bytes | None = None

    def open(self) -> BinaryIO:
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)


@dataclass(frozen=True)
class Asked:
    """What a caller wants of a file.

    Attributes:
        slice: of a volume, frame or page; None for the middle one.
        channels: how many channels a NumPy array or NIfTI file may have beside 1 and 3.
        mask: whether the picture is a mask: palettes then mean indices, and alpha may hold the shape.
        single: files of several pictures are refused.
        windowed: whether a window in the units of the file will be laid on the numbers.
    """

    slice: int | None = None
    channels: int | None = None
    mask: bool = False
    single: bool = False
    windowed: bool = False


@dataclass(frozen=True)
class Picture:
    """Pixels [H, W] or [H, W, C] in the units of the file.

    Attributes:
        full: the values of black and white where the kind of numbers tells, else None.
        inverted: white is low.
        window: black and white as the file itself states them, else None.
        used: the largest stored number, as a share of what unsigned numbers of more than 8 bits could hold; else 1.
    """

    pixels: NDArray[Any]
    full: tuple[float, float] | None
    inverted: bool = False
    window: tuple[float, float] | None = None
    used: float = 1.0


def full_range(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Black and white of numbers of a type; None where the type does not tell."""
    if dtype.kind == "b":
        return 0.0, 1.0
    return (0.0, float(np.iinfo(dtype).max)) if dtype.kind == "u" and dtype.itemsize <= 2 else None


def used(stored: NDArray[Any], bits: int | None = None) -> float:
    """``Picture.used`` of numbers as they are stored, of so many bits (None for those of their type)."""
    bits = 8 * stored.dtype.itemsize if bits is None else bits
    if stored.dtype.kind != "u" or not 8 < bits <= 16 or not stored.size:
        return 1.0
    return float(stored.max()) / (2.0**bits - 1)


def check_size(path: Path, height: int, width: int) -> None:
    most = limits.most("input_pixels")
    if min(height, width) < 1 or height * width > most:
        hint = "; if you trust it, set MEDZOO_LIMIT_INPUT_PIXELS" if height * width > most else ""
        raise ImageFileError(f"{path}: is {height} x {width} pixels; read are pictures of 1 to {most:,} pixels{hint}")


def chosen(path: Path, count: int, asked: Asked) -> int:
    """Which of so many slices."""
    if asked.single and count > 1:
        raise ImageFileError(f"{path}: {count} frames in one file; split it into single images")
    if asked.slice is None:
        return count // 2
    if not 0 <= asked.slice < count:
        raise ImageFileError(f"{path}: has no slice {asked.slice}; it takes 0 to {count - 1}")
    return asked.slice


def missing_package(path: Path, extra: str, package: str) -> ImageFileError:
    return ImageFileError(f"{path}: reading it needs {package}; type: {pip_install(f'medzoo[{extra}]')}")
