"""Reading a small file that somebody else may have written: a regular file, of a bounded size, as text or JSON,
with a checksum where this program wrote it itself."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from medzoo import limits


def read_bytes(path: Path, limit: str = "json_bytes") -> bytes:
    """The content of a regular file, of at most ``limits.most(limit)`` bytes.

    Raises OSError: it is not there, is a pipe or a device (which might never end), or is larger.
    """
    most = limits.most(limit)
    with open_regular(path) as file:
        # No more than there seems to be: Python takes the memory for all that it is asked to read.
        content = file.read(min(most, max(os.stat(file.fileno()).st_size, 1 << 16)) + 1)
    if len(content) > most:
        raise OSError(f"{path}: more than {most:,} bytes; if you trust it, set MEDZOO_LIMIT_{limit.upper()}")
    return content


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading.

    Raises OSError: it is not there, or is a folder, a pipe or a device (which might never end).
    """
    # Opened without waiting: a named pipe that nobody writes into would hold the program for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.stat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path}: expected a regular file, found a folder, a pipe or a device")
    return open(handle, "rb")


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file, in hex. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expanded(stated: str | Path) -> Path:
    """A path that a person stated, with ``~`` and ``~user`` replaced.

    Raises OSError: there is no such user, or no home folder.
    """
    try:
        return Path(stated).expanduser()
    except RuntimeError:
        raise OSError(errno.ENOENT, "it names a user whose home folder is not known; state a full path") from None


def read_text(path: Path, limit: str = "json_bytes") -> str:
    """The UTF-8 text of such a file, with or without a byte order mark. Raises OSError, UnicodeDecodeError."""
    return read_bytes(path, limit).decode("utf-8-sig")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError, or ValueError where it is no JSON."""
    return parse_json(read_bytes(path))


def parse_json(text: str | bytes) -> Any:
    """JSON -> Python. Raises ValueError, also for levels that go deeper than Python follows."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists in lists, too deep to follow") from None


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record with a checksum in it, to write as JSON; ``read_sealed`` notices any later change."""
    return {**content, "checksum": _checksum(content)}


def read_sealed(path: Path) -> dict[str, Any]:
    """A record that was written ``sealed``, without its checksum.

    Raises OSError, or ValueError: it is no JSON, or is not what was written.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.pop("checksum", None) != _checksum(content):
        raise ValueError("its content is not what was written: its checksum differs")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    except RecursionError:
        raise ValueError("lists in lists, too deep to follow") from None
