"""The image protocol: how pictures of any size become arrays of one size. Distances depend on all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medzoo.entry import Record
from medzoo.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["RGB", "L"]
BAND = 64  # images converted at a time: the working memory


class Protocol(Record):
    """How a picture is brought to one size. Pixels stay uint8, 0..255, at every step.

    Attributes:
        size: height and width of the result in pixels.
        channels: ``L`` makes grey of colour (ITU-R BT.601 luma), ``RGB`` repeats grey; null takes what the files have,
            which must then be the same for all. Converted before it is resized.
        fit: ``squeeze``: the whole picture, its aspect ratio not kept; nothing is cut off.
        resize: Pillow's filter. Pictures of the right size are left alone. Masks: always the box filter (area
            average), then at least one half.
        antialias: whether the filter averages over all pixels that a smaller picture stands for. Pillow's do when they
            shrink, but nearest, which cannot: the two settings have to agree, so that a record of them tells the truth.
    """

    size: Annotated[int, Field(ge=1, le=8192)]
    channels: Mode | None = None
    fit: Literal["squeeze"] = "squeeze"
    resize: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic"
    antialias: bool = True

    @model_validator(mode="after")
    def _true(self) -> Protocol:
        if self.antialias and self.resize == "nearest":
            raise ValueError("resize 'nearest' takes single pixels; state antialias: false")
        if not self.antialias and self.resize != "nearest":
            raise ValueError(
                f"Pillow's '{self.resize}' averages when it shrinks; state antialias: true, or resize: nearest"
            )
        return self


def squeeze(pixels: NDArray[np.uint8], protocol: Protocol) -> NDArray[np.uint8]:
    """One picture uint8 [H, W] or [H, W, 3] -> uint8 [C, size, size]."""
    from PIL.Image import fromarray

    picture = fromarray(np.ascontiguousarray(pixels))
    array = np.asarray(_resized(_converted(picture, protocol.channels), protocol.size, protocol.resize))
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def squeeze_mask(mask: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """One mask [H, W], 0 or False outside -> uint8 [1, size, size] of 0 and 1."""
    from PIL.Image import fromarray

    squeezed = _resized(fromarray(np.where(mask, np.uint8(255), np.uint8(0))), size, "box")
    return (np.asarray(squeezed)[None] >= 128).astype(np.uint8)


def fit(
    images: NDArray[Any], masks: NDArray[Any] | None, protocol: Protocol, *, band: int = BAND
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """A protocol applied to arrays in memory: the same pixels as saving them as 8-bit PNG and reading the files.

    Args:
        images: uint8 [n, C, H, W], or floats in [0, 1], which become floor(255 x + 1/2) first; C is 1 or 3.
        masks: [n, K, H, W] of 0 and 1 (or False and True), or None.
        band: images converted at a time.

    Returns:
        uint8 [n, C', size, size] and uint8 [n, K, size, size] or None; the arrays themselves where nothing is to do.

    Raises:
        DatasetError: another type, shape or range, or not a number.
    """
    _check(images, masks)
    mode = protocol.channels or ("RGB" if images.shape[1] == 3 else "L")
    same = images.shape[2:] == (protocol.size, protocol.size)
    if not (same and images.dtype == np.uint8 and images.shape[1] == (3 if mode == "RGB" else 1)):
        images = _fitted(images, protocol.model_copy(update={"channels": mode}), band)
    if masks is None:
        return images, None
    if same and masks.dtype == np.uint8:
        return images, masks
    flat = (mask for stack in masks for mask in stack)
    fitted = np.empty((*masks.shape[:2], protocol.size, protocol.size), np.uint8)
    for place, mask in zip(fitted.reshape(-1, 1, protocol.size, protocol.size), flat, strict=True):
        place[:] = squeeze_mask(mask, protocol.size)
    return images, fitted


def as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Floats in [0, 1] -> floor(255 x + 1/2), as the files of samples are written."""
    return (image.astype(np.float32, copy=False) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _fitted(images: NDArray[Any], protocol: Protocol, size: int) -> NDArray[np.uint8]:
    found = np.empty((len(images), 3 if protocol.channels == "RGB" else 1, protocol.size, protocol.size), np.uint8)
    for start in range(0, len(images), size):
        band = images[start : start + size]
        if band.dtype != np.uint8:
            if not (band.min() >= 0 and band.max() <= 1):  # not a number compares false
                raise DatasetError(f"images must lie in [0, 1], found [{band.min()}, {band.max()}]")
            band = as_uint8(band)
        for place, one in zip(found[start:], band, strict=False):
            place[:] = squeeze(one[0] if len(one) == 1 else one.transpose(1, 2, 0), protocol)
    return found


def _check(images: NDArray[Any], masks: NDArray[Any] | None) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise DatasetError(f"images must be [n, C, H, W] with 1 or 3 channels, found {list(images.shape)}")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise DatasetError(f"images must be uint8 or floats in [0, 1], found {images.dtype}")
    if masks is None:
        return
    if masks.ndim != 4 or len(masks) != len(images) or masks.shape[2:] != images.shape[2:]:
        raise DatasetError(f"masks of {list(masks.shape)} do not lie on images of {list(images.shape)}")
    if masks.size and masks.dtype.kind != "b" and not set(np.unique(masks)) <= {0, 1}:
        raise DatasetError(f"masks hold 0 and 1, found {masks.min()} to {masks.max()}")


def _converted(picture: Image, mode: Mode | None) -> Image:
    return picture if mode in (None, picture.mode) else picture.convert(mode)


def _resized(picture: Image, size: int, name: str) -> Image:
    from PIL.Image import Resampling

    return picture if picture.size == (size, size) else picture.resize((size, size), Resampling[name.upper()])
