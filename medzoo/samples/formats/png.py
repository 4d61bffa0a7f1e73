"""``--format png``: an image of 8 or (grey only) 16 bits, and its mask with 0 and 255."""

from __future__ import annotations

from typing import Any

import numpy as np

from medzoo.errors import SavingError
from medzoo.files.png import encode_png
from medzoo.samples import Samples
from medzoo.samples.formats._base import Encoded, Format, Run, check_picture, png_words, whole_numbers


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
    return Encoded(image, ("_mask.png", encode_png(samples.masks[i, 0, :, :, None] * np.uint8(255), words)))


FORMAT = Format(suffixes=(".png",), about="pictures, grey or RGB, one mask", check=check, encode=encode)
