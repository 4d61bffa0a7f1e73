"""The datasets of the registry: what each is, where it came from, and its images, checked byte by byte."""

from __future__ import annotations

import os
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from medzoo import catalog
from medzoo.catalog import yamlfile
from medzoo.datasets.folder import stated
from medzoo.datasets.gathering import gather
from medzoo.datasets.images import Images
from medzoo.datasets.layout import Layout
from medzoo.datasets.layouts import LAYOUTS
from medzoo.datasets.packages import DebianPackage, PythonPackage
from medzoo.datasets.protocol import Protocol
from medzoo.datasets.source import SUMS, Source, read_bytes
from medzoo.datasets.volumes import VolumeLayout
from medzoo.entry import PositiveInt, Record, Sha256
from medzoo.errors import DatasetError, EntryError
from medzoo.imagefiles import Volume

if TYPE_CHECKING:
    AnyLayout = Layout
else:
    AnyLayout = Annotated[reduce(or_, LAYOUTS), Field(discriminator="kind")]
Package = Annotated[PythonPackage | DebianPackage, Field(discriminator="kind")]


class Dataset(Record):
    """One YAML file of ``registry/datasets``.

    Attributes:
        splits: number of images of each split.
        channels: 1 or 3, of every image.
        layout: how the files are read.
        folder: name of the folder of the files, where it is not that of the dataset.
        sha256sums: hash of the file ``SHA256SUMS``, which lists the hash of every image and mask; or
        files: the hash of each file that is read.
        package: the installed package that holds the files, or null.
        source: where the data come from: the original, then the copy that was read.
        preparation: how the files listed here were made from the original.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    modality: str
    organ: str | None
    splits: dict[str, PositiveInt]
    channels: Literal[1, 3]
    layout: AnyLayout
    folder: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    sha256sums: Sha256 | None = None
    files: dict[str, Sha256] | None = None
    package: Package | None = None
    source: str
    preparation: str
    license: str
    attribution: str
    notes: str | None

    @model_validator(mode="after")
    def _hashed(self) -> Dataset:
        if (self.sha256sums is None) == (self.files is None):
            raise ValueError("state either sha256sums, the hash of SHA256SUMS, or files: {name: sha256}")
        return self

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the labels 0, 1, ...; None where the images have no labels."""
        return getattr(self.layout, "classes", None)


def load_dataset(
    name: str,
    protocol: Protocol | None = None,
    *,
    root: Path | str | None = None,
    split: str = "train",
    size: int | None = None,
) -> Images:
    """Read one split of a dataset of the registry, every file checked against its recorded hash.

    Args:
        name: of ``registry/datasets/<name>.yaml``.
        protocol: how pictures are brought to one size; channels null takes those of the dataset.
        root: the folder that holds ``<name>/``, or that folder itself; None takes ``$MEDZOO_DATA``. Not needed for
            datasets that come with an installed package.
        split: one of those that the dataset states.
        size: short for ``Protocol(size=size)``.

    Raises:
        DatasetError: unknown dataset or split, no data folder, or a file that is missing, changed or unreadable.
    """
    protocol = stated(size, protocol)
    dataset = describe(name)
    if split not in dataset.splits:
        raise DatasetError(f"{name}: no split '{split}'; it has {', '.join(dataset.splits)}")
    if protocol.channels is None:
        protocol = protocol.model_copy(update={"channels": "RGB" if dataset.channels == 3 else "L"})
    source = _source(dataset, root)
    layout = dataset.layout
    if layout.usual_window(source, split) is not None:  # then that of the first split, for all of them
        layout = layout.model_copy(update={"window": layout.usual_window(source, next(iter(dataset.splits)))})
    images = gather(layout.items(source, split), protocol, str(source), classes=dataset.classes)
    if len(images) != dataset.splits[split]:
        raise DatasetError(f"{source}: split '{split}' should have {dataset.splits[split]} images, found {len(images)}")
    return images


def load_volumes(name: str, *, root: Path | str | None = None) -> tuple[tuple[str, Volume], ...]:
    """The whole volumes of a dataset, of all its splits, by name. Arguments and errors of ``load_dataset``."""
    dataset = describe(name)
    if not isinstance(dataset.layout, VolumeLayout):
        raise DatasetError(f"dataset '{name}' has pictures, not volumes; take one whose layout is of kind volume")
    return tuple(dataset.layout.volumes(_source(dataset, root)))


def describe(name: str) -> Dataset:
    """The registry's record of a dataset.

    Raises:
        DatasetError: no dataset has that name.
        EntryError: a YAML file that breaks the rules (with the line of every problem).
    """
    files = catalog.named_files("datasets")
    if name not in files:
        raise DatasetError(f"no dataset is named '{name}'; there are {', '.join(sorted(files))}")
    path = str(files[name])
    dataset = yamlfile.parse(catalog.text_of(files[name]), path, Dataset)
    if dataset.name != name:
        raise EntryError(f"{path}: name '{dataset.name}' differs from the file's; make them the same")
    return dataset


def dataset_names() -> tuple[str, ...]:
    """Names of all datasets of the registry, sorted."""
    return tuple(sorted(catalog.named_files("datasets")))


def _source(dataset: Dataset, root: Path | str | None) -> Source:
    """The folder of a dataset: below ``root``, else where its package is installed."""
    mark = SUMS if dataset.files is None else next(iter(dataset.files))
    base = root if root is not None else os.environ.get("MEDZOO_DATA")
    name = dataset.folder or dataset.name
    places = [Path(base) / name, Path(base)] if base else []
    packaged = None if dataset.package is None else dataset.package.where()
    for folder in (*places, *(() if packaged is None else (packaged,))):
        if (folder / mark).is_file():
            return Source(folder, dataset.files or _read_sums(folder / SUMS, dataset.sha256sums))
    hint = "give the folder that holds it (--data DIR, or the environment variable MEDZOO_DATA)"
    if dataset.package is not None:
        raise DatasetError(
            f"dataset '{dataset.name}' comes with {dataset.package.name} {dataset.package.version}; type: "
            f"{dataset.package.install}, or {hint}"
        )
    if not base:
        raise DatasetError(f"dataset '{dataset.name}' does not come along; {hint}. Source: {dataset.source}")
    raise DatasetError(f"{base}: dataset '{dataset.name}' expected at {Path(base) / name / mark}; {hint}")


def _read_sums(path: Path, expected: str | None) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in read_bytes(path, expected).decode().splitlines() if line.strip())
    return {name.strip().removeprefix("./"): digest for digest, name in lines}
