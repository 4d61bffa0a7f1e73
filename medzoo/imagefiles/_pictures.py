"""PNG, JPEG and TIFF by Pillow, and NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError
from medzoo.imagefiles._picture import Picture, check_size, chosen, full_range

if TYPE_CHECKING:
    from PIL.Image import Image


def read_pillow(path: Path, slice: int | None, channels: int | None) -> Picture:
    from PIL import Image as images
    from PIL import ImageOps

    # Pillow warns of large pictures and refuses larger ones when it opens them; the check below is stricter.
    with images.open(path, formats=("PNG", "JPEG", "TIFF")) as image:
        check_size(path, image.height, image.width)
        if image.format == "TIFF":
            image.seek(chosen(path, int(image.n_frames), slice))  # type: ignore[attr-defined]
            check_size(path, image.height, image.width)  # each page has its own
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(grey_or_rgb(upright))
    return Picture(pixels, full_range(pixels.dtype))


def grey_or_rgb(image: Image) -> Image:
    """A Pillow image without palette and alpha: grey of its own depth, or RGB. A palette is no grey."""
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return image
    return image.convert("RGB")


def read_npy(path: Path, slice: int | None, channels: int | None) -> Picture:
    """[H, W], [C, H, W], [H, W, C], [D, H, W] or [C, D, H, W]; C is 1, 3 or what was asked for."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "biuf":
        raise ImageFileError(f"{path}: holds {array.dtype}; expected numbers")
    shape, counts = array.shape, {1, 3, channels}
    if array.ndim == 4 and shape[0] in counts:
        array = array[:, chosen(path, shape[1], slice)]
    elif array.ndim == 3 and not (shape[0] in counts or shape[2] in counts):
        array = array[chosen(path, shape[0], slice)]
    if array.ndim == 3:
        array = np.moveaxis(array, 0, 2) if array.shape[0] in counts else array
    elif array.ndim != 2:
        raise ImageFileError(f"{path}: has shape {list(shape)}; expected [H, W], [C, H, W], [D, H, W] or [C, D, H, W]")
    check_size(path, *array.shape[:2])
    return Picture(np.array(array), full_range(array.dtype))
