"""One member of a zip archive, with checks of its path, its size and its ratio."""

from __future__ import annotations

import fnmatch
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from medzoo.errors import IntegrityError
from medzoo.files import cache, whole

LARGEST = 32 * 2**30  # bytes; no generator of this field comes near
LARGEST_RATIO = 100  # learned weights hardly compress; sparse zeros may, a bomb reaches 1000 and more
_CHUNK = 1 << 20


def extract_member(
    archive: Path, pattern: str, target: Path, *, size: int | None = None, largest: int = LARGEST
) -> str:
    """Write the one member whose name matches the glob ``pattern`` to ``target``; returns its name.

    The name only chooses the member: the file is always written to ``target``.

    Args:
        size: bytes that the member must have, if known.
        largest: the largest size in bytes that is unpacked.

    Raises:
        IntegrityError: no member or several match, the archive is damaged, or the member is not safe to unpack.
        DownloadError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            member = _choose(opened, pattern)
            _check(member, size, largest)
            with cache.disk_errors(target.parent):
                whole.need_space(target.parent, member.file_size)
                _copy(opened, member, target)
            return member.filename
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise IntegrityError(f"the zip archive is damaged or of an unknown form ({error})") from error


def _choose(archive: zipfile.ZipFile, pattern: str) -> zipfile.ZipInfo:
    members = [item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
    found = [item for item in members if fnmatch.fnmatchcase(item.filename, pattern)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(item.filename for item in (found or members)[:10]) or "nothing"
    count = "no member" if not found else f"{len(found)} members"
    raise IntegrityError(f"{count} of the zip archive match 'member: {pattern}' (it holds {names})")


def _check(member: zipfile.ZipInfo, size: int | None, largest: int) -> None:
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise IntegrityError(f"the member '{name}' of the zip archive points outside of it")
    # The upper half of the attributes is the Unix mode, 0 where the archive was written elsewhere.
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise IntegrityError(f"the member '{name}' of the zip archive is a link or a device, not a file")
    if member.flag_bits & 1:
        raise IntegrityError(f"the member '{name}' of the zip archive is encrypted")
    if size is not None and member.file_size != size:
        raise IntegrityError(f"the member '{name}' has {member.file_size} bytes, expected {size}")
    if member.file_size > largest or member.file_size > LARGEST_RATIO * max(member.compress_size, 10_000):
        raise IntegrityError(
            f"the member '{name}' claims {member.file_size} bytes from {member.compress_size}: not a checkpoint"
        )


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Copy, and count the bytes: an archive may declare a wrong size."""
    written = 0
    with archive.open(member) as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > member.file_size:
                raise IntegrityError(f"the member '{member.filename}' is larger than it claims")
            file.write(chunk)
    if written != member.file_size:
        raise IntegrityError(f"the member '{member.filename}' has {written} bytes, claims {member.file_size}")
