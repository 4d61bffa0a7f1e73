"""A folder that files are read from by name: never from outside of it, never more than is bearable, hashes checked."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from medzoo.errors import DatasetError, ImageFileError
from medzoo.text import first_line

SUMS = "SHA256SUMS"
MOST_BYTES = 2**30  # of a file that is read whole


def filled(path: str, **values: str | None) -> str:
    """``{split}`` or ``{id}`` of an entry replaced, and nothing else: it is no format of Python."""
    for name, value in values.items():
        path = path.replace("{" + name + "}", str(value))
    return path


class Source:
    """A folder of a dataset.

    Args:
        folder: where names start.
        sums: sha256 of each file that may be read, by name; None checks nothing.
    """

    def __init__(self, folder: Path | str, sums: Mapping[str, str] | None = None) -> None:
        self.folder, self.sums = Path(folder), sums

    def __str__(self) -> str:
        return str(self.folder)

    def path(self, name: str) -> Path:
        """Where a name of a table or an entry lies. Raises DatasetError when it leads out of the folder."""
        parts = PurePosixPath(name).parts
        if not parts or "\\" in name or "\0" in name or ".." in parts or name.startswith("/"):
            raise DatasetError(f"{self.folder}: {name!r} is no file inside this folder; write such as images/1.png")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DatasetError(f"{self.folder}: {name!r} is no name of a file; write such as images/1.png") from None
        if PureWindowsPath(name).drive:
            raise DatasetError(f"{self.folder}: {name!r} names a drive; write such as images/1.png")
        return self.folder / name

    def inside(self, name: str) -> Source:
        """A folder in this one; its files have the same hashes."""
        if name == ".":
            return self
        start = f"{PurePosixPath(name)}/"
        sums = self.sums and {
            key.removeprefix(start): digest for key, digest in self.sums.items() if key.startswith(start)
        }
        return Source(self.path(name), sums)

    def bytes(self, name: str, sha256: str | None = None) -> bytes:
        """The content of a file. ``sha256`` is expected beside what the sums say."""
        return read_bytes(self.path(name), sha256 or self._recorded(name))

    def checked(self, name: str, sha256: str | None = None) -> Path:
        """The path of a file that is read in parts, once its hash is right."""
        path, expected = self.path(name), sha256 or self._recorded(name)
        if expected is None:
            return path
        with _readable(path), path.open("rb") as file:
            compare(path, hashlib.file_digest(file, "sha256").hexdigest(), expected)
        return path

    def _recorded(self, name: str) -> str | None:
        if self.sums is None:
            return None
        key = str(PurePosixPath(name))
        if key not in self.sums:
            raise DatasetError(
                f"{self.folder / name}: not listed in {SUMS}; the folder does not belong to this dataset entry"
            )
        return self.sums[key]


def read_bytes(path: Path, sha256: str | None = None) -> bytes:
    """The content of a file, whose hash is ``sha256`` unless that is None. Raises DatasetError."""
    with _readable(path):
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # devices and pipes have no end
            raise DatasetError(f"{path}: is no file; give the name of one")
        size = about.st_size
        if size > MOST_BYTES:
            raise DatasetError(f"{path}: is {size:,} bytes long; read are files of up to {MOST_BYTES:,}")
        content = path.read_bytes()
    if sha256 is not None:
        compare(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Errors of readers become DatasetErrors that name the file."""
    try:
        yield
    except ImageFileError as error:
        raise DatasetError(str(error)) from error
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({first_line(error)})") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None


def compare(path: Path, found: str, expected: str) -> None:
    """Raises DatasetError unless two hashes are the same."""
    if found != expected:
        raise DatasetError(f"{path}: changed: sha256 {found}, expected {expected}; restore the original file")
