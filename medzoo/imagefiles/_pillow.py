"""PNG, JPEG, TIFF, BMP, GIF and WebP by Pillow, and NumPy arrays.

Whatever gives a Pillow image (a path, content, an image that a caller opened), the same rules make pixels of it:

    orientation    as the EXIF or TIFF tag says
    pictures       the first of a multi-picture JPEG and of an APNG; of TIFF pages the full one (``_tiff``)
    polarity       min-is-white TIFF at every depth
    alpha          left out, unless all colours are the same: then alpha is the picture
    palette        colours; of a mask the indices, unless the palette is grey

Of a mask, alpha is laid on black, and is the shape where that leaves nothing.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.imagefiles import _jpeg
from medzoo.imagefiles._picture import Asked, File, Picture, check_size, chosen, full_range, used
from medzoo.imagefiles._tiff import choose_page, from_page

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = (  # a multi-picture JPEG is opened as JPEG
    "PNG",
    "JPEG",
    "TIFF",
    "BMP",
    "GIF",
    "WEBP",
)
_BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS = 258, 259, 262, (273, 324)  # TIFF tags
_MIN_IS_WHITE = 0
_DARK = 26  # a tenth of white in 8 bits


def read_pillow(source: File, asked: Asked) -> Picture:
    from PIL import Image as images

    path = source.path
    with source.open() as file, warnings.catch_warnings():
        # Pillow warns of large pictures and refuses larger ones when it opens them; the check below is stricter.
        warnings.simplefilter("ignore", images.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF and TIFF tags that nobody needs
        images.init()  # its first choice of formats lacks WebP
        with _opened(file) as image:
            check_size(path, image.height, image.width)
            if image.format == "TIFF":
                with source.open() as again:
                    page = choose_page(path, again, asked)
                if page is not None and page.place is None:  # inside the page of a thumbnail
                    check_size(path, page.height, page.width)
                    limits.check("across_bytes", path.stat().st_size, f"{path}: a page inside another", ImageFileError)
                    with source.open() as again, _opened(from_page(again.read(), page)) as inner:
                        return of_pillow(inner, asked, deep=_is_deep(inner), name=str(path))
                image.seek(0 if page is None or page.place is None else page.place)
                check_size(path, image.height, image.width)  # each page has its own
            elif image.format in ("GIF", "WEBP") and getattr(image, "is_animated", False):
                raise ImageFileError(f"{path}: several frames in one file; split it into single images")
            _check_scans(source, image)
            return of_pillow(image, asked, deep=_is_deep(image), name=str(path))


def _opened(file: BinaryIO) -> Image:
    from PIL import Image as images
    from PIL import UnidentifiedImageError

    try:
        return images.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError("not a readable image; replace or remove it") from None


def _is_deep(image: Image) -> bool:
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def of_pillow(image: Image, asked: Asked, *, deep: bool = False, name: str = "image") -> Picture:
    """A Pillow image by the rules at the top. ``deep``: Pillow cuts its 16 bits a channel to the upper eight."""
    inverted = _is_inverted(image)
    if image.format == "TIFF":  # Pillow 13 maps uncompressed ones into memory with the sides of the upright picture
        filename, image.filename = getattr(image, "filename", ""), ""  # type: ignore[attr-defined]
        image.load()
        image.filename = filename  # type: ignore[attr-defined]
    else:
        image.load()
    image = _upright(image)
    pixels = _mask(image) if asked.mask else _pixels(image)
    if deep and pixels.dtype == np.uint8 and (asked.windowed or pixels.max() < _DARK):
        raise ImageFileError(
            f"{name}: 16 bits a channel, of which the upper 8 are read where there are several channels, and these are "
            f"{'no numbers for a window' if asked.windowed else 'nearly black'}; convert it to 8-bit, or to 16-bit grey"
        )
    bits = _bits(image, pixels)
    full = full_range(pixels.dtype) if bits is None else (0.0, 2.0**bits - 1)
    return Picture(pixels, full, inverted, used=used(pixels, bits))


def _bits(image: Image, pixels: NDArray[Any]) -> int | None:
    """Bits of a number where they are fewer than those of its type: TIFF of 9 to 15 bits."""
    stated = getattr(image, "tag_v2", {}).get(_BITS)
    bits = stated[0] if isinstance(stated, tuple) and stated else stated
    return bits if pixels.dtype == np.uint16 and isinstance(bits, int) and 8 < bits < 16 else None


def _check_scans(source: File, image: Image) -> None:
    """JPEG, and JPEG inside TIFF."""
    if image.format in ("JPEG", "MPO"):
        strips = 1
    elif image.format == "TIFF" and image.tag_v2.get(_COMPRESSION) in (6, 7):  # type: ignore[attr-defined]
        tags = image.tag_v2  # type: ignore[attr-defined]
        strips = sum(int(np.size(tags.get(tag, ()))) for tag in _STRIPS)
    else:
        return
    with source.open() as file:
        _jpeg.check_scans(source.path, file.read(), strips)


def _is_inverted(image: Image) -> bool:
    """Whether white is low in the numbers that Pillow gives: it turns 1 to 8 bits of TIFF over, and no others."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or tags.get(_PHOTOMETRIC) != _MIN_IS_WHITE:
        return False
    return image.mode not in ("1", "L", "LA", "La", "P")


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # damaged EXIF makes Pillow raise almost anything; the picture is whole
        return image


def _pixels(image: Image) -> NDArray[Any]:
    """Grey of its own depth, or RGB. A palette is no grey."""
    alpha = _alpha(image)
    if alpha is not None and alpha.min() != alpha.max():
        colours = _plain(image)
        if all(low == high for low, high in _extremes(colours)):
            return alpha if colours.ndim == 2 else np.repeat(alpha[:, :, None], 3, axis=2)
        return colours
    return _plain(image)


def _plain(image: Image) -> NDArray[Any]:
    if image.mode in ("1", "LA", "La"):
        return np.asarray(image.convert("L"))
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _extremes(colours: NDArray[Any]) -> list[tuple[Any, Any]]:
    planes = colours.reshape(*colours.shape[:2], -1)
    return [(planes[..., i].min(), planes[..., i].max()) for i in range(planes.shape[2])]


def _alpha(image: Image) -> NDArray[np.uint8] | None:
    """uint8 [H, W], where an image has alpha."""
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return np.asarray(image.getchannel("A"))
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return np.asarray(image.convert("RGBA").getchannel("A"))
    return None


def _mask(image: Image) -> NDArray[Any]:
    """[H, W] of a mask, before it is cut into 0 and 1."""
    alpha = _alpha(image)
    if image.mode == "P":
        colours, indices = np.asarray(image.convert("RGB")), np.asarray(image)
        grey = bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all())
        pixels = colours[..., 0] if grey else indices
    else:
        pixels = _plain(image)
        pixels = pixels if pixels.ndim == 2 else np.asarray(image.convert("RGB").convert("L"))
    if alpha is None or alpha.min() == alpha.max() or pixels.dtype != np.uint8:
        return pixels
    if all(low == high for low, high in _extremes(_plain(image))):
        return alpha
    shown = np.where(alpha >= 128, pixels, 0).astype(np.uint8)
    return shown if shown.any() else alpha


def read_npy(source: File, asked: Asked) -> Picture:
    """[H, W], [C, H, W], [H, W, C], [D, H, W] or [C, D, H, W]; C is 1, 3 or what was asked for."""
    path = source.path
    if source.content is None:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        with source.open() as file:
            array = np.load(file, allow_pickle=False)
    if array.dtype.kind not in "biuf":
        raise ImageFileError(f"{path}: holds {array.dtype}; expected numbers")
    shape, counts = array.shape, {1, 3, asked.channels}
    if array.ndim == 4 and shape[0] in counts:
        array = array[:, chosen(path, shape[1], asked)]
    elif array.ndim == 3 and not (shape[0] in counts or shape[2] in counts):
        array = array[chosen(path, shape[0], asked)]
    if array.ndim == 3:
        array = np.moveaxis(array, 0, 2) if array.shape[0] in counts else array
    elif array.ndim != 2:
        raise ImageFileError(f"{path}: has shape {list(shape)}; expected [H, W], [C, H, W], [D, H, W] or [C, D, H, W]")
    check_size(path, *array.shape[:2])
    return Picture(np.array(array), full_range(array.dtype), used=used(array))
