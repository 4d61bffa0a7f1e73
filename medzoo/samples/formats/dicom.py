"""``--format dicom``: secondary captures, uncompressed, by pydicom.

Secondary Capture says what these are: images that no modality acquired (conversion type SYN). The objects of a
modality (mammography, CT, MR, ...) demand acquisition parameters that would have to be invented. Pictures are
Secondary Capture Images, volumes Multi-frame Grayscale Byte, Grayscale Word or True Color Secondary Captures. Masks
(0 and 255) are a second series with the frame of reference of the first, each of them pointing at its image; or
segmentation objects (``_seg``).

What was made from a file that says where its pixels lie, lies there too: a volume is a series of Secondary Capture
Images, one a slice, with position, orientation and the frame of reference of the input, and each points at what it was
made from. Each patient and each study of the inputs becomes one of its own, or stays what it is (``keep_patient``).

A run is one study otherwise; all identifiers are hashes under 2.25, of the model, revision, weights and seed, and of a
single object also of its index and pixels. No dates: the types that must be there are empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medzoo.errors import SavingError
from medzoo.samples import Samples
from medzoo.samples.formats import _seg
from medzoo.samples.formats._base import (
    Encoded,
    Format,
    Run,
    check_picture,
    is_label_map,
    label_map,
    whole_numbers,
)
from medzoo.samples.formats._capture import Capture, as_bytes, pointer

if TYPE_CHECKING:
    from pydicom import Dataset


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if run.model_id is None:
        raise SavingError("DICOM is written of samples that a model made, these have no model_id; take another format")
    check_picture(run, "DICOM", shape, masks if run.mask_kind == "capture" else min(masks, 1))
    if max(shape) > 65535:
        raise SavingError(f"DICOM holds up to 65535 pixels a side, the samples are {list(shape)}; take --format npz")
    if run.mask_kind == "seg":
        _seg.check(masks)


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    lie = None if samples.provenance is None else samples.provenance[i]
    capture = Capture(run, record, lie, usual_spacing=samples.spacing)
    pixels = whole_numbers(samples.images[i], run.bits)
    images = capture.objects(pixels, "image")
    masks: list[Dataset] = []
    if samples.masks is not None and run.mask_kind == "seg":
        masks = [_seg.segmentation(images, samples.masks[i], run, record, capture)]
    elif samples.masks is not None:
        drawn = samples.masks[i]
        if is_label_map(run, drawn):
            drawn, step = label_map(drawn), 255 // len(drawn)  # as far apart as a viewer can show them
        else:
            step = 255
        masks = capture.objects(drawn * np.uint8(step), "mask")
        for mask, image in zip(masks, images, strict=True):
            mask.ReferencedImageSequence = [pointer(image)]
    names = [""] if len(images) == 1 else [f"_{k:04d}" for k in range(1, len(images) + 1)]
    ends = ["_mask.dcm"] if len(masks) == 1 else [f"{name}_mask.dcm" for name in names]
    files = [(f"{name}.dcm", as_bytes(image)) for name, image in zip(names, images, strict=True)]
    drawings = [(name, as_bytes(mask)) for name, mask in zip(ends, masks, strict=False)]
    return Encoded(files[0], drawings[0] if drawings else None, (*files[1:], *drawings[1:]))


FORMAT = Format(
    suffixes=(".dcm",),
    about="pictures and volumes, grey or RGB; one mask, or several that have names",
    check=check,
    encode=encode,
    needs=("pydicom", "medzoo[dicom]"),
)
