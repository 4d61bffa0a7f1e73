"""The contract of a layout: how the files of a data set lie, and how a path is recognised as such."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from medzoo.datasets.gathering import Item
from medzoo.datasets.measuring import NeedsWindow, measured
from medzoo.datasets.source import Source, naming
from medzoo.entry import Record
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind

if TYPE_CHECKING:
    from medzoo.datasets.pictures import Window
    from medzoo.datasets.volumes import Slices


class Layout(Record):
    """How the files of a data set lie. A new one is a subclass and its line in ``medzoo.datasets.layouts``.

    A subclass states ``kind: Literal["its_name"]``, as entries write it, and fields of its own.

    Attributes:
        file_kinds: what a single file of this layout is (``medzoo.files.kind``); none where it takes a folder.
        takes_masks: whether masks may lie in a folder that the caller names.
    """

    file_kinds: ClassVar[frozenset[str]] = frozenset()
    takes_masks: ClassVar[bool] = False

    kind: str

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        """One picture after the other, in a fixed order.

        Args:
            source: the folder; every file is read through it, which checks names and hashes.
            split: the split that is asked for; None for a data set without splits.
            masks: the folder of the masks, where ``takes_masks``.

        Raises DatasetError, which names the file.
        """
        raise NotImplementedError

    def usual_window(self, source: Source, split: str | None) -> Window | None:
        """Black and white where the layout states no window: decided by the numbers of all pictures together.

        None where each picture says its own, as those of 8 bits do. Raises DatasetError.
        """
        if getattr(self, "window", 0) is not None:
            return None

        def items(window: Any) -> Iterator[Item]:
            return self.model_copy(update={"window": window}).items(source, split)

        try:
            next(items(None), None)
        except NeedsWindow:
            return measured(items, str(source))
        return None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        """Whether a folder looks like this layout. Asked twice: ``deep`` may look into sub-folders as well."""
        return False

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> Self:
        """The layout of a file or folder that somebody typed. Raises DatasetError: only entries have such a layout."""
        raise DatasetError(f"{path}: this layout needs an entry of the registry; see docs/datasets.md")


def first_kind(folder: Path, kinds: frozenset[str]) -> str | None:
    """What the first file of a folder, by name, that is of one of these kinds is; None if there is none."""
    for path in visible_files(folder):
        with naming(path):
            kind = filekind.guess(path)
        if kind in kinds:
            return kind
    return None


def visible_files(folder: Path) -> list[Path]:
    """The files right in a folder, sorted, without hidden ones."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
