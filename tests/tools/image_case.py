"""Makers of image files as scanners, cameras, microscopes and drawing programs write them, and of broken ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

RAMP = np.linspace(0, 255, 48).astype(np.uint8)[None].repeat(32, 0)  # grey, brighter to the right
DISC = (np.hypot(*np.mgrid[-16:16, -24:24]) < 9).astype(np.uint8)  # a mask of 0 and 1


def tiff(path: Path, *pages: NDArray[Any], **tags: Any) -> Path:
    """Uncompressed pages [H, W] or [H, W, C], little endian. ``tags``: a value, or a list of one for each page.

    Known are photometric, orientation, kind (NewSubfileType) and old_kind (SubfileType).
    """
    numbers = {"kind": 254, "old_kind": 255, "photometric": 262, "orientation": 274}
    content = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for place, page in enumerate(pages):
        stated = {numbers[name]: value[place] if isinstance(value, list) else value for name, value in tags.items()}
        data, start = page.tobytes(), len(content)
        content += data + b"\0" * (len(data) % 2)
        channels = 1 if page.ndim == 2 else page.shape[2]
        bits = 8 * page.dtype.itemsize
        fields = {
            256: page.shape[1], 257: page.shape[0], 258: bits, 259: 1, 262: 2 if channels > 1 else 1, 273: start,
            277: channels, 278: page.shape[0], 279: len(data), 339: {"u": 1, "i": 2, "f": 3}[page.dtype.kind],
        } | {tag: value for tag, value in stated.items() if value is not None}  # fmt: skip
        if channels > 1:
            at = len(content)
            content += struct.pack(f"<{channels}H", *[bits] * channels)
            fields[258] = at
        content[link : link + 4] = struct.pack("<I", len(content))
        entries = b"".join(
            struct.pack("<HHI", tag, 3 if tag == 258 and channels > 1 else 4, channels if tag == 258 else 1)
            + struct.pack("<I", value)
            for tag, value in sorted(fields.items())
        )
        content += struct.pack("<H", len(fields)) + entries
        link = len(content)
        content += b"\0\0\0\0"
    path.write_bytes(content)
    return path


def dicom(path: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    """A DICOM file of [H, W] or [frames, H, W]; changes are attributes, those with the value ``...`` are taken out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    data.PatientID, data.SeriesInstanceUID = "p", "2.25.2"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    data.PixelData = changes.pop("content", pixels.tobytes() + b"\0" * (pixels.nbytes % 2))
    data["PixelData"].VR = "OB" if data.file_meta.TransferSyntaxUID.is_compressed else "OW"
    for name, value in changes.items():
        if value is ...:
            delattr(data, name)
        else:
            setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def bare_dicom(path: Path, pixels: NDArray[Any], *, implicit: bool, **changes: Any) -> Path:
    """The same without preamble and file meta information, as old archives hold."""
    data = pydicom.dcmread(dicom(path, pixels, **changes))
    del data.file_meta
    with path.open("wb") as file:
        pydicom.dcmwrite(file, data, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return path


def nifti(path: Path, array: NDArray[Any], **header: Any) -> Path:
    """A NIfTI file in the order left, back, up; ``sform`` replaces the matrix, ``slope`` and ``inter`` the scaling."""
    image = nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(header.get("slope", 1), header.get("inter", 0))
    nibabel.save(image, path)
    if "sform" in header:
        content = bytearray(path.read_bytes())
        struct.pack_into("<hh", content, 252, header.get("qcode", 0), 1)
        struct.pack_into("<12f", content, 280, *np.ravel(header["sform"]))
        path.write_bytes(content)
    return path


def extended_nifti(path: Path, size: int, *, stated: float | None = None) -> Path:
    """A packed NIfTI file whose header has an extension of so many bytes, all zeros."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352 + size if stated is None else stated
    with gzip.open(path, "wb", 1) as file:
        file.write(bytes(header.binaryblock) + b"\1\0\0\0" + struct.pack("<ii", size, 0))
        for start in range(8, size, 2**20):
            file.write(bytes(min(2**20, size - start)))
        file.write(bytes(64))
    return path


def scans(content: bytes, n: int) -> bytes:
    """A progressive JPEG whose last scan comes n times."""
    at = content.rindex(b"\xff\xda")
    return content[:at] + content[at:-2] * n + b"\xff\xd9"


def picture(path: Path, image: Image.Image | NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
