"""Image files -> arrays in [0, 1], for models that take images.

PNG, JPEG and TIFF (Pillow), DICOM (pydicom), NIfTI (nibabel) and NumPy arrays. What a file is, its content says.
What values become black and white:

    with a window      its two numbers, in the units of the file (after the rescale slope of DICOM and NIfTI)
    8 or 16 bits       0 and the largest unsigned number of the type; of DICOM, of the bits stored
    all others         the least and the largest value of the picture: signed integers, floats, look-up tables

Sizes are checked before anything is decoded. Needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError
from medzoo.files import kind as filekind
from medzoo.imagefiles._dicom import read_dicom
from medzoo.imagefiles._nifti import read_nifti, read_nifti_volume
from medzoo.imagefiles._picture import Picture
from medzoo.imagefiles._pictures import grey_or_rgb as grey_or_rgb
from medzoo.imagefiles._pictures import read_npy, read_pillow

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue in grey: ITU-R BT.601


def read_image(
    path: str | Path,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    window: tuple[float, float] | None = None,
    slice: int | None = None,
) -> NDArray[np.float32]:
    """One picture float32 [C, H, W] in [0, 1].

    Args:
        channels: 1 makes grey of colour (ITU-R BT.601 luma), 3 repeats grey; None as the file has them. No alpha.
        size: (height, width) to resize to, with antialiasing; the shape is not kept. None for as it is.
        window: (low, high) in the units of the file that become 0 and 1; None as the top of this module says.
        slice: which slice of a volume, frame or page, counted from 0; None for the middle one. Of a NIfTI volume
            slices are axial, with the patient's left at the right and the front on top.

    Raises ImageFileError: no image, damaged, too large, a package is missing, or the channels do not fit.
    """
    path = Path(path)
    if window is not None and not window[0] < window[1]:
        raise ImageFileError(f"{path}: window needs low < high, found {list(window)}")
    kind = _kind(path)
    if kind not in _READERS:
        raise ImageFileError(f"{path}: is {filekind.describe(kind)}; expected {_accepted()}")
    try:
        picture = _READERS[kind](path, slice, channels)
        image = _planes(path, _scaled(picture, window), channels)
    except ImageFileError:
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ImageFileError(f"{path}: {filekind.describe(kind)} that cannot be read: {reason}") from error
    if not np.isfinite(image).all():
        raise ImageFileError(f"{path}: holds numbers that are not finite")
    return image if size is None or image.shape[1:] == size else resize(image, size)


def read_volume(path: str | Path, *, window: tuple[float, float] | None = None) -> Volume:
    """A NIfTI volume of one number a voxel, turned as ``read_image`` shows its slices.

    Raises ImageFileError: no NIfTI file, damaged, too large, or nibabel is missing.
    """
    path = Path(path)
    if window is not None and not window[0] < window[1]:
        raise ImageFileError(f"{path}: window needs low < high, found {list(window)}")
    kind = _kind(path)
    if kind != "nifti":
        raise ImageFileError(f"{path}: is {filekind.describe(kind)}; expected a NIfTI file")
    try:
        picture, slope, intercept, spacing = read_nifti_volume(path)
        stored: NDArray[Any] = picture.pixels
        if window is None and picture.full is None:
            ends = [float(stored.min()) * slope + intercept, float(stored.max()) * slope + intercept]
            window = min(ends), max(ends)
    except ImageFileError:
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ImageFileError(f"{path}: {filekind.describe(kind)} that cannot be read: {reason}") from error
    low, high = window or picture.full or (0.0, 1.0)
    if not np.isfinite([low, high]).all():
        raise ImageFileError(f"{path}: holds numbers that are not finite")
    return Volume(path, stored, slope, intercept, low, high, spacing)


@dataclass(frozen=True, eq=False)
class Volume:
    """Stored numbers [D, H, W]: slices upwards, rows to the back, columns to the patient's left.

    ``low`` and ``high`` are black and white, in the units of the file: stored numbers times slope plus intercept.
    ``spacing`` is the size of a voxel in millimetres, in the order of the axes.
    """

    path: Path
    stored: NDArray[Any]
    slope: float
    intercept: float
    low: float
    high: float
    spacing: tuple[float, ...]

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


def list_images(folder: str | Path) -> tuple[Path, ...]:
    """The image files right in a folder, recognised by their content, in natural order: 2.png before 10.png.

    Raises ImageFileError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: no such folder")
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = [path for path in files if path.name != "DICOMDIR" and _kind(path) in filekind.IMAGES]
    if not found:
        raise ImageFileError(f"{folder}: holds no image; expected {_accepted()}")
    return tuple(sorted(found, key=lambda path: (_natural(path.name), path.name)))


def resize(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """[C, H, W] in [0, 1] -> [C, *size], linear between pixels, with antialiasing where it shrinks."""
    from PIL import Image

    height, width = size  # Pillow widens its triangle where it shrinks; other kernels overshoot
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 1)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())]


def _accepted() -> str:
    return "a PNG, JPEG, TIFF, DICOM or NIfTI file or a NumPy array (.npy)"


def _kind(path: Path) -> filekind.Kind:
    if not path.is_file():
        raise ImageFileError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        return filekind.guess(path)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror})") from error


def _scaled(picture: Picture, window: tuple[float, float] | None) -> NDArray[np.float32]:
    """[H, W(, C)] in [0, 1]."""
    pixels = picture.pixels
    values: NDArray[Any] = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    low, high = window or picture.full or (float(values.min()), float(values.max()))
    values = (values - low) / ((high - low) or 1.0)  # a picture of one value is black
    scaled = values.clip(0, 1).astype(np.float32)
    return 1 - scaled if picture.inverted else scaled


def _planes(path: Path, pixels: NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    """[H, W(, C)] -> [channels, H, W]."""
    found = pixels.reshape(*pixels.shape[:2], -1)
    if channels == 1 and found.shape[2] == 3:
        found = (found @ LUMA)[:, :, None]
    elif channels == 3 and found.shape[2] == 1:
        found = np.repeat(found, 3, axis=2)
    elif channels not in (None, found.shape[2]):
        raise ImageFileError(f"{path}: has {found.shape[2]} channels; expected {channels}")
    return np.ascontiguousarray(np.moveaxis(found, 2, 0))


_READERS: dict[filekind.Kind, Callable[[Path, int | None, int | None], Picture]] = {
    "png": read_pillow,
    "jpeg": read_pillow,
    "tiff": read_pillow,
    "npy": read_npy,
    "dicom": read_dicom,
    "nifti": read_nifti,
}
