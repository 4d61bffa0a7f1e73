"""``--format npy``: float32 [C, (D,) H, W] in [0, 1]; masks uint8 [K, (D,) H, W], 0 and 1, in a file of their own."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.samples import Samples
from medzoo.samples.formats._base import Encoded, Format, Run, check_floats


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    check_floats(run, "NPY")


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    image = ".npy", as_bytes(samples.images[i])
    return Encoded(image, None if samples.masks is None else ("_mask.npy", as_bytes(samples.masks[i])))


def as_bytes(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


FORMAT = Format(
    suffixes=(".npy",), about="anything, as float32 in [0, 1]; masks as 0 and 1", check=check, encode=encode
)
