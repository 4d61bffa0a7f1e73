"""Picture files that a table names: a CSV file of a dataset entry, and the metadata of Hugging Face image folders."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout
from medzoo.datasets.pictures import Window, decode, decode_mask
from medzoo.datasets.source import Source, filled
from medzoo.datasets.splitting import ByGroup, Rule, check_apart, filtered, usual_split
from medzoo.entry import Sha256
from medzoo.errors import DatasetError
from medzoo.files.reading import parse_json

if TYPE_CHECKING:
    from medzoo.datasets.volumes import Slices

Row = Mapping[str, Any]
METADATA = ("metadata.jsonl", "metadata.csv")
_MASKS = ("mask_file_name", "mask")  # columns, in the order in which they are looked for
_LABELS = ("label", "class")
_GROUPS = ("patient_id", "patient", "group")


class FolderLayout(Layout):
    """One file an image, and a CSV table that assigns each to a split.

    Attributes:
        table: the CSV file (with a header line).
        table_sha256: its hash, kept apart because the table decides the split.
        id: its column of image names.
        split: its column of split names, or a rule.
        images: path of an image, with ``{id}`` for the name; ``masks`` likewise, or null.
        label: its column of classes, or null.
        classes: what the labels 0, 1, ... are in that column; null for all found, sorted.
        group: its column of what images share (patient, slide): no group may be in two splits. Or null.
    """

    kind: Literal["folder"]
    table: str
    table_sha256: Sha256
    id: str
    split: str | Rule
    images: str
    masks: str | None
    label: str | None = None
    classes: tuple[str, ...] | None = None
    group: str | None = None

    @field_validator("images", "masks")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None and (set(filled(value, id="")) & set("{}")):
            raise ValueError(
                f"'{value}': expected a path with {{id}} for the name of the image, such as images/{{id}}.png"
            )
        return value

    @model_validator(mode="after")
    def _grouped(self) -> FolderLayout:
        if isinstance(self.split, ByGroup) and self.group is None:
            raise ValueError("a split by group needs the group column")
        return self

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        """In the order of the names, which is the order that blocks are cut in."""
        where = str(source.path(self.table))
        rows = _csv_rows(source.bytes(self.table, self.table_sha256), where)
        self._check(rows, where)
        rows.sort(key=lambda row: row[self.id])
        if isinstance(self.split, str):
            column = self.split
            rows = [row for row in rows if row[column] == split]
        found = (self._item(source, row) for row in rows)
        return found if isinstance(self.split, str) else filtered(found, self.split, split, str(source))

    def _check(self, rows: list[Row], where: str) -> None:
        columns = [self.id, self.label, self.group, self.split if isinstance(self.split, str) else None]
        for column in columns:
            if column is not None and any(row.get(column) is None for row in rows):
                raise DatasetError(f"{where}: a row has no column '{column}'")
        if self.group is not None and isinstance(self.split, str):
            check_apart(((row[self.group], row[self.split]) for row in rows), where)

    def _item(self, source: Source, row: Row) -> Item:
        name = row[self.id]
        masks = None if self.masks is None else filled(self.masks, id=name)
        return _read(source, name, filled(self.images, id=name), masks, _cell(row, self.label), _cell(row, self.group))


class MetadataLayout(Layout):
    """A folder with ``metadata.jsonl`` or ``metadata.csv`` as the Hugging Face library ``datasets`` reads it.

    Attributes:
        folder: holds the metadata, with ``{split}`` for the name of a split. File names start there.
        file: name of the metadata file; null for the one that is there.
        image, mask, label, group, split: columns. Null for the first that is there of: mask_file_name, mask; label,
            class; patient_id, patient, group; split.
        classes: what the labels 0, 1, ... are in that column; null for all found, sorted.
    """

    kind: Literal["metadata"]
    folder: str = "."
    file: str | None = None
    image: str = "file_name"
    mask: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = None
    classes: tuple[str, ...] | None = None
    window: Window | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return any((folder / name).is_file() for name in (*METADATA, "metadata.parquet"))

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> MetadataLayout:
        return cls(kind="metadata", window=window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        below = source.inside(filled(self.folder, split=split))
        name = self.file or metadata_file(below)
        where, rows = str(below.path(name)), _metadata_rows(below, name)
        columns = set().union(*rows) if rows else set()
        mask, label, group, part = (
            stated if stated is not None else next((one for one in usual if one in columns), None)
            for stated, usual in (
                (self.mask, _MASKS), (self.label, _LABELS), (self.group, _GROUPS), (self.split, ("split",))
            )
        )  # fmt: skip
        if part is not None and "{split}" not in self.folder:
            rows = _of_split(rows, part, split, where)
            if group is not None:
                check_apart(((str(row.get(group)), str(row.get(part))) for row in _metadata_rows(below, name)), where)
        seen: set[str] = set()
        for at, row in enumerate(rows, 1):
            image = row.get(self.image)
            if not isinstance(image, str) or not image:
                raise DatasetError(f"{where}: record {at} has no '{self.image}'; every one needs the name of its image")
            if image in seen:
                raise DatasetError(f"{where}: record {at}: {image} is listed twice, and would count as two; remove one")
            seen.add(image)
            of_mask = None if mask is None else row.get(mask)
            if mask is not None and not (isinstance(of_mask, str) and of_mask):
                raise DatasetError(f"{where}: record {at} ({image}) has no '{mask}'; every one needs a mask, or none")
            below.path(image)  # it is a name at all
            stem = str(PurePosixPath(image).with_suffix(""))
            yield _read(below, stem, image, of_mask, _cell(row, label), _cell(row, group), self.window)


def metadata_file(source: Source) -> str:
    """Name of the metadata file of a folder. Raises DatasetError when there is none that is read."""
    for name in METADATA:
        if (source.folder / name).is_file():
            return name
    if (source.folder / "metadata.parquet").is_file():
        raise DatasetError(f"{source}: metadata.parquet is not read; write it as metadata.jsonl or metadata.csv")
    raise DatasetError(f"{source}: no {' or '.join(METADATA)} in it")


def _of_split(rows: list[Row], column: str, split: str | None, where: str) -> list[Row]:
    found = sorted({str(row.get(column)) for row in rows})
    if split is None:
        raise DatasetError(f"{where}: has the splits {', '.join(found)}; say which of them (split=)")
    usual = usual_split(split)
    chosen = [
        row for row in rows
        if (name := str(row.get(column))) == split or (usual is not None and usual_split(name) == usual)
    ]  # fmt: skip
    if not chosen:
        raise DatasetError(f"{where}: no split '{split}'; it has {', '.join(found)}")
    return chosen


def _read(
    source: Source,
    name: str,
    image: str,
    mask: str | None,
    label: int | str | None,
    group: int | str | None,
    window: Window | None = None,
) -> Item:
    where = source.path(image)
    pixels = decode(source.bytes(image), where, window)
    drawn = None if mask is None else decode_mask(source.bytes(mask), source.path(mask))
    return Item(name, str(where), pixels, drawn, label, None if group is None else str(group))


def _cell(row: Row, column: str | None) -> int | str | None:
    value = None if column is None else row.get(column)
    if value is None or value == "":
        return None
    return int(value) if isinstance(value, int) else str(value)


def _metadata_rows(source: Source, name: str) -> list[Row]:
    content, where = source.bytes(name), str(source.path(name))
    if name.endswith(".csv"):
        return _csv_rows(content, where)
    rows: list[Row] = []
    for at, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DatasetError(f"{where}:{at}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise DatasetError(f"{where}:{at}: expected an object with file_name, found {type(row).__name__}")
        rows.append(row)
    return rows


def _csv_rows(content: bytes, where: str) -> list[Row]:
    try:
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{where}: not a CSV table in UTF-8 ({error})") from None
