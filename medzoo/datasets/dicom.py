"""DICOM files: single pictures, frames and series. The group of a picture is its patient, by a short hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout, first_kind
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import ByGroup, filtered
from medzoo.datasets.volumes import Slices
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind
from medzoo.imagefiles import read_image

_OPENED = 20  # files that are opened to find out what a tree of folders holds
_TAGS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames")


class DicomLayout(Layout):
    """All DICOM files below a folder, ordered by patient, series and instance number.

    Names of images are made of hashes and numbers: file names often tell a patient's name. A hash of a number hides it
    from a reader, but anybody who knows the numbers can compute the hashes: it is no anonymisation.

    Attributes:
        folder: with ``{split}`` for the name of a split.
        files: names of the files; null for all below the folder.
        window: values that become black and white after the rescale slope (Hounsfield units); null as
            ``medzoo.imagefiles`` says. State it for CT, or each slice gets a contrast of its own.
        slices: which frames of a file, or files of a series (axis is of no meaning here); null for all.
        split: how patients are parted, where the folders do not, or null.
    """

    file_kinds = frozenset({"dicom"})

    kind: Literal["dicom"]
    folder: str = "."
    files: tuple[str, ...] | None = None
    window: Window | None = None
    slices: Slices | None = None
    split: ByGroup | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        """Files of patients may lie however deep."""
        if not deep:
            return first_kind(folder, frozenset({"nifti", "dicom"})) == "dicom"
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return any(is_dicom(path) for path in islice(files, _OPENED))

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> DicomLayout:
        return cls(kind="dicom", files=(path.name,) if path.is_file() else None, window=window, slices=slices)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        below = source.inside(self.folder.format(split=split))
        return filtered(self._all(below), self.split, split, str(below))

    def _all(self, source: Source) -> Iterator[Item]:
        heads = sorted((_head(source, name) for name in self.files or dicom_files(source.folder)), key=_Head.order)
        series: dict[tuple[str, str], list[tuple[_Head, int]]] = {}
        for head in heads:
            series.setdefault((head.patient, head.series), []).extend((head, i) for i in range(head.frames))
        number: dict[str, int] = {}
        for pictures in series.values():
            for at in range(len(pictures)) if self.slices is None else self.slices.of(len(pictures)):
                head, frame = pictures[at]
                path = source.checked(head.name)
                with naming(path):
                    image = read_image(path, window=self.window, slice=frame)
                pixels = as_uint8(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2))
                if self.slices is None or self.slices.keeps(pixels):
                    number[head.patient] = count = number.get(head.patient, -1) + 1
                    yield Item(f"{head.patient}_{count:05d}", f"{path} frame {frame}", pixels, None, None, head.patient)


@dataclass(frozen=True)
class _Head:
    """``patient`` and ``series`` are hashes."""

    name: str
    patient: str
    series: str
    number: int
    frames: int

    def order(self) -> tuple[str, str, int, str]:
        return self.patient, self.series, self.number, self.name


def dicom_files(folder: Path) -> list[str]:
    """Names of the DICOM files in a folder and all below it, sorted; ``DICOMDIR`` holds no picture."""
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "DICOMDIR" and not path.name.startswith(".") and is_dicom(path)
    ]
    if not found:
        raise DatasetError(f"{folder}: no DICOM file found")
    return found


def is_dicom(path: Path) -> bool:
    with naming(path):
        return filekind.guess(path) == "dicom"


def _head(source: Source, name: str) -> _Head:
    path = source.path(name)
    try:
        import pydicom
    except ImportError:
        raise DatasetError(f"{path}: reading it needs pydicom; type: pip install 'medzoo[dicom]'") from None
    try:
        if pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID.is_deflated:
            raise DatasetError(f"{path}: is a deflated DICOM file; write it anew with dcmconv --write-xfer-little")
        head: Any = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        series = _hashed("series", head.get("SeriesInstanceUID") or name)
        return _Head(
            name, _hashed("patient", head.get("PatientID") or head.get("StudyInstanceUID") or name), series,
            int(head.get("InstanceNumber") or 0), max(1, int(head.get("NumberOfFrames") or 1)),
        )  # fmt: skip
    except DatasetError:
        raise
    except Exception as error:  # damaged files make pydicom raise almost anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DatasetError(f"{path}: DICOM file that cannot be read ({reason})") from None


def _hashed(kind: str, text: object) -> str:
    return hashlib.sha256(f"medzoo {kind}\0{text}".encode()).hexdigest()[:12]
