"""One frame of a DICOM file, by pydicom. Files without preamble or transfer syntax are read where that is possible."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.imagefiles import _jpeg
from medzoo.imagefiles._picture import Asked, File, Picture, check_size, chosen, missing_package, remembered, used
from medzoo.imagefiles._plane import plane_of, stated


def read_dicom(source: File, asked: Asked) -> Picture:
    """A frame, upright: turned where the file says where in the body its rows and columns go (``plane_of``)."""
    path = source.path
    header, frames = read_header(path)
    frame = chosen(path, frames, asked) if has_pixels(header) else 0
    picture = _read(path, header, frame, frames, asked)
    return replace(picture, pixels=plane_of(header, frame).turn.of(picture.pixels))


def _read(path: Path, header: Any, frame: int, frames: int, asked: Asked) -> Picture:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    syntax = header.file_meta.TransferSyntaxUID
    if not has_pixels(header):
        raise ImageFileError(f"{path}: is a DICOM file without an image")
    check_size(path, header.Rows, header.Columns)
    try:
        pixels = _decoded(path, header, frame, frames)
    except (RuntimeError, NotImplementedError) as error:
        if not syntax.is_compressed:
            raise
        raise ImageFileError(
            f"{path}: is compressed ({syntax.name}) and cannot be decoded here; if it is not damaged, type: "
            "pip install 'pylibjpeg[all]', or write it anew with dcmdjpeg or gdcmconv --raw"
        ) from error
    if pixels.shape[:2] != (header.Rows, header.Columns) or pixels.ndim != 2 + (header.SamplesPerPixel > 1):
        raise ImageFileError(
            f"{path}: a DICOM file that cannot be read: it states {'one picture' if frames == 1 else 'pictures'} of "
            f"{header.Rows} x {header.Columns} pixels, and its numbers make {list(pixels.shape)}"
        )
    if header.PhotometricInterpretation == "PALETTE COLOR":
        if asked.mask:
            return Picture(pixels, None)
        colours = apply_color_lut(pixels, header)
        return Picture(colours, (0.0, 2.0 ** header.RedPaletteColorLookupTableDescriptor[2] - 1))
    stored = header.get("BitsStored") or 8 * pixels.dtype.itemsize
    unsigned = header.get("PixelRepresentation") == 0 and stored <= 16 and pixels.dtype.kind == "u"
    full = (0.0, 2.0**stored - 1) if unsigned else None
    if header.SamplesPerPixel > 1:
        return Picture(pixels, full)
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    window = _window(header, frame)
    if header.get("ModalityLUTSequence"):
        return Picture(apply_modality_lut(pixels, header), None, inverted, window)
    share = used(pixels, stored)
    slope, intercept = _rescale(header, frame)
    values = pixels * slope + intercept
    if full is not None:
        full = (min(full[1] * slope, 0) + intercept, max(full[1] * slope, 0) + intercept)
    return Picture(values, full, inverted, window, share)


def read_header(path: Path, tags: list[str] | None = None) -> tuple[Any, int]:
    """The data set without its pixels, and how many frames the file can hold. ``tags``: only these, and what is needed.

    A file without transfer syntax is taken for little endian, explicit if its elements state what they are.

    Raises ImageFileError: pydicom is missing, a deflated or damaged file, or more frames than the file can hold.
    """
    try:
        import pydicom
    except ImportError:
        raise missing_package(path, "dicom", "pydicom") from None
    meta = pydicom.filereader.read_file_meta_info(path) if _has_preamble(path) else None
    if meta is not None and getattr(meta.get("TransferSyntaxUID"), "is_deflated", False):
        # would be unpacked whole, whatever its size
        raise ImageFileError(f"{path}: is a deflated DICOM file; write it anew with dcmconv --write-xfer-little")
    wanted = None if tags is None else [*tags, *_NEEDED]
    header: Any = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=wanted)
    if not header:
        raise ImageFileError(f"{path}: a DICOM file that cannot be read: it holds nothing")
    if "TransferSyntaxUID" not in header.file_meta:
        header.file_meta.TransferSyntaxUID = _guessed_syntax(header)
    return header, _frames(path, header)


_NEEDED = ("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation")


def has_pixels(header: Any) -> bool:
    """Whether an object is a picture at all: reports, structure sets and key objects are none."""
    return all(header.get(name) is not None for name in ("Rows", "Columns", "PhotometricInterpretation"))


@remembered(20_000)  # a run asks several times
def holds_pixels(path: Path) -> bool:
    """``has_pixels`` of a file; one that cannot be read counts as a picture, whose reader says what is wrong."""
    try:
        return has_pixels(read_header(path, [])[0])
    except Exception:  # damaged files make pydicom raise almost anything
        return True


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _guessed_syntax(header: Any) -> Any:
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = header.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little in (True, None) else ExplicitVRBigEndian


def _frames(path: Path, header: Any) -> int:
    frames = max(1, int(header.get("NumberOfFrames") or 1))
    limits.check("frames", frames, f"{path}: a DICOM file that cannot be read", ImageFileError)
    if frames > 1 and has_pixels(header):
        bits = int(header.get("BitsAllocated") or 8) * int(header.get("SamplesPerPixel") or 1)
        raw = header.Rows * header.Columns * bits / 8
        least = 8 if header.file_meta.TransferSyntaxUID.is_compressed else raw
        if frames * least > (size := path.stat().st_size):
            raise ImageFileError(
                f"{path}: a DICOM file that cannot be read: it states {frames:,} frames, which its {size:,} bytes do "
                "not hold"
            )
    return frames


def _decoded(path: Path, header: Any, frame: int, frames: int) -> NDArray[Any]:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    index = frame if frames > 1 else None
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed:
        _check_stream(path, header, frame, frames)
    known = _has_preamble(path) and "TransferSyntaxUID" in pydicom.filereader.read_file_meta_info(path)
    if known and not ("NumberOfFrames" in header and header.NumberOfFrames is None):
        return np.asarray(pixel_array(path, index=index))
    whole = pydicom.dcmread(path, force=True)
    whole.file_meta.TransferSyntaxUID = syntax
    whole.NumberOfFrames = frames  # an empty one makes pydicom warn
    return np.asarray(pixel_array(whole, index=index))


def _check_stream(path: Path, header: Any, frame: int, frames: int) -> None:
    """The picture inside has a header of its own, which decides what decoding costs."""
    from pydicom.encaps import get_frame

    content = _encapsulated(path, path.stat().st_mtime_ns) if frames > 1 else _encapsulated.__wrapped__(path, 0)
    if not content:
        return
    stream = get_frame(content, frame, number_of_frames=frames)
    _jpeg.check_scans(path, stream)
    size = _jpeg.stated_size(stream)
    if size is not None and size != (header.Rows, header.Columns):
        raise ImageFileError(
            f"{path}: a DICOM file that cannot be read: it states {header.Rows} x {header.Columns} pixels, the "
            f"compressed picture in it {size[0]} x {size[1]}"
        )


@lru_cache(maxsize=1)  # the frames of a file are asked for one after the other
def _encapsulated(path: Path, changed: int) -> bytes | None:
    """All compressed frames of a file."""
    import pydicom

    content: bytes | None = pydicom.dcmread(path, force=True, specific_tags=["PixelData"]).get("PixelData")
    return content


def _rescale(header: Any, frame: int) -> tuple[float, float]:
    """(slope, intercept) of a frame; an empty element says nothing."""
    values = stated(header, frame, "PixelValueTransformationSequence")
    slope, intercept = values.get("RescaleSlope"), values.get("RescaleIntercept")
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _window(header: Any, frame: int) -> tuple[float, float] | None:
    """Black and white of the first linear window that the file states (DICOM PS3.3, C.11.2.1.2)."""
    windows = stated(header, frame, "FrameVOILUTSequence")
    centre, width = (_first(windows.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(windows.get("VOILUTFunction") or "LINEAR").strip().upper()
    if centre is None or width is None or not np.isfinite([centre, width]).all():
        return None
    if function == "LINEAR_EXACT" and width > 0:
        return centre - width / 2, centre + width / 2
    if function == "LINEAR" and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return None  # a sigmoid has no black and white


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    if several:
        return float(value[0]) if len(value) and value[0] not in (None, "") else None
    return float(value)
