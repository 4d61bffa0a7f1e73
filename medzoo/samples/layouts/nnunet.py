"""``--layout nnunet``: a raw data set of nnU-Net v2, as its documentation/dataset_format.md states it.

``imagesTr/NAME_0000.png`` with ``labelsTr/NAME.png``, whose numbers follow each other from background 0, and
``dataset.json``. A picture in colour is one file of three channels; of NIfTI files each holds one channel. The name of
a channel decides how nnU-Net normalises it: none of ours is ``CT`` or ``noNorm``, so each is z-scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from medzoo.errors import SavingError
from medzoo.samples import formats
from medzoo.samples.formats import Run
from medzoo.samples.layouts._base import Layout, Record, Role, Table, without_word


def ending(role: Role, ending: str) -> str:
    return without_word(role, ending) if role == "mask" else f"_0000{ending}"


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if not masks:
        raise SavingError("layout nnunet is for segmentation, and these samples have no masks; leave out --layout")
    if run.shard is not None:
        raise SavingError("nnU-Net reads no sub-folders; leave out --shard")
    if run.format == "nifti" and shape[0] != 1:
        raise SavingError(f"nnU-Net takes one channel a NIfTI file, the samples have {shape[0]}; take --format png")


def content(run: Run, lines: Iterator[Record]) -> Iterable[bytes]:
    (suffix,) = formats.load(run.format).suffixes
    masks = run.masks or 0
    about: dict[str, Any] = {
        "channel_names": {str(k): name for k, name in enumerate(_channels(run.channels or 1))},
        "labels": {"background": 0, **{name: k for k, name in enumerate(_labels(run, masks), 1)}},
        "numTraining": sum(1 for _ in lines),
        "file_ending": suffix,
        "description": f"Synthetic images made by {run.model_id}" if run.model_id else "",
    }
    yield json.dumps(about, indent=1).encode() + b"\n"


def _labels(run: Run, masks: int) -> tuple[str, ...]:
    if run.mask_names is not None:
        return run.mask_names
    return ("mask",) if masks == 1 else tuple(f"mask_{k}" for k in range(1, masks + 1))


def _channels(channels: int) -> list[str]:
    if channels == 3:
        return ["R", "G", "B"]
    return ["grey"] if channels == 1 else [f"channel_{k}" for k in range(channels)]


LAYOUT = Layout(
    about="nnU-Net v2, as `nnUNet_raw/Dataset501_NAME`",
    folder=lambda run, record, role: "imagesTr/" if role == "image" else "labelsTr/",
    folders=lambda run: ["imagesTr/", "labelsTr/"],
    ending=ending,
    numbered=True,
    check=check,
    table=Table("dataset.json", content),
)
