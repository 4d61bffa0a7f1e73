"""Atomic writes (temporary file, fsync, rename), and disk errors in words.

A file gets its name when all of it is on the disk. A killed process leaves ``.<name>.<random>.part`` behind.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from medzoo.errors import MedzooError

PARTS = ".*.part"  # glob of temporary files, to sweep where no other process can be writing


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, even while other processes write it. Raises OSError."""
    with writing(path) as file:
        file.write(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all. Raises OSError."""
    write_bytes(path, json.dumps(content, indent=1, sort_keys=True).encode())


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write; it gets the name ``path`` at the end of the block, and is removed after an error."""
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
        put(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """A new empty temporary file beside ``path``, with the user's usual permissions (``tempfile`` hides its own)."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.touch(exist_ok=False)
    return part


def put(part: Path, path: Path) -> None:
    """Give a written temporary file its name, once its bytes are on the disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, where the system supports it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def disk_errors(
    place: Path,
    kind: type[MedzooError],
    *,
    state: Callable[[], str] = lambda: "nothing was written",
    full: str = "make room and try again",
    denied: str = "choose another folder",
) -> Iterator[None]:
    """Turn an ``OSError`` into one clear error.

    Args:
        place: the file or folder that is written.
        kind: the error to raise.
        state: what is on the disk now; called when something went wrong.
        full: what to do where the disk is full.
        denied: what to do about everything else.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if is_full(error):
            raise kind(f"no space left for {place} ({why}{_free(place)}); {state()}: {full}") from error
        raise kind(f"{place} cannot be written ({why}); {state()}: {denied}") from error


def need_space(place: Path, size: int) -> None:
    """Raise ``OSError`` (no space left) where the disk of ``place`` has less than ``size`` bytes free."""
    if shutil.disk_usage(place).free < size:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.1f} MB are needed")


def is_full(error: OSError) -> bool:
    """Whether the disk, the user's share of it or the largest possible file is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _free(place: Path) -> str:
    with suppress(OSError):
        folder = next(parent for parent in (place, *place.parents) if parent.is_dir())
        return f", {shutil.disk_usage(folder).free / 1e6:.1f} MB are free"
    return ""
