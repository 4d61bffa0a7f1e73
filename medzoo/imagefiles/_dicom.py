"""One frame of a DICOM file, by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medzoo.errors import ImageFileError
from medzoo.imagefiles._picture import Picture, check_size, chosen, missing_package


def read_dicom(path: Path, slice: int | None, channels: int | None) -> Picture:
    try:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError:
        raise missing_package(path, "dicom", "pydicom") from None
    syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    if syntax.is_deflated:  # would be unpacked whole, whatever its size
        raise ImageFileError(f"{path}: is a deflated DICOM file; write it anew with dcmconv --write-xfer-little")
    header = pydicom.dcmread(path, stop_before_pixels=True)
    if not {"Rows", "Columns", "PhotometricInterpretation"} <= set(header.dir()):
        raise ImageFileError(f"{path}: is a DICOM file without an image")
    check_size(path, header.Rows, header.Columns)
    frames = int(header.get("NumberOfFrames") or 1)
    frame = chosen(path, frames, slice)
    try:
        pixels = pixel_array(path, index=frame if frames > 1 else None)
    except (RuntimeError, NotImplementedError) as error:
        if not syntax.is_compressed:
            raise
        raise ImageFileError(
            f"{path}: is compressed ({syntax.name}) and cannot be decoded here; if it is not damaged, type: "
            "pip install 'pylibjpeg[all]', or write it anew with dcmdjpeg or gdcmconv --raw"
        ) from error
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(pixels, header)
        return Picture(colours, (0.0, 2.0 ** header.RedPaletteColorLookupTableDescriptor[2] - 1))
    full = (0.0, 2.0**header.BitsStored - 1) if header.PixelRepresentation == 0 and header.BitsStored <= 16 else None
    if header.SamplesPerPixel > 1:
        return Picture(pixels, full)
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    if "ModalityLUTSequence" in header:
        return Picture(apply_modality_lut(pixels, header), None, inverted)
    slope, intercept = _rescale(header, frame)
    pixels = pixels * slope + intercept
    if full is not None:
        full = (min(full[1] * slope, 0) + intercept, max(full[1] * slope, 0) + intercept)
    return Picture(pixels, full, inverted)


def _rescale(header: Any, frame: int) -> tuple[float, float]:
    """(slope, intercept) of a frame; enhanced objects state them for each frame or for all."""
    stated = header
    for groups, at in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        sequence = header.get(groups)
        if sequence and len(sequence) > at and "PixelValueTransformationSequence" in sequence[at]:
            stated = sequence[at].PixelValueTransformationSequence[0]
            break
    return float(stated.get("RescaleSlope", 1)), float(stated.get("RescaleIntercept", 0))
