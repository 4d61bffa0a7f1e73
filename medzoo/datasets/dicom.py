"""DICOM files: single pictures, frames and series. The group of a picture is its patient, by a short hash."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout, first_kind
from medzoo.datasets.measuring import Measure, Usual
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import Source, filled, naming
from medzoo.datasets.splitting import ByGroup, filtered
from medzoo.datasets.volumes import Slices
from medzoo.errors import DatasetError, ImageFileError
from medzoo.files import kind as filekind
from medzoo.imagefiles import Asked, ReadingWarning, leftout, read_picture, scaled, tone
from medzoo.imagefiles._dicom import has_pixels, read_header
from medzoo.text import first_line

_OPENED = 20  # files that are opened to find out what a tree of folders holds
_TAGS = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "BitsStored",
    "PixelRepresentation",
    "WindowCenter",
)
_MEASURED = 16  # frames of a file that decide its black and white


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
        below = source.inside(filled(self.folder, split=split))
        return filtered(self._all(below), self.split, split, str(below))

    def usual_window(self, source: Source, split: str | None) -> Window | None:
        """Of the files that state none and hold unsigned numbers of more than 8 bits, all together (``tone``)."""
        if self.window is not None:
            return None
        below = source.inside(filled(self.folder, split=split))
        heads = [head for head in _heads(below, self.files) if head.deep]
        measures: dict[Window, Measure] = defaultdict(Measure)  # files of other bits have a range of their own
        for head in heads:
            path = below.checked(head.name)
            for frame in range(head.frames)[:: max(1, head.frames // _MEASURED)]:
                with naming(path):
                    picture = read_picture(path, Asked(slice=frame))
                measures[picture.full or (0.0, 0.0)].add(picture)
        windows = {full: window for full, one in measures.items() if one.in_part and (window := one.window())}
        if not windows:
            return None
        for window in windows.values():
            warnings.warn(f"{below}: {tone.notice(window)}", ReadingWarning, stacklevel=2)
        usual = Usual(next(iter(windows.values())))
        usual.of_range = windows
        return usual

    def _all(self, source: Source) -> Iterator[Item]:
        heads = _heads(source, self.files)
        series: dict[tuple[str, str], list[tuple[_Head, int]]] = {}
        for head in heads:
            series.setdefault((head.patient, head.series), []).extend((head, i) for i in range(head.frames))
        number: dict[str, int] = {}
        for pictures in series.values():
            for at in range(len(pictures)) if self.slices is None else self.slices.of(len(pictures)):
                head, frame = pictures[at]
                path = source.checked(head.name)
                with naming(path):
                    image = self._shown(path, head, frame)
                pixels = as_uint8(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2))
                if self.slices is None or self.slices.keeps(pixels):
                    number[head.patient] = count = number.get(head.patient, -1) + 1
                    yield Item(f"{head.patient}_{count:05d}", f"{path} frame {frame}", pixels, None, None, head.patient)

    def _shown(self, path: Path, head: _Head, frame: int) -> NDArray[np.float32]:
        picture = read_picture(path, Asked(slice=frame))
        window = self.window
        if window is None or isinstance(window, Usual):
            ranges = window.of_range if isinstance(window, Usual) else {}
            # Decided for the set, so that a dark slice of it stays dark; others state black and white themselves.
            window = ranges.get(picture.full or (0.0, 0.0), picture.full) if head.deep else None
        return scaled(picture, window, str(path))


@dataclass(frozen=True)
class _Head:
    """``patient`` and ``series`` are hashes."""

    name: str
    patient: str
    series: str
    number: int
    frames: int
    deep: bool  # unsigned, of more than 8 bits, without a window of its own

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
    known = set(found)
    others = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in known)
    leftout.warn_of(folder, others)
    return found


def is_dicom(path: Path) -> bool:
    with naming(path):
        return filekind.guess(path) == "dicom"


def _heads(source: Source, names: Sequence[str] | None) -> list[_Head]:
    """Of the files that are pictures, in order; others are passed over, and counted."""
    every = [(name, _head(source, name)) for name in names or dicom_files(source.folder)]
    heads = [head for _, head in every if head is not None]
    if len(heads) < len(every):
        text = f"{source}: {len(every) - len(heads)} DICOM objects without pixels (reports, structures)"
        if not heads:
            raise DatasetError(f"{text}, and no picture; is a DICOM file without an image: {every[0][0]}")
        warnings.warn(f"{text}: passed over", ReadingWarning, stacklevel=2)
    return sorted(heads, key=_Head.order)


def _head(source: Source, name: str) -> _Head | None:
    """None for an object that is no picture."""
    path = source.path(name)
    try:
        head, frames = read_header(path, list(_TAGS))
        if not has_pixels(head):
            return None
        deep = head.get("PixelRepresentation") == 0 and 8 < (head.get("BitsStored") or 0) <= 16
        deep = deep and head.get("SamplesPerPixel") == 1 and head.get("WindowCenter") in (None, "")
        series = _hashed("series", head.get("SeriesInstanceUID") or name)
        return _Head(
            name, _hashed("patient", head.get("PatientID") or head.get("StudyInstanceUID") or name), series,
            int(head.get("InstanceNumber") or 0), frames, deep,
        )  # fmt: skip
    except ImageFileError as error:
        raise DatasetError(str(error)) from None
    except Exception as error:  # damaged files make pydicom raise almost anything
        raise DatasetError(f"{path}: DICOM file that cannot be read ({first_line(error)})") from None


def _hashed(kind: str, text: object) -> str:
    return hashlib.sha256(f"medzoo {kind}\0{text}".encode()).hexdigest()[:12]
