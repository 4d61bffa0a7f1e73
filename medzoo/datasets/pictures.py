"""One picture file -> uint8 [H, W] or [H, W, 3]; the same for numbers of other kinds, and for masks."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets.measuring import Measure, NeedsWindow, Sides, Usual
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import naming
from medzoo.errors import DatasetError, ImageFileError
from medzoo.imagefiles import Asked, mask_values, masks, read_picture
from medzoo.imagefiles._picture import MOST_PIXELS
from medzoo.imagefiles.tone import Window as Window
from medzoo.text import first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".npy")
_KINDS = ("png", "jpeg", "tiff", "bmp", "gif", "webp")


def decode(content: bytes, where: Path | str, window: Window | Measure | None = None) -> NDArray[np.uint8]:
    """A picture file of one frame, or an array file (.npy) -> uint8 [H, W] or [H, W, 3].

    Which way up it is, what alpha and palettes mean: as ``medzoo.imagefiles`` says. ``window``: values that become
    black and white of numbers of more than 8 bits.

    Raises:
        NeedsWindow: whole numbers of more than 8 bits, and no window.
        DatasetError: not a picture, damaged, too large, several frames.
    """
    if content.startswith(b"\x93NUMPY"):
        if isinstance(window, Sides):
            return np.broadcast_to(np.uint8(0), upright(load_array(content, where), where).shape)
        return _decode_array(content, where, None if isinstance(window, Measure) else window)
    if isinstance(window, Sides) and (blank := _blank(content)) is not None:
        return blank
    windowed = window is not None and not isinstance(window, Measure | Usual)
    try:
        picture = read_picture(Path(where), Asked(single=True, windowed=windowed), content=content, only=_KINDS)
    except ImageFileError as error:
        raise DatasetError(str(error)) from None
    pixels = picture.pixels
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "f" and isinstance(window, Measure):
        window.add(picture)
        return np.zeros(pixels.shape, np.uint8)
    if isinstance(window, tuple):
        shown = scaled(pixels, where, window)
        return 255 - shown if picture.inverted else shown
    if pixels.dtype.kind == "f":
        raise DatasetError(
            f"{where}: holds floats from {pixels.min():g} to {pixels.max():g}; convert it to 8-bit grey or RGB, or say "
            "by a window which values become black and white (--window LOW HIGH)"
        )
    raise NeedsWindow(
        f"{where}: its numbers have more than 8 bits ({pixels.min()} to {pixels.max()}); say by a window which values "
        "become black and white (--window LOW HIGH)"
    )


def _blank(content: bytes) -> NDArray[np.uint8] | None:
    """Nothing, of the height and width that the head of a picture file states; None where it has to be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: none is decoded here
            with Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    return np.broadcast_to(np.uint8(0), (height, width))


def decode_mask(content: bytes, where: Path | str) -> NDArray[np.bool_]:
    """A mask file -> bool [H, W], by the rules of ``medzoo.imagefiles.masks``. Raises DatasetError."""
    if content.startswith(b"\x93NUMPY"):
        return foreground(upright(load_array(content, where), where), where)
    with naming(where):
        picture = read_picture(Path(where), Asked(single=True, mask=True), content=content, only=_KINDS)
        return masks.foreground(mask_values(picture), where)


def scaled(values: NDArray[Any], where: Path | str, window: Window | None = None) -> NDArray[np.uint8]:
    """Numbers of any kind -> uint8: by the window; else uint8 as it is, booleans, and floats in [0, 1]."""
    if values.dtype.kind not in "biuf":
        raise DatasetError(f"{where}: holds {values.dtype}; expected numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DatasetError(f"{where}: holds numbers that are not finite (NaN or infinity); repair or remove it")
    if window is not None:
        low, high = window
        return as_uint8(((values.astype(np.float64) - low) / (high - low)).clip(0, 1))
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return as_uint8(values)
    expected = "floats in [0, 1]" if values.dtype.kind == "f" else "uint8"
    raise DatasetError(
        f"{where}: holds {values.dtype} from {low:g} to {high:g}; expected {expected}, or a window (low, high) of the "
        "values that become black and white (--window LOW HIGH)"
    )


def foreground(pixels: NDArray[Any], where: Path | str) -> NDArray[np.bool_]:
    """A mask [H, W] or [H, W, 3] as bool [H, W], by the rules of ``medzoo.imagefiles.masks``. Raises DatasetError."""
    if pixels.ndim == 3:
        from PIL.Image import fromarray

        pixels = np.asarray(fromarray(pixels).convert("L"))
    with naming(where):
        return masks.foreground(pixels, where)


def upright(array: NDArray[Any], where: Path | str) -> NDArray[Any]:
    """[H, W], [H, W, C] or [C, H, W] with C = 1 or 3 -> [H, W] or [H, W, 3]."""
    if array.ndim == 3:
        if array.shape[2] in (1, 3) and array.shape[0] not in (1, 3):
            pass
        elif array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
            array = np.moveaxis(array, 0, 2)
        else:
            raise DatasetError(f"{where}: pictures of {list(array.shape)}; expected [H, W], [H, W, 3] or [3, H, W]")
        array = array[:, :, 0] if array.shape[2] == 1 else array
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise DatasetError(f"{where}: pictures of {list(array.shape)}; expected [H, W], [H, W, 3] or [3, H, W]")
    check_pixels(array.shape[0], array.shape[1], where)
    return array


def check_pixels(height: int, width: int, where: Path | str) -> None:
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise DatasetError(f"{where}: is {height} x {width} pixels; read are pictures of 1 to {MOST_PIXELS:,} pixels")


def load_array(content: bytes, where: Path | str) -> NDArray[Any]:
    """The array of a .npy file; never objects."""
    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise DatasetError(f"{where}: not a readable array ({first_line(error)})") from None
    return array


def _decode_array(content: bytes, where: Path | str, window: Window | None) -> NDArray[np.uint8]:
    return scaled(upright(load_array(content, where), where), where, window)
