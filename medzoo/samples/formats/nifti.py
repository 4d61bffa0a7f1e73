"""``--format nifti``: NIfTI-1 in gzip, by nibabel.

Axes of the array: columns (to the left), rows (to the back), slices (upwards), and channels where there are several. A
picture is a volume of one slice, and shows upright in a viewer that has the patient's left at the right. That is a
convention, no claim about anatomy: both form codes are 2 (aligned), not 1 (scanner). Whole numbers with a slope that
gives [0, 1]; masks 0 and 1. Spacing in millimetres where the entry states it; else 1, of unknown unit.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import SavingError
from medzoo.samples import Samples
from medzoo.samples.formats._base import Encoded, Format, Run, made_by, whole_numbers

_ALIGNED = 2


def check(run: Run, shape: tuple[int, ...], masks: int) -> None:
    if max(shape[1:], default=0) > 32767:
        raise SavingError(f"NIfTI holds up to 32767 pixels a side, the samples are {list(shape)}; take --format npz")


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    image = _file(whole_numbers(samples.images[i], run.bits), 1 / (2**run.bits - 1), run, record)
    if samples.masks is None:
        return Encoded((".nii.gz", image))
    return Encoded((".nii.gz", image), ("_mask.nii.gz", _file(samples.masks[i], 1.0, run, record)))


def _file(pixels: NDArray[Any], slope: float, run: Run, record: dict[str, Any]) -> bytes:
    """Bytes of a file of [C, (D,) H, W]."""
    import nibabel

    if pixels.ndim == 3:
        pixels = pixels[:, None]
    array = pixels.transpose(3, 2, 1, 0)
    spacing = (1.0, *(run.spacing or (1.0, 1.0, 1.0)))[-3:]  # of a picture, 1 across
    x, y, z = reversed(spacing)
    affine = np.diag([-x, -y, z, 1.0])  # world axes go to the right, to the front and upwards
    image: Any = nibabel.Nifti1Image(array[..., 0] if array.shape[3] == 1 else array, affine)
    image.set_qform(affine, _ALIGNED)
    image.set_sform(affine, _ALIGNED)
    header = image.header
    header.set_slope_inter(slope, 0)
    header.set_xyzt_units("mm" if run.spacing else "unknown")
    header["cal_max"] = 1
    header["descrip"] = made_by(record).encode("ascii", "replace")[:79]
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", json.dumps(record).encode()))
    return gzip.compress(image.to_bytes(), 6, mtime=0)


FORMAT = Format(suffixes=(".nii.gz",), about="anything", check=check, encode=encode, needs=("nibabel", "medzoo[nifti]"))
