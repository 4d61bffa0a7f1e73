"""Atomic writes (temporary file, fsync, rename), and disk errors in words.

A file gets its name when all of it is on the disk. A killed process leaves ``.<name>.<random>.part`` behind, which the
next one that writes into the folder removes: the system has dropped its lock.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from medzoo.errors import MedzooError

PARTS = ".*.part"  # glob of temporary files, to sweep where no other process can be writing
OLD = 86_400.0  # seconds since its last change after which a temporary file is nobody's, whatever wrote it


def check_local(stated: object, kind: type[MedzooError]) -> None:
    """Refuse an address where a path of this machine is expected, also after ``Path`` made ``s3:/bucket`` of it.

    Raises ``kind``.
    """
    if isinstance(stated, str | Path) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(stated)):
        scheme = str(stated).partition(":")[0]
        raise kind(
            f"'{stated}' is an address, and medzoo reads and writes files of this machine only: take a folder, and "
            f"copy it ({'aws s3 sync' if scheme == 's3' else 'rclone, for example'}), or mount the store as a folder"
        )


def write_bytes(path: Path, content: bytes, *, sweep: bool = True) -> None:
    """Write a file whole or not at all, even while other processes write it.

    Args:
        sweep: remove what killed processes left in the folder; False where so many files lie in it that a look at their
            names for each would take long.

    Raises OSError.
    """
    with writing(path, sweep=sweep) as file:
        file.write(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all. Raises OSError."""
    write_bytes(path, json.dumps(content, indent=1, sort_keys=True).encode())


@contextmanager
def writing(path: Path, *, sweep: bool = True) -> Iterator[BinaryIO]:
    """A binary file to write and read; it gets the name ``path`` at the end of the block, an error removes it."""
    if sweep:
        sweep_parts(path.parent, path.name)
    part, file = _locked_part(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":
                os.replace(part, path)  # still locked: nobody takes it for that of a killed process
        if os.name != "posix":
            os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def part_of(path: Path) -> Path:
    """A new empty temporary file beside ``path``, with the user's usual permissions (``tempfile`` hides its own)."""
    part = _part_name(path)
    part.touch(exist_ok=False)
    return part


def put(part: Path, path: Path) -> None:
    """Give a written temporary file its name, once its bytes are on the disk."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def appending(path: Path) -> BinaryIO:
    """An unbuffered file to append to; it is created if it does not exist.

    Raises OSError: it is a symbolic link, which may lead to any file, or a pipe or device.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link; remove it", str(path))
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.stat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is a pipe or a device; remove it", str(path))
    return open(handle, "ab", buffering=0)


def sweep_parts(folder: Path, name: str) -> None:
    """Remove the temporary files of ``name`` that killed processes left in a folder, and any others a day old."""
    start = f".{name}."
    with suppress(OSError):
        for part in folder.glob(PARTS):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > OLD:
                    part.unlink()
                elif part.name.startswith(start):
                    _remove_abandoned(part)


def _part_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _locked_part(path: Path) -> tuple[Path, BinaryIO]:
    """A new temporary file, open and locked as long as it is open."""
    while True:
        part = _part_name(path)
        file = part.open("xb+")  # made by this very call, so that a name is never used twice
        _lock(file)
        with suppress(OSError):
            if os.path.samestat(os.stat(file.fileno()), part.stat()):
                return part, file
        file.close()  # swept between its making and its lock


def _lock(file: IO[bytes]) -> None:
    with suppress(ImportError, OSError):  # Windows; a file system without locks
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _remove_abandoned(part: Path) -> None:
    """Remove a temporary file of ``writing`` unless a process holds it. Raises OSError: one does."""
    try:
        import fcntl
    except ImportError:  # Windows, which does not remove what is open
        part.unlink()
        return
    with part.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()  # while locked: who has just made it waits for the lock, and sees that it is gone


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
