"""Verify a file: its size, its hash, and that it is not a web page in its place."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from medzoo.errors import IntegrityError
from medzoo.files import kind as filekind
from medzoo.files import reading


def verify(
    path: Path, *, sha256: str | None, md5: str | None = None, size: int | None = None, text: bool = False
) -> str:
    """Compare a file with all that is stated about it; returns its SHA-256 in hex.

    Args:
        md5: compared only where no SHA-256 is stated: it shows damage, not intent.
        text: whether a text file is expected (which is not a web page, and not a pointer to a file).

    Raises:
        IntegrityError: it differs, or it is text (an error page, for example) where numbers were expected.
    """
    stat = path.stat()
    actual = _sha256(path, stat.st_size, stat.st_mtime_ns)
    problem = None
    if size is not None and stat.st_size != size:
        problem = f"the file has {stat.st_size} bytes, expected {size}"
    elif sha256 is not None and actual != sha256:
        problem = f"the file has sha256 {actual}, expected {sha256}"
    elif md5 is not None and sha256 is None and (found := _md5(path)) != md5:
        problem = f"the file has md5 {found}, expected {md5}"
    kind = filekind.guess(path)
    if filekind.is_page(kind) and not (text and kind == "text"):
        problem = f"{f'{problem}: it' if problem else 'the file'} is {filekind.describe(kind)}"
    if problem is not None:
        raise IntegrityError(problem)
    return actual


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    # Size and time are part of the cache's key: an unchanged file is hashed once per process.
    return reading.sha256_of(path)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
