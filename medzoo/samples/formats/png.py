"""``--format png``: an image of 8 or (grey only) 16 bits, and its mask.

A mask is 0 and 255. Of several that have names, it is a palette picture of their numbers, 0 outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import SavingError
from medzoo.files.png import encode_png
from medzoo.samples import Samples
from medzoo.samples.formats._base import (
    Encoded,
    Format,
    Run,
    check_picture,
    is_label_map,
    label_map,
    png_words,
    whole_numbers,
)


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if len(shape) != 3:
        raise SavingError(f"PNG holds no volumes, the samples are {list(shape)}; take --format npz or nifti")
    check_picture(run, "PNG", shape, masks)


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    words = png_words(record)
    pixels = whole_numbers(samples.images[i], run.bits)
    image = ".png", encode_png(np.moveaxis(pixels, 0, 2), words)
    if samples.masks is None:
        return Encoded(image)
    masks = samples.masks[i]
    if not is_label_map(run, masks):
        return Encoded(image, ("_mask.png", encode_png(masks[0, :, :, None] * np.uint8(255), words)))
    labels = label_map(masks)[0, :, :, None]
    return Encoded(image, ("_mask.png", encode_png(labels, words, palette=PALETTE[: len(masks) + 1])))


# Of label maps: black, then colours far apart; beyond twelve labels they repeat.
_COLOURS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (170, 110, 40),
)  # fmt: skip
PALETTE = np.array([(0, 0, 0), *(_COLOURS[k % len(_COLOURS)] for k in range(255))], np.uint8)


def labels(numbers: NDArray[np.uint8], samples: Samples, i: int, run: Run, record: dict[str, Any]) -> tuple[str, bytes]:
    return ".png", encode_png(numbers[:, :, None], png_words(record))


FORMAT = Format(
    suffixes=(".png",),
    about="pictures, grey or RGB; one mask, or a map of several that have names",
    check=check,
    encode=encode,
    labels=labels,
)
