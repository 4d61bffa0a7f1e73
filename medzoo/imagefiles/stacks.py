"""Files -> the pictures and volumes that they are, with where they lie: the slices of a DICOM series become one volume.

A series is a volume where each of its files says where it lies, and all are parallel, of one size and grey; images of
one series that do not (views of a breast, a scout) stay pictures. A NIfTI file of more than one slice is a volume, and
so is a grey DICOM file of several frames. Everything else is a picture, of which its reader takes one page.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.files import kind as filekind
from medzoo.imagefiles import list_images, naming, read_volume
from medzoo.imagefiles._nifti import nifti_geometry
from medzoo.imagefiles._picture import ReadingWarning, remembered
from medzoo.imagefiles._tiff import full_pages
from medzoo.imagefiles.provenance import Provenance
from medzoo.imagefiles.series import Frame, frames_of, key_of, stacks_of
from medzoo.imagefiles.tone import Window
from medzoo.imagefiles.volume import Stack, Volume
from medzoo.imagefiles.world import ACROSS, Axis, main_axis


def files_in(folder: Path) -> tuple[Path, ...]:
    """The images right in a folder, in natural order; of a study, whose folder holds none, the DICOM files below it.

    Raises ImageFileError: there is none.
    """
    if not folder.is_dir() or any(_is_image(path) for path in folder.iterdir()):
        return list_images(folder)
    below: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.name != "DICOMDIR" and not path.name.startswith(".") and path.is_file():
            below.append(path)
            limits.check("input_files", len(below), f"{folder}: a study", ImageFileError)
    return tuple(path for path in below if filekind.guess(path) == "dicom") or list_images(folder)


def find(files: Sequence[Path], axis: Axis | None = None) -> list[Stack | Path]:
    """Volumes and placed pictures among files, in the order of their first file; others are paths as they were.

    Args:
        axis: the plane that volumes of NIfTI files are cut in; None for axial. DICOM series are taken as acquired.

    Raises ImageFileError.
    """
    found: list[Stack | Path] = []
    series: dict[tuple[Any, ...], list[Frame]] = defaultdict(list)
    places: dict[tuple[Any, ...], int] = {}
    in_part, drawn = 0, 0
    for path in files:
        kind = filekind.guess(path) if path.is_file() else None
        if kind == "nifti":
            item, partly = _of_nifti(path, axis or "axial")
            found.append(item)
            in_part += partly
        elif kind == "dicom" and (frames := frames_of(path)):
            if frames[0].is_drawn and len(files) > 1:
                drawn += 1
                continue
            key = key_of(frames[0]) or ("file", str(path))
            if key not in places:
                places[key] = len(found)
                found.append(path)
            series[key] += frames
            in_part += len(frames) > 1 and not frames[0].grey
        else:
            in_part += kind == "tiff" and _has_pages(path)
            found.append(path)
    if in_part:
        text = f"{in_part} of {len(files)} files hold several pictures, of which the middle one alone is used"
        warnings.warn(f"{text}; split them", ReadingWarning, stacklevel=3)
    if drawn:
        text = f"{drawn} of {len(files)} files are segmentations or doses, not images: passed over"
        warnings.warn(text, ReadingWarning, stacklevel=3)
    parts = {places[key]: stacks_of(frames) for key, frames in series.items()}
    every = [one for at, item in enumerate(found) for one in parts.get(at, [item])]
    _warn_of_planes([one for one in every if isinstance(one, Stack)], axis)
    return every


def _is_image(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR" or not path.is_file():
        return False
    return filekind.guess(path) in filekind.IMAGES


def _has_pages(path: Path) -> bool:
    with naming(path, "tiff"), path.open("rb") as file:
        return len(full_pages(path, file)) > 1


def _of_nifti(path: Path, axis: Axis) -> tuple[Stack | Path, bool]:
    """The volume, or the file where it is one of colours; and whether it holds more than its reader takes."""
    with naming(path, "nifti"):
        sizes, geometry = nifti_geometry(path, axis)
        if geometry is None:
            return path, nifti_geometry(path, "axial")[0][0] > 1
        if 1 in sizes and sizes[0] > 1:  # one slice, in whatever plane
            axis = ACROSS[axis][sizes.index(1)]
            sizes, geometry = nifti_geometry(path, axis)
    depth, *size = sizes
    provenance = Provenance((size[0], size[1]), geometry)
    load = partial(_nifti, path, axis)
    return Stack((path,), depth if depth > 1 else None, provenance, load, plain=axis == "axial"), False


@remembered(1)  # its slices are asked for one after the other
def _nifti(path: Path, axis: Axis, window: Window | None) -> Volume:
    return read_volume(path, window=window, axis=axis)


def _warn_of_planes(stacks: Iterable[Stack], axis: Axis | None) -> None:
    """A series is taken as acquired, which may not be how the model, or the user, wants volumes cut."""
    if axis is None:
        return
    acquired = [
        main_axis(stack.provenance.geometry)
        for stack in stacks
        if stack.depth and stack.provenance.study and stack.provenance.placed and stack.provenance.geometry
    ]
    others = [plane for plane in acquired if plane != axis]
    if others:
        planes = ", ".join(sorted(set(others)))
        text = f"{len(others)} DICOM series of {planes} slices are taken as acquired, not {axis}"
        warnings.warn(text, ReadingWarning, stacklevel=4)
