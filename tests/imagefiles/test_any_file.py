"""Random headers of TIFF, DICOM, NIfTI, JPEG and others: an image or one clear error, in little time and memory."""

from __future__ import annotations

import io
import logging
import struct
import time
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from medzoo.datasets import Protocol, decode, load_path
from medzoo.errors import MedzooError
from medzoo.imagefiles import read_image, read_mask, read_volume
from tests.tools import image_case as case
from tests.tools.image_case import RAMP

SECONDS, BYTES = 20.0, 3e8  # of processor time: what is not bounded takes minutes
logging.getLogger("PIL").setLevel(logging.CRITICAL)
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Numbers at the edges of their types are what breaks arithmetic.
words = st.sampled_from([0, 1, 2, 3, 7, 8, 12, 15, 16, 31, 32, 255, 256, 2**15, 2**16 - 1]) | st.integers(0, 2**16 - 1)
longs = st.sampled_from([0, 1, 8, 2**16, 2**26, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures may be as large as they say: what is measured here is all that is taken beyond that."""
    monkeypatch.setenv("MEDZOO_LIMIT_INPUT_PIXELS", str(2**22))


def bounded(path: Path) -> None:
    """Every way of reading gives an image or an error of medzoo that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reads = (
            read_image, read_mask, read_volume, lambda path: decode(path.read_bytes(), path),
            lambda path: load_path(path.parent, Protocol(size=8), minimum=1),
        )  # fmt: skip
        for read in reads:
            tracemalloc.start()
            began = time.process_time()
            try:
                read(path)
            except MedzooError as error:
                assert path.parent.name in str(error) and " at 0x" not in str(error)
            finally:
                took, most = time.process_time() - began, tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert took < SECONDS and most < BYTES, (took, most)


TAGS = [254, 255, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 320, 322, 323, 324, 325, 330, 338, 339]
fields = st.tuples(st.sampled_from(TAGS), st.integers(0, 19), longs, longs)


@given(st.lists(fields, max_size=14), longs, st.booleans())
@some
def test_tiff(tmp_path: Path, entries: list[tuple[int, int, int, int]], following: int, little: bool) -> None:
    order = "<" if little else ">"
    head = (b"II" if little else b"MM") + struct.pack(order + "HI", 42, 8)
    body = b"".join(struct.pack(order + "HHII", *entry) for entry in sorted(entries))
    content = head + struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", following) + bytes(600)
    (tmp_path / "x.tif").write_bytes(content)
    bounded(tmp_path / "x.tif")


@given(st.sampled_from([254, 256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 339]), longs)
@some
def test_tiff_with_a_field_changed(tmp_path: Path, tag: int, value: int) -> None:
    path = case.tiff(tmp_path / "x.tif", RAMP, photometric=1, orientation=1, kind=0)
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HH", tag, 4))
    content[at + 8 : at + 12] = struct.pack("<I", value)
    path.write_bytes(content)
    bounded(path)


dicom_values = {
    "Rows": words, "Columns": words, "BitsStored": words, "BitsAllocated": st.sampled_from([1, 8, 16, 32, 64]),
    "HighBit": words, "SamplesPerPixel": words, "PixelRepresentation": st.integers(0, 3),
    "NumberOfFrames": st.none() | st.integers(-(2**31), 2**31 - 1), "PlanarConfiguration": st.integers(0, 3),
    "PhotometricInterpretation": st.sampled_from(["MONOCHROME1", "PALETTE COLOR", "YBR_FULL", "RGB", "", "\x1b]0;x"]),
    "RescaleSlope": st.none() | st.sampled_from([0, -1, 1e300, 1e-300]),
    "RescaleIntercept": st.none() | st.sampled_from([0, -1e300, 1e300]),
    "WindowCenter": st.none() | st.sampled_from([0, -1e300, [1, 2]]),
    "WindowWidth": st.none() | st.sampled_from([0, -1, 1, 1e300, [400, 2]]),
    "VOILUTFunction": st.sampled_from(["", "LINEAR", "SIGMOID", "linear_exact"]),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=dicom_values), st.booleans())
@some
@pytest.mark.filterwarnings("ignore")
def test_dicom(tmp_path: Path, changes: dict[str, Any], deep: bool) -> None:
    try:
        path = case.dicom(tmp_path / "x.dcm", RAMP.astype(np.uint16) if deep else RAMP, **changes)
    except (ValueError, OverflowError, TypeError, struct.error, AttributeError):
        return  # pydicom does not write it
    bounded(path)


@given(st.binary(max_size=300), st.booleans())
@some
def test_dicom_without_a_preamble(tmp_path: Path, content: bytes, explicit: bool) -> None:
    start = b"\x08\0\x05\0CS\x0a\0ISO_IR 100" if explicit else b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100"
    (tmp_path / "x.dcm").write_bytes(start + b"\x08\0\x08\0" + (b"CS" if explicit else b"") + content)
    bounded(tmp_path / "x.dcm")


shorts = st.sampled_from([-1, 0, 1, 2, 3, 4, 7, 8, 2**15 - 1]) | st.integers(-(2**15), 2**15 - 1)


@given(
    st.lists(shorts, min_size=8, max_size=8), shorts, shorts, st.floats(width=32), st.floats(width=32),
    st.floats(width=32), shorts, shorts, st.lists(st.floats(width=32), min_size=12, max_size=12),
)  # fmt: skip
@some
def test_nifti(
    tmp_path: Path, dim: list[int], kind: int, bits: int, offset: float, slope: float, inter: float, qform: int,
    sform: int, matrix: list[float],
) -> None:  # fmt: skip
    content = bytearray(bytes(nibabel.Nifti1Header().binaryblock) + b"\1\0\0\0" + bytes(4096))
    struct.pack_into("<8h", content, 40, *dim)
    struct.pack_into("<2h", content, 70, kind, bits)
    struct.pack_into("<3f", content, 108, offset, slope, inter)
    struct.pack_into("<2h", content, 252, qform, sform)
    struct.pack_into("<12f", content, 280, *matrix)
    content[344:348] = b"n+1\0"
    (tmp_path / "x.nii").write_bytes(content)
    bounded(tmp_path / "x.nii")


@given(st.lists(st.integers(1, 9), min_size=2, max_size=7), st.sampled_from(["u1", "i2", "u2", "f4", "f8"]), st.data())
@some
def test_nifti_of_any_shape(tmp_path: Path, shape: list[int], kind: str, data: st.DataObject) -> None:
    matrix = np.diag([*data.draw(st.permutations([1.0, -2.0, 0.5])), 1.0])[data.draw(st.permutations([0, 1, 2])) + [3]]
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    nibabel.save(nibabel.Nifti1Image(array, matrix), tmp_path / "x.nii.gz")
    bounded(tmp_path / "x.nii.gz")


def encoded(format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RAMP).save(stream, format)
    return stream.getvalue()


WHOLE = {format: encoded(format) for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")}


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
       st.floats(0.05, 1))  # fmt: skip
@some
def test_pictures_with_bytes_changed_and_cut(
    tmp_path: Path, format: str, changes: list[tuple[float, int]], cut: float
) -> None:
    content = bytearray(WHOLE[format])
    for place, value in changes:
        content[int(place**3 * len(content))] = value  # headers come first
    (tmp_path / "x.png").write_bytes(content[: max(1, int(cut * len(content)))])
    bounded(tmp_path / "x.png")


@given(
    st.dictionaries(st.sampled_from(["Rows", "Columns", "NumberOfFrames"]), words, max_size=3), st.binary(max_size=80)
)
@some
@pytest.mark.filterwarnings("ignore")
def test_a_compressed_stream_of_anything(tmp_path: Path, changes: dict[str, int], content: bytes) -> None:
    for syntax in (pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGBaseline8Bit, pydicom.uid.RLELossless):
        stream = pydicom.encaps.encapsulate([b"\xff\xd8\xff" + content + bytes(len(content) % 2)])
        bounded(case.dicom(tmp_path / "x.dcm", RAMP, syntax=syntax, content=stream, **changes))
