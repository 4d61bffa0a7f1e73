"""``--format webdataset``: tar files of many samples, members ``00000012.png``, ``.mask.png``, ``.cls``, ``.json``.

What a PNG cannot hold (volumes, other channel counts, several masks) is ``.npy`` and ``.mask.npy``. ``.cls`` is the
index of the class, where there is one; ``.json`` says where the sample comes from. ``medzoo.samples.saving`` makes the
tar.
"""

from __future__ import annotations

import json
from typing import Any

from medzoo.samples import Samples
from medzoo.samples.formats import npy, png
from medzoo.samples.formats._base import Encoded, Format, Run


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if run.bits == 16 or _is_picture(shape, masks):
        png.check(run, shape, masks)


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    masks = 0 if samples.masks is None else samples.masks.shape[1]
    files = (png if _is_picture(samples.images.shape[1:], masks) else npy).encode(samples, i, run, record)
    label = () if record["label"] is None else ((".cls", str(record["label"]).encode()),)
    others = (*label, (".json", json.dumps(record).encode()))
    # The name of a sample ends at its first dot, so that image and mask are found together.
    mask = None if files.mask is None else (files.mask[0].replace("_mask.", ".mask."), files.mask[1])
    return Encoded(files.image, mask, others)


def _is_picture(shape: tuple[int, ...], masks: int) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3) and masks <= 1


FORMAT = Format(suffixes=(".tar",), about="anything", check=check, encode=encode, sharded=True)
