"""Series of DICOM files and NIfTI volumes that lie somewhere, and a translator that gives back what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medzoo.families import FamilyConfig, Generator, Given
from medzoo.randomness import Noise
from tests.tools.image_case import dicom

IMAGE = {"kind": "image", "inputs": ["scan"], "channels": 1}
OUTPUT = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
# Of an oblique volume: columns to the right, rows to the front, slices upwards, each a little turned; RAS as NIfTI.
TILT = np.array([[1.9, -0.2, 0.3, -20.0], [0.2, 2.1, 0.1, -31.0], [-0.3, 0.0, 3.0, 12.0], [0, 0, 0, 1.0]])


class Echo(Generator):
    """Gives back its input, and a mask of its brighter half where the entry has one."""

    class Config(FamilyConfig):
        pass

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))  # a file of weights holds something

    def sample_batch(self, noise: Noise, given: Given) -> torch.Tensor:
        assert given.images is not None
        image = given.images[:, :1]
        marks = [torch.where(image > k / 4, 1.0, -1.0) for k in range(self.entry.output.masks)]
        return torch.cat([image, *marks], 1)


def ramp(shape: tuple[int, int, int] = (9, 8, 6)) -> NDArray[np.uint8]:
    """Voxels [x, y, z] that all differ from their neighbours."""
    count = int(np.prod(shape))
    return np.random.default_rng(0).permutation(np.arange(count) % 250).reshape(shape).astype(np.uint8)


def volume(path: Path, array: NDArray[Any] | None = None, affine: NDArray[np.float64] = TILT) -> Path:
    """A NIfTI file of voxels [x, y, z]."""
    image = nibabel.Nifti1Image(ramp() if array is None else array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def series(
    folder: Path,
    *,
    positions: Sequence[float] = (0, 4, 8, 12),
    patient: str = "123",
    name: str = "DOE^JANE",
    number: int = 7,
    **changes: Any,
) -> list[Path]:
    """Axial slices 5 x 6 of 16 bits, ``3000 + 10 position`` in row 2, column 3, in files whose order means nothing."""
    paths = []
    for k, z in enumerate(positions):
        pixels = (100 * np.arange(30).reshape(5, 6)).astype(np.uint16)
        pixels[2, 3] = 3000 + int(10 * z)
        stated = {
            "SOPInstanceUID": f"2.25.{patient}{number}{k}", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
            "PatientID": patient, "PatientName": name, "PatientBirthDate": "19700101",
            "StudyInstanceUID": f"2.25.9{patient}", "SeriesInstanceUID": f"2.25.8{patient}{number}",
            "SeriesNumber": number, "StudyDate": "20240102", "FrameOfReferenceUID": f"2.25.7{patient}",
            "InstanceNumber": (3 * k) % len(positions), "PixelSpacing": [2.0, 1.5], "BitsStored": 12, "HighBit": 11,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-10.0, 5.0, float(z)],
            "WindowCenter": 2048, "WindowWidth": 4096,
        } | changes  # fmt: skip
        paths.append(dicom(folder / f"IM{(7 * k) % 10}{k}", pixels, **stated))
    return paths
