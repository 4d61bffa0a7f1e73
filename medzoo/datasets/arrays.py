"""Array files: .npz with images, labels and masks (MedMNIST files among them), and .npy with images alone.

Arrays are read a picture at a time, so that a file larger than the memory will do. Objects (pickles) are refused.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout, visible_files
from medzoo.datasets.pictures import Window, foreground, scaled, upright
from medzoo.datasets.source import Source, filled
from medzoo.datasets.splitting import SPLITS, check_apart
from medzoo.errors import DatasetError
from medzoo.imagefiles._picture import MOST_PIXELS
from medzoo.text import first_line

if TYPE_CHECKING:
    from medzoo.datasets.volumes import Slices

MOST_BYTES = 2**32  # of labels, of groups, and of an array whose order makes it be read whole
MOST_IMAGES = 2**24


class ArrayLayout(Layout):
    """One ``.npz`` or ``.npy`` file.

    Attributes:
        file: its name.
        images: name of the array of a split, with ``{split}``: uint8, bool or floats in [0, 1] (others need a window),
            [n, H, W], [n, H, W, C] or [n, C, H, W] with C = 1 or 3.
        labels: array of classes [n] or [n, 1]; masks: [n, H, W], [n, H, W, 1] or [n, 1, H, W]; groups: [n]. Or null.
        classes: names of the labels 0, 1, ..., or null.
        window: values that become black and white, or null.
    """

    file_kinds = frozenset({"npy", "zip"})

    kind: Literal["arrays"]
    file: str
    images: str
    labels: str | None = None
    masks: str | None = None
    groups: str | None = None
    classes: tuple[str, ...] | None = None
    window: Window | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        files = visible_files(folder)
        return len(files) == 1 and files[0].suffix == ".npz"

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> ArrayLayout:
        return inferred_layout(path if path.is_file() else _only_archive(path), split, window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        path = source.checked(self.file)
        with ExitStack() as stack:
            archive = Archive(path, stack)
            images = archive.rows(filled(self.images, split=split))
            drawn = self._rows(archive, self.masks, split, images.n)
            labels = self._few(archive, self.labels, split, images.n)
            groups = self._few(archive, self.groups, split, images.n)
            if self.groups is not None and "{split}" in self.groups:
                self._check_groups(archive, self.groups)
            mask_rows = iter(drawn) if drawn is not None else None
            for i, row in enumerate(images):
                where = f"{path}: {images.key}[{i}]"
                pixels = scaled(upright(row, where), where, self.window)
                mask = None if mask_rows is None else foreground(_one_channel(next(mask_rows), where), where)
                label = None if labels is None else labels[i]
                yield Item(
                    f"{split or 'image'}_{i:05d}",
                    where,
                    pixels,
                    mask,
                    label,
                    None if groups is None else str(groups[i]),
                )

    def _rows(self, archive: Archive, name: str | None, split: str | None, n: int) -> Rows | None:
        if name is None:
            return None
        found = archive.rows(filled(name, split=split))
        if found.n != n:
            raise DatasetError(f"{archive.path}: {found.n} {found.key} for {n} images; one is needed for each")
        return found

    def _few(self, archive: Archive, name: str | None, split: str | None, n: int) -> list[Any] | None:
        rows = self._rows(archive, name, split, n)
        return None if rows is None else rows.flat()

    def _check_groups(self, archive: Archive, name: str) -> None:
        splits = [one for one in SPLITS if filled(name, split=one) in archive.keys]
        found = ((str(group), one) for one in splits for group in archive.rows(filled(name, split=one)).flat())
        check_apart(found, str(archive.path))


def inferred_layout(path: Path, split: str | None, window: Window | None) -> ArrayLayout:
    """The layout of a user's own file, by the names of its arrays. Raises DatasetError."""
    with ExitStack() as stack:
        keys = Archive(path, stack).keys
        start = ""
        if "images" not in keys:
            start = _of_split(path, keys, split)
        elif split is not None:
            raise DatasetError(f"{path}: holds no splits, but '{split}' was asked for; leave it out")
        names = {name: f"{start}{name}" if f"{start}{name}" in keys else None for name in ("labels", "masks", "groups")}
        labels = names["labels"]
        if labels is not None and Archive(path, stack).rows(labels).many:
            labels = None  # several findings an image: no classes
    return ArrayLayout(
        kind="arrays", file=path.name, images=f"{start}images", labels=labels, masks=names["masks"],
        groups=names["groups"], window=window,
    )  # fmt: skip


def _of_split(path: Path, keys: tuple[str, ...], split: str | None) -> str:
    """``train_`` of the arrays that a MedMNIST file has for a split."""
    splits = [key.removesuffix("_images") for key in keys if key.endswith("_images")]
    if not splits:
        raise DatasetError(f"{path}: no array 'images'; it has {', '.join(keys) or 'none'}")
    if split is None:
        raise DatasetError(f"{path}: has the splits {', '.join(splits)}; say which of them (split=)")
    for name in (split, *SPLITS.get(split, ())):
        if name in splits:
            return f"{name}_"
    raise DatasetError(f"{path}: no split '{split}'; it has {', '.join(splits)}")


def _only_archive(folder: Path) -> Path:
    archives = sorted(folder.glob("*.npz"))
    if len(archives) != 1:
        raise DatasetError(f"{folder}: {len(archives)} .npz files in it; give one of them")
    return archives[0]


class Archive:
    """The arrays of a .npz file, or the one of a .npy file, which is called ``images``."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self._stack = path, stack
        self._zip: zipfile.ZipFile | None = None
        try:
            with path.open("rb") as file:
                single = file.read(6) == b"\x93NUMPY"
            if not single:
                self._zip = stack.enter_context(zipfile.ZipFile(path))
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DatasetError(f"{path}: not a readable .npz or .npy file ({error})") from None
        names = ["images.npy"] if self._zip is None else self._zip.namelist()
        self.keys = tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))

    def rows(self, key: str) -> Rows:
        """One array, opened, its header checked. Raises DatasetError."""
        if key not in self.keys:
            raise DatasetError(f"{self.path}: no array '{key}'; it has {', '.join(self.keys) or 'none'}")
        try:
            if self._zip is None:
                file: IO[bytes] = self._stack.enter_context(self.path.open("rb"))
                size = self.path.stat().st_size
            else:
                size = self._zip.getinfo(f"{key}.npy").file_size
                file = self._stack.enter_context(self._zip.open(f"{key}.npy"))
            return Rows(self.path, key, file, size)
        except (OSError, zipfile.BadZipFile, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
            raise DatasetError(f"{self.path}: array '{key}' cannot be read ({first_line(error)})") from None


class Rows:
    """The rows of one array, read one after the other.

    Attributes:
        key: its name; n: its length; many: whether a row is more than one number.
    """

    def __init__(self, path: Path, key: str, file: IO[bytes], size: int) -> None:
        self.path, self.key, self._file = path, key, file
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        self._shape, self._fortran, self._dtype = read(file)
        if self._dtype.hasobject:
            raise ValueError("it holds Python objects, which only running code could restore; save plain arrays")
        if self._dtype.kind not in "biufUS" or not self._shape:
            raise ValueError(f"it is {self._dtype} {list(self._shape)}; expected an array of numbers")
        self.n, self._row = self._shape[0], self._shape[1:]
        self.many = math.prod(self._row) != 1
        stated = math.prod(self._shape) * self._dtype.itemsize
        if stated > size - file.tell() or self.n > MOST_IMAGES:
            raise ValueError(f"its header states {list(self._shape)} of {self._dtype}, which the file does not hold")
        if self._fortran and stated > MOST_BYTES:
            raise ValueError("it is stored column by column and too large for that; save np.ascontiguousarray of it")

    def __iter__(self) -> Iterator[NDArray[Any]]:
        if math.prod(self._row) > 3 * MOST_PIXELS:  # said before it is unpacked
            raise DatasetError(
                f"{self.path}: {self.key}[0]: is {list(self._row)}; read are up to {MOST_PIXELS:,} pixels"
            )
        if self._fortran:
            whole = np.frombuffer(self._take(self.n * self._bytes()), self._dtype)
            yield from whole.reshape(self._shape[::-1]).T
            return
        for _ in range(self.n):
            yield np.frombuffer(self._take(self._bytes()), self._dtype).reshape(self._row)

    def flat(self) -> list[Any]:
        """Labels or groups: [n] or [n, 1] as whole numbers or text."""
        if self.many or self._dtype.kind == "f" or self._dtype.itemsize > 2**12:
            raise DatasetError(
                f"{self.path}: {self.key} is {self._dtype} {list(self._shape)}; expected whole numbers or text "
                f"[{self.n}] or [{self.n}, 1]"
            )
        return [row.reshape(()).item() for row in self]

    def _bytes(self) -> int:
        return math.prod(self._row) * self._dtype.itemsize

    def _take(self, size: int) -> bytes:
        try:
            content = self._file.read(size)
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise DatasetError(f"{self.path}: array '{self.key}' is damaged ({error})") from None
        if len(content) != size:
            raise DatasetError(f"{self.path}: array '{self.key}' is cut short")
        return content


def _one_channel(mask: NDArray[Any], where: str) -> NDArray[Any]:
    found = upright(mask, where)
    if found.ndim != 2:
        raise DatasetError(f"{where}: a mask of {list(mask.shape)}; expected one channel")
    return found
