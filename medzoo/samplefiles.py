"""Files that are whole or not there: written beside, fsync, renamed. And what a disk that refuses is told as."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medzoo.errors import SavingError


def write_whole(path: Path, content: bytes) -> None:
    """A file appears under its name when all of it is on the disk."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


class Shard:
    """A tar file (ustar, no dates, no owners) that grows beside its name and gets it when it is finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._file = self._part.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, members: Iterable[tuple[str, bytes]]) -> None:
        """The files of one sample: (name, content)."""
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

    def finish(self) -> None:
        """Give it its name."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, self.path)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the new names in a folder last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def saying_why(folder: Path, state: Callable[[], str] = lambda: "nothing was written") -> Iterator[None]:
    """Turns what the disk refuses into one clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SavingError(
                f"no space left for {folder} ({error.strerror}); {state()}: make room and type --resume"
            ) from error
        raise SavingError(f"{folder} cannot be written: {error.strerror or error}; {state()}") from error
