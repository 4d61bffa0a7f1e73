"""medzoo.files.reading: pipes, devices, large files and deep JSON end in an error, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medzoo.files import whole
from medzoo.files.reading import parse_json, read_bytes, read_json, read_sealed, read_text, sealed


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\ufeff{"ü": 1}', encoding="utf-8")
    assert read_text(path) == '{"ü": 1}'
    path.write_text('{"ü": 1}', encoding="utf-8")
    assert read_json(path) == {"ü": 1}


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="expected a regular file|directory"):
            read_bytes(path)


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_LIMIT_JSON_BYTES", "10")
    path = tmp_path / "a.json"
    path.write_bytes(b"1" * 10)
    assert read_bytes(path) == b"1" * 10
    path.write_bytes(b"1" * 11)
    with pytest.raises(OSError, match="more than 10 bytes.*MEDZOO_LIMIT_JSON_BYTES"):
        read_bytes(path)


def test_json_too_deep_is_no_crash() -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_json("[" * 200_000)


def test_a_sealed_record_notices_any_change(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole.write_json(path, sealed({"sha256": "f", "n": [1, None]}))
    assert read_sealed(path) == {"sha256": "f", "n": [1, None]}
    text = path.read_text()
    for changed in (text.replace("1,", "2,"), text.replace("null", "0"), '{"n": 1}', "[]", "null", '{"a":' * 200_000):
        path.write_text(changed)
        with pytest.raises(ValueError):
            read_sealed(path)
