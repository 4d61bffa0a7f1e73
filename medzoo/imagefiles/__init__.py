"""Image files -> arrays in [0, 1], for models that take images, and for data sets.

PNG, JPEG, TIFF, BMP, GIF and WebP (Pillow), DICOM (pydicom), NIfTI (nibabel) and NumPy arrays. What a file is, its
content says. Conditions, data sets, training and benchmarks all read here, by the same rules: which way up a picture
is, which page of a file, what alpha and palettes mean (``_pillow``), which numbers become black and white (``tone``),
what a mask is (``masks``). Sizes are checked before anything is decoded. Needs no torch.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError
from medzoo.files import kind as filekind
from medzoo.imagefiles import tone
from medzoo.imagefiles._dicom import holds_pixels, read_dicom
from medzoo.imagefiles._nifti import read_nifti, read_nifti_volume
from medzoo.imagefiles._picture import Asked as Asked
from medzoo.imagefiles._picture import File, Picture
from medzoo.imagefiles._picture import ReadingWarning as ReadingWarning
from medzoo.imagefiles._pillow import of_pillow, read_npy, read_pillow
from medzoo.imagefiles.leftout import warn_of
from medzoo.imagefiles.masks import foreground as foreground
from medzoo.imagefiles.tone import Window
from medzoo.imagefiles.volume import Volume as Volume
from medzoo.imagefiles.volume import volume_of
from medzoo.imagefiles.world import Axis
from medzoo.text import first_line

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
        window: (low, high) in the units of the file that become 0 and 1; None as ``medzoo.imagefiles.tone`` says.
        slice: which slice of a volume, frame or page, counted from 0; None for the middle one. Of a NIfTI volume
            slices are axial, with the patient's left at the right and the front on top.

    Raises ImageFileError: no image, damaged, too large, a package is missing, or the channels do not fit.
    """
    path = Path(path)
    picture = read_picture(path, Asked(slice=slice, channels=channels, windowed=window is not None), window=window)
    with naming(path):
        image = scaled(picture, window, str(path), channels)
    if not np.isfinite(image).all():
        raise ImageFileError(f"{path}: holds numbers that are not finite")
    return image if size is None or image.shape[1:] == size else resize(image, size)


def read_mask(
    path: str | Path, *, size: tuple[int, int] | None = None, slice: int | None = None
) -> NDArray[np.float32]:
    """A mask float32 [1, H, W] of 0 and 1, by the rules of ``masks.foreground``. Arguments of ``read_image``.

    Raises ImageFileError: as ``read_image``, and for numbered classes or objects.
    """
    path = Path(path)
    mask = foreground(mask_values(read_picture(path, Asked(slice=slice, mask=True))), path)[None].astype(np.float32)
    return mask if size is None or mask.shape[1:] == size else (resize(mask, size) >= 0.5).astype(np.float32)


def read_picture(
    path: Path, asked: Asked, *, content: bytes | None = None, window: Window | None = None, only: tuple[str, ...] = ()
) -> Picture:
    """The numbers of a file, as its reader gives them.

    Args:
        content: of the file, where somebody has read it already.
        only: kinds of files that are expected; none for all that are read.

    Raises ImageFileError.
    """
    if window is not None and not window[0] < window[1]:
        raise ImageFileError(f"{path}: window needs low < high, found {list(window)}")
    kind = _kind(path) if content is None else filekind.guess_content(content)
    if only and kind not in only:
        raise ImageFileError(f"{path}: not a readable image: is {filekind.describe(kind)}; replace or remove it")
    if kind not in _READERS:
        raise ImageFileError(f"{path}: is {filekind.describe(kind)}; expected {_accepted()}")
    with naming(path, None if only else kind):
        return _READERS[kind](File(path, content), asked)


def picture_of(image: Any, *, mask: bool = False) -> NDArray[Any]:
    """A Pillow image -> its pixels [H, W] or [H, W, 3], by the rules of files: upright, without alpha and palette."""
    with naming("image"):
        picture = of_pillow(image, Asked(mask=mask))
    if mask or picture.inverted:
        return mask_values(picture)
    return picture.pixels


def mask_values(picture: Picture) -> NDArray[Any]:
    """The numbers [H, W] of a mask, 0 outside."""
    pixels = picture.pixels
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else np.asarray(np.rint(pixels[..., :3] @ LUMA), pixels.dtype)
    if picture.inverted:
        top = pixels.max(initial=0)
        pixels = (1 if top <= 1 or picture.full is None else picture.full[1]) - pixels
    if pixels.dtype.kind == "f" and (pixels == np.rint(pixels)).all():
        pixels = pixels.astype(np.int64)  # whole numbers after a rescale slope
    return pixels


def read_volume(path: str | Path, *, window: tuple[float, float] | None = None, axis: Axis = "axial") -> Volume:
    """A NIfTI volume of one number a voxel, as slices of a plane that lie as ``medzoo.imagefiles.world`` says.

    Raises ImageFileError: no NIfTI file, damaged, too large, or nibabel is missing.
    """
    path = Path(path)
    if window is not None and not window[0] < window[1]:
        raise ImageFileError(f"{path}: window needs low < high, found {list(window)}")
    kind = _kind(path)
    if kind != "nifti":
        raise ImageFileError(f"{path}: is {filekind.describe(kind)}; expected a NIfTI file")
    with naming(path, kind):
        picture, slope, intercept, geometry = read_nifti_volume(path, axis)
        return volume_of(path, picture, geometry, window, slope, intercept)


def list_images(folder: str | Path) -> tuple[Path, ...]:
    """The image files right in a folder, recognised by their content, in natural order: 2.png before 10.png.

    Raises ImageFileError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: no such folder")
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    kinds = {path: _kind(path) for path in files if path.name != "DICOMDIR"}
    known = [path for path, kind in kinds.items() if kind in filekind.IMAGES]
    images = [path for path in known if kinds[path] != "dicom" or holds_pixels(path)]
    if not images:
        raise ImageFileError(f"{folder}: holds no image; expected {_accepted()}")
    warn_of(folder, [path for path in files if path not in known])
    if len(images) < len(known):
        text = f"{folder}: {len(known) - len(images)} DICOM objects without pixels (reports, structures): passed over"
        warnings.warn(text, ReadingWarning, stacklevel=2)
    return tuple(sorted(images, key=lambda path: (_natural(path.name), path.name)))


def resize(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """[C, H, W] in [0, 1] -> [C, *size], linear between pixels, with antialiasing where it shrinks."""
    from PIL import Image

    height, width = size  # Pillow widens its triangle where it shrinks; other kernels overshoot
    planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 1)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())]


def _accepted() -> str:
    return "a PNG, JPEG, TIFF, DICOM or NIfTI file, a NumPy array (.npy), or BMP, GIF or WebP"


def _kind(path: Path) -> filekind.Kind:
    if not path.is_file():
        raise ImageFileError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        return filekind.guess(path)
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror})") from error


def scaled(picture: Picture, window: Window | None, where: str, channels: int | None = None) -> NDArray[np.float32]:
    """float32 [C, H, W] in [0, 1], by the rules of ``tone``. Raises ImageFileError where the channels do not fit."""
    pixels = picture.pixels.reshape(*picture.pixels.shape[:2], -1)
    if channels not in (None, pixels.shape[2]) and (channels, pixels.shape[2]) not in ((1, 3), (3, 1)):
        raise ImageFileError(f"{where}: has {pixels.shape[2]} channels; expected {channels}")
    (low, high), decided = tone.ends(picture, window)
    if decided:
        warnings.warn(f"{where}: {tone.notice((low, high))}", ReadingWarning, stacklevel=3)
    grey = channels == 1 and pixels.shape[2] == 3
    out = np.empty((1 if grey else pixels.shape[2], *pixels.shape[:2]), np.float32)
    kind = np.float32 if pixels.dtype.itemsize <= 2 else np.float64
    rows = max(1, _BAND // max(1, pixels.shape[1] * pixels.shape[2]))
    for at in range(0, pixels.shape[0], rows):  # a band of rows at a time: the working memory
        band: NDArray[Any] = pixels[at : at + rows].astype(kind)
        np.subtract(band, low, out=band)
        np.divide(band, (high - low) or 1.0, out=band)  # a picture of one value is black
        values = band.clip(0, 1).astype(np.float32)
        values = 1 - values if picture.inverted else values
        values = (values @ LUMA)[:, :, None] if grey else values
        out[:, at : at + rows] = np.moveaxis(values, 2, 0)
    return np.repeat(out, 3, axis=0) if channels == 3 and len(out) == 1 else out


@contextmanager
def naming(path: Path | str, kind: filekind.Kind | None = None) -> Iterator[None]:
    """Whatever a decoder raises becomes an error that names the file."""
    try:
        yield
    except ImageFileError:
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        what = f"{filekind.describe(kind)} that cannot be read" if kind else "not a readable image"
        raise ImageFileError(f"{path}: {what}: {_ADDRESS.sub('', first_line(error))}") from error


_ADDRESS = re.compile(r" (object )?at 0x[0-9a-fA-F]+")
_BAND = 2**22  # numbers converted at a time
_READERS: dict[filekind.Kind, Callable[[File, Asked], Picture]] = {
    "png": read_pillow,
    "jpeg": read_pillow,
    "tiff": read_pillow,
    "bmp": read_pillow,
    "gif": read_pillow,
    "webp": read_pillow,
    "npy": read_npy,
    "dicom": read_dicom,
    "nifti": read_nifti,
}
