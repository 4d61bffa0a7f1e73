"""Tar files of samples (ustar, no dates, no owners) that appear whole or not at all."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

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
            member = tarfile.TarInfo(name)
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

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
