"""``--format npz``: arrays ``image`` float32 [C, (D,) H, W] in [0, 1] and ``mask`` uint8 [K, (D,) H, W], 0 and 1."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from medzoo.samples import Samples
from medzoo.samples.formats._base import Encoded, Format, Run, check_floats


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    check_floats(run, "NPZ")


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    masks = {} if samples.masks is None else {"mask": samples.masks[i]}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, image=samples.images[i], **masks)
    return Encoded((".npz", stream.getvalue()))


FORMAT = Format(suffixes=(".npz",), about="the same", check=check, encode=encode)
