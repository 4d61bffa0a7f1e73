"""The datasets of the registry: what each is, where it came from, and its images, checked byte by byte."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from medzoo import catalog, entryfile
from medzoo.datasets.folder import SUMS, Images, pixels, read_bytes, read_pairs, resize
from medzoo.entry import Record, Sha256
from medzoo.errors import DatasetError, EntryError


class FolderLayout(Record):
    """One file an image, and a CSV table that assigns each to a split.

    Attributes:
        table: the CSV file (with a header line).
        table_sha256: its hash, kept apart because the table decides the split.
        id: its column of image names.
        split: its column of split names.
        images: path of an image, with ``{id}`` for the name; ``masks`` likewise, or null.
    """

    kind: Literal["folder"]
    table: str
    table_sha256: Sha256
    id: str
    split: str
    images: str
    masks: str | None


class ArrayLayout(Record):
    """One ``.npz`` file; ``images`` names the uint8 array [n, H, W] or [n, H, W, 3] of a split (``{split}_images``)."""

    kind: Literal["arrays"]
    file: str
    images: str


class Dataset(Record):
    """One YAML file of ``registry/datasets``.

    Attributes:
        splits: number of images of each split.
        channels: 1 or 3, of every image.
        source: where the data come from: the original, then the copy that was read.
        preparation: how the files listed here were made from the original.
        sha256sums: hash of the file ``SHA256SUMS``, which lists the hash of every image and mask.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    modality: str
    organ: str | None
    splits: dict[str, Annotated[int, Field(gt=0)]]
    channels: Literal[1, 3]
    layout: Annotated[FolderLayout | ArrayLayout, Field(discriminator="kind")]
    sha256sums: Sha256
    source: str
    preparation: str
    license: str
    attribution: str
    notes: str | None


def load_dataset(name: str, *, root: Path | str | None = None, split: str = "train", size: int) -> Images:
    """Read one split of a dataset of the registry, every file checked against its recorded hash.

    Args:
        name: of ``registry/datasets/<name>.yaml``.
        root: the folder that holds ``<name>/``, or that folder itself; None takes ``$MEDZOO_DATA``.
        split: one of those that the dataset states.
        size: height and width of the result in pixels.

    Raises:
        DatasetError: unknown dataset or split, no data folder, or a file that is missing, changed or unreadable.
    """
    dataset = describe(name)
    if split not in dataset.splits:
        raise DatasetError(f"{name}: no split '{split}'; it has {', '.join(dataset.splits)}")
    folder = _data_folder(dataset, root)
    sums = _read_sums(folder / SUMS, dataset.sha256sums)
    mode: Literal["RGB", "L"] = "RGB" if dataset.channels == 3 else "L"
    if isinstance(dataset.layout, ArrayLayout):
        found = _read_array(folder, dataset.layout, split, size, mode, sums)
    else:
        found = _read_table(folder, dataset.layout, split, size, mode, sums)
    if len(found) != dataset.splits[split]:
        raise DatasetError(f"{folder}: split '{split}' should have {dataset.splits[split]} images, found {len(found)}")
    return found


def describe(name: str) -> Dataset:
    """The registry's record of a dataset.

    Raises:
        DatasetError: no dataset has that name.
        EntryError: a YAML file that breaks the rules (with the line of every problem).
    """
    files = _dataset_files()
    if name not in files:
        raise DatasetError(f"no dataset is named '{name}'; there are {', '.join(sorted(files))}")
    path = str(files[name])
    text = files[name].read_text(encoding="utf-8")
    try:
        dataset = Dataset.model_validate(entryfile.fields(text, path))
    except ValidationError as error:
        problems = (
            f"{path}:{entryfile.line_of(text, path, *one['loc'])}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors()
        )
        raise EntryError("\n".join(problems)) from None
    if dataset.name != name:
        raise EntryError(f"{path}: name '{dataset.name}' differs from the file's; make them the same")
    return dataset


def _dataset_files() -> dict[str, Path]:
    """Name -> YAML file; a folder of MEDZOO_REGISTRY cannot replace a dataset that came along."""
    found: dict[str, Path] = {}
    for folder in catalog.folders():
        for path in sorted((folder / "datasets").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _data_folder(dataset: Dataset, root: Path | str | None) -> Path:
    base = root if root is not None else os.environ.get("MEDZOO_DATA")
    hint = "give the folder that holds it (--data DIR, or the environment variable MEDZOO_DATA)"
    if not base:
        raise DatasetError(f"dataset '{dataset.name}' does not come along; {hint}. Source: {dataset.source}")
    for folder in (Path(base) / dataset.name, Path(base)):
        if (folder / SUMS).is_file():
            return folder
    raise DatasetError(f"{base}: dataset '{dataset.name}' expected at {Path(base) / dataset.name / SUMS}; {hint}")


def _read_sums(path: Path, expected: str) -> dict[str, str]:
    content = read_bytes(path, expected)
    lines = (line.split(maxsplit=1) for line in content.decode().splitlines() if line.strip())
    return {name.strip().removeprefix("./"): digest for digest, name in lines}


def _read_table(
    folder: Path, layout: FolderLayout, split: str, size: int, mode: Literal["RGB", "L"], sums: Mapping[str, str]
) -> Images:
    table = read_bytes(folder / layout.table, layout.table_sha256).decode("utf-8")
    rows = csv.DictReader(io.StringIO(table))
    names = sorted(row[layout.id] for row in rows if row[layout.split] == split)
    pairs = [
        (folder / layout.images.format(id=one), folder / layout.masks.format(id=one) if layout.masks else None)
        for one in names
    ]
    hashes = {folder / name: digest for name, digest in sums.items()}
    return read_pairs(names, pairs, size=size, channels=mode, sums=hashes)


def _read_array(
    folder: Path, layout: ArrayLayout, split: str, size: int, mode: Literal["RGB", "L"], sums: Mapping[str, str]
) -> Images:
    from PIL.Image import fromarray

    content = read_bytes(folder / layout.file, _recorded(layout.file, sums))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        pictures = arrays[layout.images.format(split=split)]
    squeezed = [pixels(resize(fromarray(one).convert(mode), size)) for one in pictures]
    return Images(np.stack(squeezed), None, tuple(f"{split}_{i:05d}" for i in range(len(squeezed))))


def _recorded(name: str, sums: Mapping[str, str]) -> str:
    if name not in sums:
        raise DatasetError(f"{SUMS} has no line for {name}; the dataset entry and the folder do not belong together")
    return sums[name]
