"""One picture file -> uint8 [H, W] or [H, W, 3]; the same for numbers of other kinds, and for masks."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets.protocol import as_uint8
from medzoo.errors import DatasetError
from medzoo.imagefiles._picture import MOST_PIXELS

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
_GREY = ("1", "L", "LA", "La")
_COLOUR = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr")

Window = tuple[float, float]


def decode(content: bytes, where: Path | str, window: Window | None = None) -> NDArray[np.uint8]:
    """PNG, JPEG or TIFF of one frame, or an array file (.npy) -> uint8 [H, W] or [H, W, 3].

    Orientation tags are ignored: masks have none. ``window``: values that become black and white; needed for more than
    8 bits, because which range of them to show is the owner's choice.
    """
    if content.startswith(b"\x93NUMPY"):
        return _decode_array(content, where, window)
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the check below is stricter
            picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF"))
        check_pixels(picture.height, picture.width, where)
        deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where}: not a readable image ({error}); replace or remove it") from None
    if getattr(picture, "n_frames", 1) > 1:
        raise DatasetError(f"{where}: {picture.n_frames} frames in one file; split it into single images")  # type: ignore[attr-defined]
    if deep and picture.mode in _GREY + _COLOUR:  # Pillow keeps the upper 8 bits, which are next to 0 for 12 of 16
        raise DatasetError(f"{where}: 16 bits a channel, read are 8 where there are several; convert it to 8-bit")
    if picture.mode in _GREY:
        return np.asarray(picture if picture.mode == "L" else picture.convert("L"))
    if picture.mode in _COLOUR:
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    if window is not None:
        return scaled(np.asarray(picture), where, window)
    raise DatasetError(
        f"{where}: pixel mode '{picture.mode}' is not 8-bit; convert the image to 8-bit grey or RGB, or say by a "
        "window which values become black and white"
    )


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
        "values that become black and white"
    )


def foreground(pixels: NDArray[Any], where: Path | str) -> NDArray[np.bool_]:
    """A mask as bool [H, W]: 0 is background; in a picture of 0..255, 128 and more is foreground; of 0 and 1, 1 is.

    Raises DatasetError for another range, such as that of numbered classes, which would pass for empty.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DatasetError(f"{where}: holds numbers that are not finite (NaN or infinity); repair or remove it")
    if pixels.ndim == 3:
        from PIL.Image import fromarray

        pixels = np.asarray(fromarray(pixels).convert("L"))
    if pixels.dtype.kind in "bf":
        return np.asarray(pixels >= 0.5)
    top = int(pixels.max(initial=0))
    if 1 < top < 128 or top > 255:
        raise DatasetError(
            f"{where}: a mask with values up to {top}; expected 0 and 1, or 0 and 255 (write one class, or one object, "
            "against the rest)"
        )
    return np.asarray(pixels >= (1 if top == 1 else 128))


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
        raise DatasetError(f"{where}: not a readable array ({str(error).partition(chr(10))[0]})") from None
    return array


def _decode_array(content: bytes, where: Path | str, window: Window | None) -> NDArray[np.uint8]:
    return scaled(upright(load_array(content, where), where), where, window)
