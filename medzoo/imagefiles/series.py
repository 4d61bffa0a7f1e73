"""DICOM series: which of their images are the slices of one volume, in what order, and where they lie."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.imagefiles import naming, read_picture
from medzoo.imagefiles._dicom import has_pixels, read_header
from medzoo.imagefiles._picture import Asked, Picture, ReadingWarning, remembered
from medzoo.imagefiles._plane import Plane, plane_of
from medzoo.imagefiles.provenance import Instance, Provenance, Study
from medzoo.imagefiles.tone import Window
from medzoo.imagefiles.volume import Stack, Volume, volume_of
from medzoo.imagefiles.world import Geometry, vector

# Of patient and study: what outputs may keep.
KEPT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip
_TAGS = [
    *KEPT, "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "FrameOfReferenceUID", "Modality", "PatientOrientation", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
# What is drawn or computed on images, and lies in the same study: segmentations and doses.
DRAWN = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.481.2"})
_EVEN = 0.01  # of the mean distance of slices, by which one may differ


@dataclass(frozen=True)
class Frame:
    """One frame of a DICOM file, its header read."""

    path: Path
    at: int
    of: int  # frames of the file
    size: tuple[int, int]
    grey: bool
    number: int
    plane: Plane
    study: Study  # of this frame alone

    @property
    def is_drawn(self) -> bool:
        return self.study.instances[0].sop_class in DRAWN


@remembered(20_000)  # a run asks several times
def frames_of(path: Path) -> tuple[Frame, ...]:
    """Of an object with pixels; () for another one."""
    with naming(path, "dicom"):
        header, count = read_header(path, _TAGS)
        if not has_pixels(header):
            return ()
        stated = tuple((name, str(value)) for name in KEPT if (value := header.get(name)) not in (None, ""))
        known = dict(stated)
        study = known.get("StudyInstanceUID") or str(path.parent)
        number = header.get("SeriesNumber")
        about = Study(
            patient=known.get("PatientID") or known.get("PatientName") or study,
            study=study,
            series=str(header.get("SeriesInstanceUID") or path),
            series_number=None if number in (None, "") else int(number),
            frame_of_reference=str(header.get("FrameOfReferenceUID") or "") or None,
            instances=(),
            stated=stated,
        )
        of_class, uid = str(header.get("SOPClassUID") or ""), str(header.get("SOPInstanceUID") or "")
        shape, grey = (int(header.Rows), int(header.Columns)), header.get("SamplesPerPixel") in (None, 1)
        place = int(header.get("InstanceNumber") or 0)
        frames = []
        for at in range(count):
            plane = plane_of(header, at)
            instance = Instance(of_class, uid, at + 1 if count > 1 else None)
            own = replace(about, instances=(instance,), at_detector=plane.at_detector)
            frames.append(Frame(path, at, count, shape, grey, place, plane, own))
    return tuple(frames)


def key_of(frame: Frame) -> tuple[Any, ...] | None:
    """What the slices of one volume have in common; None for a picture, and for frames of one file."""
    plane = frame.plane
    if frame.of > 1 or not frame.grey or plane.position is None or plane.directions is None or plane.spacing is None:
        return None
    directions = tuple(np.round(np.array(plane.directions), 3).ravel().tolist())
    return "series", frame.study.study, frame.study.series, frame.size, directions, plane.spacing


def stacks_of(frames: Sequence[Frame]) -> list[Stack | Path]:
    """The volumes of the frames of one series, or of one file."""
    if not frames[0].grey:
        return list(dict.fromkeys(frame.path for frame in frames))
    planes = [frame.plane for frame in frames]
    if not all(plane.position and plane.directions for plane in planes):
        return [_stack(list(frames))]
    normal = _normal(planes[0])
    along = {id(frame): round(float(np.array(frame.plane.position) @ normal), 3) for frame in frames}
    at: dict[float, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: (frame.number, frame.at, str(frame.path))):
        at[along[id(frame)]].append(frame)
    counts = {len(several) for several in at.values()}
    if len(counts) > 1:
        raise ImageFileError(
            f"{frames[0].path.parent}: a series has {min(counts)} to {max(counts)} images at one place; give the files "
            "of one volume"
        )
    # Times or echoes: as many volumes as there are images at each place.
    return [_stack([at[place][k] for place in sorted(at)]) for k in range(counts.pop())]


def _normal(plane: Plane) -> NDArray[np.float64]:
    """Across a plane, to the left, the back or up, whichever it is nearest to."""
    assert plane.directions is not None
    rows, columns = np.array(plane.directions)
    normal = np.cross(columns, rows)
    return np.asarray(normal * np.sign(normal[np.abs(normal).argmax()]))


def _stack(frames: list[Frame]) -> Stack:
    """Frames in the order of the slices."""
    first = frames[0]
    plane, depth = first.plane, len(frames)
    limits.check("frames", depth, f"{first.path}: a series", ImageFileError)
    stored = depth * first.size[0] * first.size[1] * 4
    limits.check("volume_bytes", stored if depth > 1 else 0, f"{first.path}: a series", ImageFileError)
    study = replace(first.study, instances=tuple(frame.study.instances[0] for frame in frames))
    geometry, placed = _geometry(frames)
    size = tuple(first.size[i] for i in plane.turn.order)
    provenance = Provenance((size[0], size[1]), geometry, placed, study)
    files = tuple(dict.fromkeys(frame.path for frame in frames))
    places = tuple((frame.path, frame.at) for frame in frames)
    fallback = geometry or Geometry((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    return Stack(files, depth if depth > 1 else None, provenance, partial(_series, places, fallback))


def _geometry(frames: list[Frame]) -> tuple[Geometry | None, bool]:
    """Where the shown slices lie, and whether that is stated."""
    first, depth = frames[0], len(frames)
    plane = first.plane
    if plane.spacing is None:
        return None, False
    if plane.position is None or plane.directions is None:  # lengths alone
        tall, wide = (plane.spacing[i] for i in plane.turn.order)
        return Geometry((0, 0, 0), (0, 0, plane.thickness or 1), (0, tall, 0), (wide, 0, 0)), False
    steps = [length * np.array(way) for length, way in zip(plane.spacing, plane.directions, strict=True)]
    positions = np.array([frame.plane.position for frame in frames])
    across = _normal(plane) * (plane.thickness or 1)
    if depth > 1:
        across = (positions[-1] - positions[0]) / (depth - 1)
    geometry = plane.turn.of_slices().geometry(positions[0], np.array([across, *steps]), (depth, *first.size))
    ideal = positions[0] + np.arange(depth)[:, None] * across
    apart = np.linalg.norm(positions - ideal, axis=1).max()
    if depth > 1 and apart > _EVEN * np.linalg.norm(across):
        gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        text = f"slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart; a NIfTI volume of them states the mean"
        warnings.warn(f"{first.path.parent}: {text}", ReadingWarning, stacklevel=4)
        shift = np.array(geometry.origin) - positions[0]  # the turn moves the first pixel of every slice alike
        geometry = replace(geometry, at=tuple(vector(position + shift) for position in positions))
    return geometry, True


def _series(places: tuple[tuple[Path, int], ...], geometry: Geometry, window: Window | None) -> Volume:
    return _stacked(places, places[0][0].stat().st_mtime_ns, geometry, window)


@lru_cache(maxsize=1)
def _stacked(places: tuple[tuple[Path, int], ...], changed: int, geometry: Geometry, window: Window | None) -> Volume:
    """Black and white are those of the middle slice where files state them, else of all numbers together."""
    pictures = [read_picture(path, Asked(slice=at)) for path, at in places]
    middle, path = pictures[len(pictures) // 2], places[0][0]
    shapes = {picture.pixels.shape for picture in pictures}
    if len(shapes) > 1:
        raise ImageFileError(f"{path}: slices of one volume have {len(shapes)} sizes; give the files of one series")
    pixels = np.stack([picture.pixels.astype(np.float32) for picture in pictures])
    full = None
    if all(picture.full is not None for picture in pictures):
        ends = [end for picture in pictures if picture.full is not None for end in picture.full]
        full = min(ends), max(ends)
    used = max(picture.used for picture in pictures)
    whole = Picture(pixels, full, middle.inverted, middle.window, used)
    return volume_of(path, whole, geometry, window)
