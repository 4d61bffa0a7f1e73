"""Samples as pictures: one of them, or all on a sheet with index and class under each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.files.png import encode_png
from medzoo.files.whole import write_bytes
from medzoo.samples import Samples
from medzoo.samples.folder import saving_errors
from medzoo.samples.formats import class_name, origin, png_words

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw


Inputs = Callable[[int], NDArray[np.float32]]

OUTLINE = (0, 255, 0)  # of masks drawn on images
TILE = 128  # pixels of the longer side of an image, to which small ones are enlarged
_BACK, _WORDS = (24, 24, 24), (150, 150, 150)
_GAP, _LINE, _LETTERS = 2, 15, 11  # pixels between tiles, of a line of words, and of its letters


def draw(
    samples: Samples,
    *,
    columns: int | None = None,
    masks: bool = True,
    size: int | None = None,
    captions: bool = True,
    inputs: Inputs | None = None,
) -> Image:
    """All samples on one sheet, row by row; see ``Samples.grid``.

    Args:
        inputs: position -> what the sample was made from, [C, (D,) H, W] in [0, 1], which is shown at its left.

    Raises ValueError.
    """
    from PIL import Image, ImageDraw

    if not len(samples):
        raise ValueError("no samples to draw")
    if (columns is not None and columns < 1) or (size is not None and size < 1):
        raise ValueError(f"columns and size must be at least 1, found {columns} and {size}")
    longest = max(samples.images.shape[2:])
    times = max(1, (size or TILE) // longest)
    shrink = min(1.0, size / longest) if size else 1.0
    tiles = [cell(samples, i, masks and samples.masks is not None, times) for i in range(len(samples))]
    if inputs is not None:
        tiles = [np.concatenate([_fitted(inputs(i), tile), tile], axis=1) for i, tile in enumerate(tiles)]
    width, height = (max(1, round(side * shrink)) for side in (tiles[0].shape[1], tiles[0].shape[0]))
    columns = min(columns or _columns(len(samples), width, height), len(samples))
    down = height + (_LINE if captions else 0)
    rows = math.ceil(len(samples) / columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (down + _GAP) + _GAP), _BACK)
    pen = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        left, top = _GAP + i % columns * (width + _GAP), _GAP + i // columns * (down + _GAP)
        picture = Image.fromarray(tile)
        sheet.paste(picture.resize((width, height), Image.Resampling.BOX) if shrink < 1 else picture, (left, top))
        if captions:
            _write(pen, (left + 2, top + height), _caption(samples, i), width - 2)
    return sheet


def write(path: Path, samples: Samples, *, size: int, inputs: Inputs | None = None) -> Path:
    """Write the sheet (``draw``) as PNG, with the words that say it is synthetic. Raises SavingError."""
    pixels = np.asarray(draw(samples, size=size, inputs=inputs))
    record = {**origin(samples, 0), "index": samples.indices.tolist()}
    with saving_errors(path.parent):
        write_bytes(path, encode_png(pixels, png_words(record)))
    return path


def cell(samples: Samples, i: int, masks: bool, times: int = 1) -> NDArray[np.uint8]:
    """One sample as RGB uint8 [H, W, 3], or [H, 2 W, 3] with its outlined copy at the right, enlarged ``times``."""
    sample = samples[i]
    shown = colour(picture(sample.uint8()[0])).repeat(times, 0).repeat(times, 1)
    if not masks:
        return shown
    assert sample.masks is not None
    outlined = shown.copy()
    for mask in sample.masks[0]:
        on = _flat(mask).astype(bool).repeat(times, 0).repeat(times, 1)
        edge = _outline(on, thickness=max(1, times * mask.shape[-1] // 128))
        outlined[:, : edge.shape[1]][edge] = OUTLINE
    return np.concatenate([shown, outlined], axis=1)


def picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [C, (D,) H, W] -> [H, W] or [H, W, 3]; other channel counts lie side by side in grey.

    Of a volume the three slices through the middle.
    """
    planes = [_flat(channel) for channel in image]
    if len(planes) == 3:
        return np.stack(planes, axis=2)
    if not planes:  # a model of masks alone
        return _flat(np.zeros(image.shape[1:], np.uint8))
    return np.ascontiguousarray(np.concatenate(planes, axis=1))


def slices(volumes: Samples, at: NDArray[np.int64]) -> Samples:
    """Slices ``at`` of each volume, one after the other, as pictures."""

    def flat(array: NDArray[Any]) -> NDArray[Any]:  # [n, C, D, H, W] -> [n * len(at), C, H, W]
        chosen = np.ascontiguousarray(array[:, :, at].swapaxes(1, 2))
        return chosen.reshape(-1, *chosen.shape[2:])

    images = flat(volumes.images)
    return Samples(images, np.arange(len(images)), masks=None if volumes.masks is None else flat(volumes.masks))


def colour(shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W] or [H, W, 3] -> [H, W, 3]."""
    return np.repeat(shown[:, :, None], 3, axis=2) if shown.ndim == 2 else shown


def _columns(n: int, width: int, height: int) -> int:
    """About as many tiles a row as rows; fewer of tiles that are wide, such as volumes beside their inputs."""
    return math.ceil(math.sqrt(n if width <= 3 * height else n * 3 * height / width))


def _fitted(image: NDArray[np.float32], tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An input image as RGB, as high as a tile."""
    from PIL import Image

    pixels = (np.clip(image, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    shown = Image.fromarray(colour(picture(pixels)))
    height = tile.shape[0]
    larger = height >= shown.height
    size = max(1, round(shown.width * height / shown.height)), height
    return np.asarray(shown.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BOX))


def _caption(samples: Samples, i: int) -> str:
    """The index of a sample, and its class."""
    record = origin(samples, i)
    name = class_name(record, samples.classes)
    return str(record["index"]) if name is None else f"{record['index']}  {name}"


def _write(pen: ImageDraw, at: tuple[int, int], words: str, width: int) -> None:
    """A faint line, cut where it does not fit; signs that the font lacks become question marks."""
    font: Any = _font()
    words = words.encode("latin-1", "replace").decode("latin-1")
    if pen.textlength(words, font) > width:
        while words and pen.textlength(words + "...", font) > width:
            words = words[:-1]
        words += "..."
    pen.text(at, words, fill=_WORDS, font=font)


def _font() -> Any:
    from PIL import ImageFont, features

    # Pillow brings both: the smooth one where it was built with FreeType, as it usually is.
    return ImageFont.load_default(_LETTERS) if features.check_module("freetype2") else ImageFont.load_default()


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """[D, H, W] -> three orthogonal slices side by side, [max(H, D), W + W + H]; [H, W] as it is."""
    if array.ndim == 2:
        return array
    depth, height, width = array.shape
    slices = (array[depth // 2], array[::-1, height // 2], array[::-1, :, width // 2])
    tallest = max(height, depth)
    return np.concatenate(
        [np.pad(cut, (((tallest - len(cut)) // 2, -((len(cut) - tallest) // 2)), (0, 0))) for cut in slices], axis=1
    )


def _outline(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """The inner rim of a mask [H, W]: its pixels with an outside pixel within ``thickness``."""
    inside = mask
    for _ in range(thickness):
        padded = np.pad(inside, 1, mode="edge")  # the border of the picture is no rim
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside
