"""The sub-folders of a run, as its layout and its shards say: made when a file needs them, and never a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medzoo.errors import SavingError
from medzoo.files.reading import open_regular
from medzoo.files.whole import PARTS, sync_folder, write_bytes, writing
from medzoo.samples import formats, layouts
from medzoo.samples.earlier import parsed
from medzoo.samples.formats import Run


class Tree:
    """Writes files of a run by their paths inside its folder."""

    def __init__(self, folder: Path, run: Run) -> None:
        self._folder, self._run = folder, run
        self._made = {folder}

    def write(self, name: str, content: bytes, *, again: bool) -> None:
        """Write a file whole. ``again``: one that was damaged, in whose place a folder may be. Raises OSError."""
        path = self._folder / name
        self._make(path.parent)
        if again:
            remove(path)
        write_bytes(path, content, sweep=False)

    def sync(self, records: Iterable[dict[str, Any]]) -> None:
        """Sync the names of the files of these lines to the disk. Raises OSError."""
        folders = {self._folder}
        for record in records if not formats.load(self._run.format).sharded else ():
            for name in (record["file"], record["mask_file"]):
                if name is not None:
                    folders.update(self._folder / above for above in Path(name).parents)
        for folder in sorted(folders):
            sync_folder(folder)

    def write_table(self, manifest: Path) -> None:
        """Write the file of the layout that speaks of all samples that the manifest has, if any. Raises OSError."""
        table = layouts.load(self._run.layout).table
        if table is None:
            return
        path = self._folder / table.path
        self._make(path.parent)
        with open_regular(manifest) as lines, writing(path) as file:
            records = (record for record in map(parsed, lines) if record is not None)
            file.writelines(table.content(self._run, records))

    def sweep(self) -> None:
        """Remove what a killed process was writing."""
        for folder in (self._folder, *subfolders(self._folder, self._run)):
            for path in folder.glob(PARTS):
                remove(path)

    def _make(self, folder: Path) -> None:
        if folder in self._made:  # threads may both make it, which does no harm
            return
        self._make(folder.parent)
        if folder.is_symlink():
            raise SavingError(f"{folder}: expected a folder, found a link, which may lead anywhere; remove it")
        folder.mkdir(exist_ok=True)
        self._made.add(folder)


def subfolders(folder: Path, run: Run) -> Iterator[Path]:
    """The sub-folders that are there and may hold samples of a run; links are passed over."""
    for name in dict.fromkeys(layouts.load(run.layout).folders(run)):
        at = folder / name
        if not is_inside(folder, at):
            continue
        if at != folder:
            yield at
        if run.shard is not None:
            yield from (below for below in at.iterdir() if re.fullmatch(r"\d{8,}", below.name) and is_inside(at, below))


def is_inside(folder: Path, below: Path) -> bool:
    """Whether it is a folder without a link on the way down from ``folder``."""
    way = [below, *below.parents]
    return below.is_dir() and not any(step.is_symlink() for step in way[: way.index(folder)])


def remove(path: Path) -> None:
    """Remove a file, or an empty folder in its place. Raises SavingError for a folder that holds something."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        path.rmdir()
    except OSError:
        raise SavingError(
            f"{path}: expected a file of the run, found a folder that is not empty; move it away"
        ) from None
