"""Images: pictures of a folder, decoded, checked and squeezed to one size."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr")
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Images:
    """Real images of one size. Not Samples, whose files and pictures say that they are synthetic.

    Attributes:
        images: uint8 [n, C, H, W], C = 1 (grey) or 3 (RGB), 0..255.
        masks: uint8 [n, 1, H, W] of 0 and 1, or None.
        names: n file names without suffix, in the order of the images.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [n, C, H, W], found {self.images.dtype} {self.images.shape}")
        if len(self.names) != len(self.images):
            raise ValueError(f"{len(self.images)} images, but {len(self.names)} names")
        expected = (len(self.images), 1, *self.images.shape[2:])
        if self.masks is not None and self.masks.shape != expected:
            raise ValueError(f"masks must have shape {expected}, found {self.masks.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Images:
        return Images(self.images[part], None if self.masks is None else self.masks[part], self.names[part])

    def float(self) -> NDArray[np.float32]:
        """The images as float32 [n, C, H, W] in [0, 1]."""
        return self.images.astype(np.float32) / np.float32(255)


def load_folder(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    size: int,
    names: Sequence[str] | None = None,
    channels: Literal["RGB", "L"] | None = None,
    minimum: int = 1,
) -> Images:
    """Read the PNG, JPEG and TIFF files of a folder, squeezed to ``size`` x ``size``, sorted by name.

    Args:
        images: the folder; sub-folders are not entered.
        masks: folder with one mask of the same name (any suffix above) and pixel size for each image.
            0 is background; in a picture of 0..255, 128 and more is foreground; in one of 0 and 1, 1 is.
        size: height and width of the result in pixels.
        names: file names without suffix to read, in this order; None for all.
        channels: convert to RGB or grey; None takes what the files have, which must then be the same for all.
        minimum: fewest images that make sense to the caller.

    Raises:
        DatasetError: empty or missing folder, unreadable file, missing mask, mixed colour and grey, too few images.
    """
    files = _files(Path(images))
    wanted = sorted(files) if names is None else list(names)
    for name in wanted:
        if name not in files:
            raise DatasetError(f"{images}: no image is named '{name}' ({' '.join(SUFFIXES)}); check the list of names")
    if len(wanted) < minimum:
        raise DatasetError(f"{images}: at least {minimum} images are needed, found {len(wanted)}; add images")
    pairs = _paired(wanted, files, None if masks is None else Path(masks))
    return read_pairs(wanted, pairs, size=size, channels=channels, sums=None)


def resize(picture: Image, size: int) -> Image:
    """The whole picture squeezed to ``size`` x ``size`` with an antialiased bicubic filter."""
    from PIL.Image import Resampling

    return picture if picture.size == (size, size) else picture.resize((size, size), Resampling.BICUBIC)


def _files(folder: Path) -> dict[str, Path]:
    """Name without suffix -> image file."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: not a folder; give the folder that holds the images")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DatasetError(f"{folder}: {found[path.stem].name} and {path.name} share a name; remove one")
            found[path.stem] = path
    if not found:
        raise DatasetError(f"{folder}: no image found; expected files ending in {' '.join(SUFFIXES)}")
    return found


def _paired(names: Sequence[str], images: Mapping[str, Path], folder: Path | None) -> list[tuple[Path, Path | None]]:
    if folder is None:
        return [(images[name], None) for name in names]
    masks = _files(folder)
    for name in names:
        if name not in masks:
            raise DatasetError(f"{images[name]}: no mask {folder / name}.*; every image needs one of the same name")
    return [(images[name], masks[name]) for name in names]


def read_pairs(
    names: Sequence[str],
    pairs: Sequence[tuple[Path, Path | None]],
    *,
    size: int,
    channels: Literal["RGB", "L"] | None,
    sums: Mapping[Path, str] | None,
) -> Images:
    """Decode and squeeze; ``sums`` maps each path to its expected sha256, None to check nothing."""
    if size < 1:
        raise DatasetError(f"size must be a positive number of pixels, found {size}")
    images, masks = [], []
    for path, mask_path in pairs:
        picture = _open(path, sums)
        images.append(pixels(resize(picture.convert(channels or _own_mode(picture, path)), size)))
        if len(images[-1]) != len(images[0]):
            raise DatasetError(
                f"{path}: {len(images[-1])} channel(s), but {pairs[0][0].name} has {len(images[0])}; "
                "choose one with channels='RGB' or channels='L'"
            )
        if mask_path is not None:
            mask = _open(mask_path, sums)
            if mask.size != picture.size:
                raise DatasetError(f"{mask_path}: mask of {mask.size} pixels for an image of {picture.size}")
            masks.append(_binary(mask, mask_path, size))
    if not images:
        raise DatasetError("no images to read: the list of names is empty")
    return Images(np.stack(images), np.stack(masks) if masks else None, tuple(names))


def _open(path: Path, sums: Mapping[Path, str] | None) -> Image:
    """The decoded picture. Orientation tags are ignored: masks have none."""
    from PIL import Image, UnidentifiedImageError

    if sums is not None and path not in sums:
        raise DatasetError(f"{path}: not listed in {SUMS}; the folder does not belong to this dataset entry")
    content = read_bytes(path, None if sums is None else sums[path])
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable image ({error}); replace or remove it") from None
    if getattr(picture, "n_frames", 1) > 1:
        raise DatasetError(f"{path}: {picture.n_frames} frames in one file; split it into single images")  # type: ignore[attr-defined]
    return picture


def _own_mode(picture: Image, path: Path) -> Literal["RGB", "L"]:
    if picture.mode in GREY_MODES:
        return "L"
    if picture.mode in COLOUR_MODES:
        return "RGB"
    # 16-bit greys: Pillow would clip them at 255, and which window to map to 8 bits is the owner's choice.
    raise DatasetError(f"{path}: pixel mode '{picture.mode}' is not 8-bit; convert the image to 8-bit grey or RGB")


def pixels(picture: Image) -> NDArray[np.uint8]:
    """uint8 [C, H, W]."""
    array = np.asarray(picture, np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _binary(mask: Image, path: Path, size: int) -> NDArray[np.uint8]:
    """uint8 [1, size, size] of 0 and 1: area average of the foreground, at least one half."""
    from PIL.Image import Resampling, fromarray

    _own_mode(mask, path)
    grey = np.asarray(mask.convert("L"))
    foreground = grey >= (1 if grey.max() == 1 else 128)
    squeezed = fromarray(np.where(foreground, np.uint8(255), np.uint8(0))).resize((size, size), Resampling.BOX)
    return (np.asarray(squeezed)[None] >= 128).astype(np.uint8)


def read_bytes(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise DatasetError(f"{path}: changed: sha256 {found}, expected {sha256}; restore the original file")
    return content
