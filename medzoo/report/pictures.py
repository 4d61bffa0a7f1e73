"""Pictures inside the page: small files as data links, and outlines of masks as paths that can be switched off."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medzoo.files.png import encode_png

LARGEST = 128  # pixels of the longer side; larger pictures are averaged down to at most this
_LOSSLESS = 6_000  # bytes up to which a picture stays a PNG
_QUALITY = 90


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures of one contender: picture i of every strip has the same seed and index.

    Attributes:
        images: uint8 [k, C, H, W]; of C channels that are not 3, the first is shown.
        masks: uint8 [k, 1, H, W] of 0 and 1, or None.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """A generated image and the training image nearest to it.

    Attributes:
        fake, training: uint8 [C, H, W].
        distance: as the memorisation scores measure it.
        mirrored: it is the mirror image of the training image that is near.
    """

    fake: NDArray[np.uint8]
    training: NDArray[np.uint8]
    distance: float
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a page shows beside numbers; every part may be missing.

    Attributes:
        strips: by id of the contender (reference points may have one).
        pairs: by id of the contender, nearest first. They hold real images.
        real: real images, for comparison.
        space: what the distances of pairs are measured in ("efficientnet_lite0 features").
    """

    strips: Mapping[str, Strip] = field(default_factory=dict)
    pairs: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    real: Strip | None = None
    space: str | None = None


def data_link(image: NDArray[np.uint8], words: str) -> tuple[str, int, int]:
    """uint8 [C, H, W] -> (``data:`` link of a PNG or, where that is not small, a JPEG; width; height).

    ``words`` go into the file ("Synthetic image"): it may be dragged out of the page.
    """
    pixels = _small(image.transpose(1, 2, 0) if len(image) == 3 else image[0][:, :, None])
    height, width = pixels.shape[:2]
    data, kind = encode_png(pixels, {"Comment": words}), "png"
    if len(data) > _LOSSLESS:
        data, kind = _jpeg(pixels, words), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}", width, height


def outline(mask: NDArray[np.uint8]) -> str:
    """The edge of a mask [H, W] as an SVG path in its pixels: runs along rows, then along columns; "" if it is empty.

    The border of the picture is no edge.
    """
    inside = mask != 0
    across = inside[1:] != inside[:-1]  # edge below row y
    down = (inside[:, 1:] != inside[:, :-1]).T
    runs = [f"M{begin} {y + 1}H{end}" for y, begin, end in _runs(across)]
    runs += [f"M{x + 1} {begin}V{end}" for x, begin, end in _runs(down)]
    return "".join(runs)


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(row, begin, end) of each run of True in [rows, n]."""
    change = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    begins, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    return [(int(a[0]), int(a[1]), int(b[1])) for a, b in zip(begins, ends, strict=True)]


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, C] averaged down to at most LARGEST pixels."""
    from PIL import Image

    height, width, channels = pixels.shape
    if max(height, width) <= LARGEST:
        return np.ascontiguousarray(pixels)
    scale = LARGEST / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    picture = Image.fromarray(np.ascontiguousarray(pixels if channels == 3 else pixels[:, :, 0]))
    return np.asarray(picture.resize(size, Image.Resampling.BOX)).reshape(size[1], size[0], channels)


def _jpeg(pixels: NDArray[np.uint8], words: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    picture.save(stream, "JPEG", quality=_QUALITY, subsampling=0, optimize=True, comment=words.encode())
    return stream.getvalue()
