"""Where the pixels of a DICOM frame lie, as its file says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medzoo.imagefiles.world import Turn, Vector, turn_of_plane, vector


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a frame lie, as they are stored.

    Attributes:
        turn: what makes it upright.
        position: of the first pixel, in millimetres (LPS); None where not stated.
        directions: unit vectors along which columns and rows are counted: from a row to the next, from a column to the
            next; None where not stated.
        spacing: millimetres between rows and between columns; None where not stated.
        thickness: from slice to slice, as far as one frame can say.
        at_detector: the distances are those at the detector.
    """

    turn: Turn
    position: Vector | None
    directions: tuple[Vector, Vector] | None
    spacing: tuple[float, float] | None
    thickness: float | None
    at_detector: bool = False


def plane_of(header: Any, frame: int) -> Plane:
    """What a file says about where a frame lies. Numbers that say nothing (zeros, too few) are passed over."""
    position = _numbers(stated(header, frame, "PlanePositionSequence").get("ImagePositionPatient"), 3)
    cosines = _numbers(stated(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient"), 6)
    measures = stated(header, frame, "PixelMeasuresSequence")
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    at_detector = spacing is None
    if at_detector:
        spacing = _numbers(measures.get("ImagerPixelSpacing"), 2)
    if spacing is not None and min(spacing) <= 0:
        spacing = None
    between = [_numbers(measures.get(name), 1) for name in ("SpacingBetweenSlices", "SliceThickness")]
    thickness = next((abs(found[0]) for found in between if found is not None and found[0]), None)
    directions = None
    if cosines is not None:
        along, down = np.array(cosines[:3]), np.array(cosines[3:])  # a row runs along the first, a column the second
        lengths = np.linalg.norm(along), np.linalg.norm(down)
        if all(abs(length - 1) < 0.01 for length in lengths) and abs(along @ down) < 0.01:
            directions = vector(down / lengths[1]), vector(along / lengths[0])
    turn = turn_of_plane(*directions) if directions is not None else _turn_of_letters(header)
    return Plane(
        turn,
        None if position is None else vector(position),
        directions,
        None if spacing is None else (spacing[0], spacing[1]),
        thickness,
        at_detector,
    )


def _turn_of_letters(header: Any) -> Turn:
    """By Patient Orientation (letters for where rows and columns go), of upright pictures from the front.

    Mammograms are hung by their breast, not by the patient's left, and stay as they are.
    """
    letters = [str(letter).upper() for letter in header.get("PatientOrientation") or ()]
    plain = len(letters) == 2 and letters[0][:1] in ("L", "R") and letters[1][:1] in ("F", "H")
    if not plain or header.get("Modality") == "MG":
        return Turn((0, 1), (False, False))
    return Turn((0, 1), (letters[1][:1] == "H", letters[0][:1] == "R"))


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    if len(values) != count or any(one in (None, "") for one in values):
        return None
    numbers = tuple(float(one) for one in values)
    return numbers if np.isfinite(numbers).all() else None


def stated(header: Any, frame: int, group: str) -> Any:
    """Where an attribute of a frame is stated; enhanced objects do so for each frame or for all."""
    for groups, at in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        sequence = header.get(groups)
        if sequence and len(sequence) > at and sequence[at].get(group):
            return sequence[at][group].value[0]
    return header
