"""Folders that ``medzoo generate`` and ``Samples.save`` wrote: pictures, masks and labels of their manifest."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets.gathering import MOST_CLASSES, Item
from medzoo.datasets.layout import Layout
from medzoo.datasets.pictures import decode, decode_mask, foreground, load_array, scaled, upright
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import MOST_BYTES, Source, compare, filled, naming
from medzoo.errors import DatasetError, ImageFileError
from medzoo.files.reading import parse_json
from medzoo.imagefiles import read_image
from medzoo.samples import formats

if TYPE_CHECKING:
    from medzoo.datasets.pictures import Window
    from medzoo.datasets.volumes import Slices

MANIFEST = "manifest.jsonl"
_FULL = (0.0, 65535.0)  # black and white of samples of 16 bits


class ManifestLayout(Layout):
    """A folder with ``manifest.jsonl`` and the files that it lists, in any format of ``medzoo.samples.formats``.

    A sample's label is that of its record; classes have the names of the conditions where each has one. Every file is
    checked against the hash in its record.
    """

    kind: Literal["manifest"]
    folder: str = "."

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return (folder / MANIFEST).is_file()

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> ManifestLayout:
        return cls(kind="manifest")

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        below = source.inside(filled(self.folder, split=split))
        records = _records(below)
        names = _class_names(records)
        with ExitStack() as stack:
            files = _Files(below, stack)
            for record in records:
                label = record.get("label")
                yield Item(
                    Path(record["file"]).name.partition(".")[0],
                    str(below.path(record["file"])),
                    files.image(record),
                    files.mask(record),
                    names[label] if names and label is not None else label,
                    None,
                )


class _Files:
    """The files of a run, whether they lie in the folder or in its shards."""

    def __init__(self, source: Source, stack: ExitStack) -> None:
        self._source, self._stack, self._pictures = source, stack, False
        self._shards: dict[str, tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]] = {}

    def image(self, record: dict[str, Any]) -> NDArray[np.uint8]:
        where = self._source.path(record["file"])
        if where.suffix in (".dcm", ".gz"):
            self._refuse_volumes(where)
            image = self._read(where, record.get("sha256"))
            return as_uint8(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2))
        content = self._content(record, record["file"], record.get("sha256"))
        if where.suffix == ".png":
            return decode(content, where, _FULL)
        if where.suffix not in (".npy", ".npz"):
            return as_uint8(np.moveaxis(self._decoded(content, where), 0, 2))
        array = load_array(content, where) if where.suffix == ".npy" else _member(content, "image", where)
        return scaled(upright(_flat(array, where), where), where)

    def mask(self, record: dict[str, Any]) -> NDArray[np.bool_] | None:
        where = self._source.path(record["file"])
        if where.suffix == ".npz":
            array = _member(self._content(record, record["file"], None), "mask", where, optional=True)
            return None if array is None else foreground(_only(array, where), where)
        if record["mask_file"] is None:
            return None
        where = self._source.path(record["mask_file"])
        if where.suffix in (".dcm", ".gz"):
            return _only(self._read(where, record.get("mask_sha256")), where) >= 0.5
        content = self._content(record, record["mask_file"], record.get("mask_sha256"))
        if where.suffix not in (".npy", ".png"):
            return _only(self._decoded(content, where), where) >= 0.5
        if where.suffix == ".npy":
            return foreground(_only(load_array(content, where), where), where)
        return decode_mask(content, where)

    def _decoded(self, content: bytes, where: Path) -> NDArray[np.float32]:
        """[C, H, W] in [0, 1] of a file of a format that says how its files are read."""
        for format in map(formats.load, formats.names()):
            if format.decode is not None and where.name.endswith(format.suffixes):
                return np.asarray(_flat(format.decode(content), where), np.float32)
        raise DatasetError(f"{where}: a sample in a form that is not read; expected png, npy, npz, dcm, nii.gz")

    def _read(self, path: Path, sha256: Any) -> NDArray[np.float32]:
        """[C, H, W] in [0, 1] of a DICOM or NIfTI file."""
        with naming(path):
            window = (0.0, 1.0) if path.name.endswith(".nii.gz") else None  # its slope gives [0, 1]
            return read_image(
                self._source.checked(path.relative_to(self._source.folder).as_posix(), sha256), window=window
            )

    def _refuse_volumes(self, path: Path) -> None:
        """Asked of the first file: those of a run are alike."""
        if self._pictures:
            return
        self._pictures = True
        with suppress(ImageFileError):  # there is no second slice
            read_image(path, slice=1)
            raise DatasetError(f"{path}: a volume; pictures are compared: save slices of it")

    def _content(self, record: dict[str, Any], name: str, sha256: Any) -> bytes:
        shard = record.get("shard")
        if shard is None:
            return self._source.bytes(name, sha256)
        if shard not in self._shards:
            path = self._source.path(str(shard))
            if not path.is_file():  # a pipe would hold the program for ever
                raise DatasetError(f"{path}: a shard that is no file; make the samples anew")
            try:
                tar = self._stack.enter_context(tarfile.open(path, "r:"))  # noqa: SIM115
                self._shards[shard] = tar, {one.name: one for one in tar.getmembers() if one.isfile()}
            except (OSError, tarfile.TarError) as error:
                raise DatasetError(f"{path}: a shard that cannot be read ({error})") from None
        tar, members = self._shards[shard]
        if name not in members or members[name].size > MOST_BYTES:
            raise DatasetError(f"{self._source.path(str(shard))}: no readable member {name}; make the samples anew")
        file = tar.extractfile(members[name])
        content = b"" if file is None else file.read()
        if sha256 is not None:
            compare(self._source.path(name), hashlib.sha256(content).hexdigest(), sha256)
        return content


def _records(source: Source) -> list[dict[str, Any]]:
    where, found = source.path(MANIFEST), []
    seen: set[tuple[str | None, str]] = set()
    lines = source.bytes(MANIFEST).splitlines(keepends=True)
    for at, line in enumerate(lines, 1):
        try:
            record = parse_json(line)
            fit = isinstance(record, dict) and isinstance(record["file"], str)
            fit = fit and isinstance(record["mask_file"], str | None) and isinstance(record.get("shard"), str | None)
            fit = fit and isinstance(label := record.get("label"), int | None) and abs(label or 0) < MOST_CLASSES
        except (ValueError, KeyError):
            if at == len(lines) and not line.endswith(b"\n"):
                break  # the torn last line of a run that was killed
            fit = False
        if not fit:
            raise DatasetError(f"{where}:{at}: no record of a sample; make the samples anew")
        key = record.get("shard"), record["file"]
        if key in seen:
            raise DatasetError(f"{where}:{at}: {record['file']} is listed twice, and would count as two samples")
        seen.add(key)
        found.append(record)
    return found


def _class_names(records: list[dict[str, Any]]) -> dict[int, str] | None:
    """Label -> condition, where the two say the same."""
    pairs = {(record.get("label"), _hashable(record.get("condition"))) for record in records}
    names = {label: name for label, name in pairs if isinstance(label, int) and isinstance(name, str)}
    one_to_one = len(names) == len(pairs) == len(set(names.values()))
    return names if one_to_one and not any(name.isdecimal() for name in names.values()) else None


def _hashable(condition: Any) -> str | tuple[str] | None:
    """A text as it is; whatever else somebody wrote in its place is told apart, and names no class."""
    return condition if isinstance(condition, str | None) else (json.dumps(condition),)


def _member(content: bytes, name: str, where: Path, optional: bool = False) -> Any:
    """An array of a .npz file of one sample."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if optional and f"{name}.npy" not in archive.namelist():
                return None
            if archive.getinfo(f"{name}.npy").file_size > MOST_BYTES:
                raise DatasetError(f"{where}: array '{name}' is larger than {MOST_BYTES:,} bytes")
            return load_array(archive.read(f"{name}.npy"), where)
    except (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
        raise DatasetError(f"{where}: no readable array '{name}' in it ({error})") from None


def _flat(array: NDArray[Any], where: Path) -> NDArray[Any]:
    """[C, H, W]; a volume of one slice counts as a picture."""
    array = array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array
    if array.ndim == 4:
        raise DatasetError(f"{where}: a volume of {list(array.shape)}; pictures are compared: save slices of it")
    return array


def _only(array: NDArray[Any], where: Path) -> NDArray[Any]:
    """The one mask [H, W] of [1, H, W]."""
    array = _flat(array, where)
    if array.ndim != 3 or len(array) != 1:
        raise DatasetError(f"{where}: masks of {list(array.shape)}; expected one [1, H, W]")
    return np.asarray(array[0])
