"""Reading a small file that somebody else may have written: a regular file, of a bounded size, as text or JSON."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from medzoo import limits


def read_bytes(path: Path, limit: str = "json_bytes") -> bytes:
    """The content of a regular file, of at most ``limits.most(limit)`` bytes.

    Raises OSError: it is not there, is a pipe or a device (which might never end), or is larger.
    """
    most = limits.most(limit)
    # Opened without waiting: a named pipe that nobody writes into would hold the program for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path}: expected a regular file, found a pipe or a device")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"{path}: more than {most:,} bytes; if you trust it, set MEDZOO_LIMIT_{limit.upper()}")
    return content


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
