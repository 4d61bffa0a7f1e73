"""Tar files of samples (ustar, no dates, no owners) that appear whole or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from medzoo.files.reading import open_regular, sha256_of
from medzoo.files.whole import part_of, put


class Shard:
    """A tar file that grows beside its name and gets it when it is finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = part_of(path)
        self._file = self._part.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, members: Iterable[tuple[str, bytes]]) -> None:
        """The files of one sample: (name, content)."""
        for name, content in members:
            _add(self._tar, name, len(content), io.BytesIO(content))

    def finish(self) -> None:
        """Give it its name."""
        self._tar.close()
        self._file.close()
        put(self._part, self.path)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


def hashes(path: Path) -> dict[str, str]:
    """Name -> SHA-256 of each member of a shard.

    Raises OSError, ValueError or tarfile.TarError: it is not, byte for byte, what ``Shard`` writes about these members.
    """
    found: dict[str, str] = {}
    again: Any = _Digest()
    with (
        open_regular(path) as file,
        tarfile.open(fileobj=file, mode="r:") as tar,
        tarfile.open(fileobj=again, mode="w", format=tarfile.USTAR_FORMAT) as copy,
    ):
        for member in tar:
            content = tar.extractfile(member)
            if content is None or member.name in found:
                raise ValueError(f"{member.name}: no file, or there twice")
            data = _Hashed(content)
            _add(copy, member.name, member.size, data)  # type: ignore[arg-type]
            found[member.name] = data.digest.hexdigest()
    if again.digest.hexdigest() != sha256_of(path):
        raise ValueError("it holds something else as well")
    return found


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, content)


class _Digest:
    """A file that keeps the hash of what is written, and nothing else."""

    def __init__(self) -> None:
        self.digest, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size


class _Hashed:
    """A file to read that hashes what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
