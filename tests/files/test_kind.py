"""The kind of a file comes from its content, whatever its name."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from pathlib import Path
from typing import get_args

import pytest

from medzoo.files import kind


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return stream.getvalue()


NIFTI = bytes(344) + b"n+1\0"
CASES = {
    "empty": b"",
    "html": b"\n <!DOCTYPE html><title>404</title>",
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "text": b"Too many requests",
    "pickle": pickle.dumps({"a": 1}, protocol=2),
    "torch": zipped("archive/data.pkl", "archive/data/0"),
    "torchscript": zipped("archive/data.pkl", "archive/constants.pkl"),
    "torch-legacy": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02",
    "zip": zipped("a.txt"),
    "broken-zip": zipped("a.txt")[:20],
    "safetensors": (2).to_bytes(8, "little") + b"{}",
    "tar": b"\0" * 257 + b"ustar\0",
    "png": b"\x89PNG\r\n\x1a\n\0",
    "jpeg": b"\xff\xd8\xff\xe0",
    "tiff": b"II*\0\x08\0\0\0",
    "bmp": b"BM\x46\x04\0\0\0\0\0\0\x36\x04\0\0\x28\0\0\0",
    "gif": b"GIF89a\x01\0",
    "webp": b"RIFF\x1a\0\0\0WEBPVP8L",
    "dicom": bytes(128) + b"DICM",
    "nifti": NIFTI,
    "npy": b"\x93NUMPY\x01\0",
    "unknown": b"\x00\x01\x02\x03",
}


@pytest.mark.parametrize("expected", CASES)
def test_kinds(expected: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(CASES[expected])
    assert kind.guess(tmp_path / "model.pt") == expected


def test_nifti_is_recognised_inside_gzip(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(gzip.compress(NIFTI))
    assert kind.guess(tmp_path / "x.bin") == "nifti"


def test_dicom_without_its_preamble_and_what_looks_like_it(tmp_path: Path) -> None:
    implicit = b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100\x08\0\x08\0\x04\0\0\0"
    explicit = b"\x02\0\0\0UL\x04\0\xb8\0\0\0\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
    safetensors = (8 + (5 << 16)).to_bytes(8, "little") + b'{"a": {}}'
    for content, expected in ((implicit, "dicom"), (explicit, "dicom"), (safetensors, "safetensors")):
        (tmp_path / "x").write_bytes(content)
        assert kind.guess(tmp_path / "x") == kind.guess_content(content) == expected


def test_every_kind_is_tried_and_has_words() -> None:
    assert set(CASES) == set(get_args(kind.Kind))
    assert all(kind.describe(each) for each in get_args(kind.Kind))
