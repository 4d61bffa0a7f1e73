"""Where pixels lie in the patient, and which way up a picture is shown.

One convention for everything that is read and made: millimetres to the patient's left, to the back and upwards (LPS,
that of DICOM). Arrays are [slices, rows, columns]. Axial slices have the front on top and the patient's left at the
right; coronal ones the head on top and the left at the right; sagittal ones the head on top and the front at the left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Axis = Literal["axial", "coronal", "sagittal"]
Vector = tuple[float, float, float]

# Of a plane, by the axis of the body that crosses it (0 left, 1 back, 2 up): where its rows and its columns go to.
_DOWN = {0: ((2, -1), (1, 1)), 1: ((2, -1), (0, 1)), 2: ((1, 1), (0, 1))}
# The planes across slices, rows and columns of each.
ACROSS: dict[Axis, tuple[Axis, Axis, Axis]] = {
    "axial": ("axial", "coronal", "sagittal"),
    "coronal": ("coronal", "axial", "sagittal"),
    "sagittal": ("sagittal", "axial", "coronal"),
}
_SURE = 0.8  # least cosine of an angle with an axis of the body: 37 degrees


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of an array [slices, rows, columns] lie; a picture is one slice.

    Attributes:
        origin: centre of voxel [0, 0, 0] in millimetres, LPS.
        slices, rows, columns: the vector from a voxel to the next slice, row and column.
        axes: letters of the directions in which the axes of the file went, such as RAS of a NIfTI file, which a file
            written of it keeps; None for LPS.
        at: of uneven slices the centre of voxel [k, 0, 0] of each; None where ``slices`` says it.
    """

    origin: Vector
    slices: Vector
    rows: Vector
    columns: Vector
    axes: str | None = None
    at: tuple[Vector, ...] | None = None

    @property
    def steps(self) -> NDArray[np.float64]:
        """The three vectors as rows."""
        return np.array([self.slices, self.rows, self.columns])

    @property
    def spacing(self) -> Vector:
        """Millimetres between neighbours, in the order of the axes."""
        return vector(np.linalg.norm(self.steps, axis=1))

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4: (column, row, slice, 1) -> millimetres to the right, to the front and upwards (RAS, that of NIfTI)."""
        affine = np.eye(4)
        affine[:3, :3] = self.steps[::-1].T
        affine[:3, 3] = self.origin
        return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)

    def place(self, k: int) -> Vector:
        """Centre of the first voxel of slice ``k``."""
        return self.at[k] if self.at is not None else self.moved(k)

    def moved(self, k: float = 0, row: float = 0, column: float = 0) -> Vector:
        """Where voxel [k, row, column] lies."""
        return vector(np.array(self.origin) + np.array([k, row, column]) @ self.steps)

    def resized(self, size: tuple[int, int], to: tuple[int, int]) -> Geometry:
        """Of the same slices with other numbers of rows and columns: edges stay where they are."""
        if size == to:
            return self
        tall, wide = size[0] / to[0], size[1] / to[1]
        shift = (0.5 * tall - 0.5) * np.array(self.rows) + (0.5 * wide - 0.5) * np.array(self.columns)
        return replace(
            self,
            origin=vector(np.array(self.origin) + shift),
            rows=vector(tall * np.array(self.rows)),
            columns=vector(wide * np.array(self.columns)),
            at=None if self.at is None else tuple(vector(np.array(place) + shift) for place in self.at),
        )

    def slice(self, k: int) -> Geometry:
        """Of slice ``k`` alone."""
        return replace(self, origin=self.place(k), at=None)


@dataclass(frozen=True)
class Turn:
    """How stored axes become shown ones: the stored axis of each, and whether it is reversed."""

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view; axes beyond those turned stay behind."""
        rest = range(len(self.order), array.ndim)
        turned = np.transpose(array, (*self.order, *rest))
        return np.flip(turned, tuple(i for i, flip in enumerate(self.flipped) if flip))

    def of_slices(self) -> Turn:
        """The same turn of pictures for a stack of them, whose order stays."""
        return Turn((0, *(1 + axis for axis in self.order)), (False, *self.flipped))

    def geometry(self, origin: NDArray[np.float64], steps: NDArray[np.float64], shape: tuple[int, ...]) -> Geometry:
        """Of the shown array.

        Args:
            origin: [3], of the first stored voxel.
            steps: [3, 3], a row for each stored axis.
            shape: of the stored array.
        """
        origin, rows = origin.astype(float), []
        for axis, flip in zip(self.order, self.flipped, strict=True):
            step = steps[axis]
            if flip:
                origin, step = origin + (shape[axis] - 1) * step, -step
            rows.append(vector(step))
        return Geometry(vector(origin), rows[0], rows[1], rows[2])


def turn_of_plane(rows: Vector, columns: Vector) -> Turn:
    """How a stored picture is shown upright, by where its rows and columns go to (unit vectors, LPS).

    Both must lie within 37 degrees of the axes of the body; else it stays as it is, as do oblique planes of the heart.
    """
    directions = np.array([rows, columns], float)
    main = np.abs(directions).argmax(axis=1)
    if main[0] == main[1] or min(abs(directions[0, main[0]]), abs(directions[1, main[1]])) < _SURE:
        return Turn((0, 1), (False, False))
    order, flipped = [], []
    for axis, sign in _DOWN[3 - int(main.sum())]:
        stored = main.tolist().index(axis)
        order.append(stored)
        flipped.append(bool(directions[stored, axis] * sign < 0))
    return Turn(tuple(order), tuple(flipped))


def turn_of_volume(directions: NDArray[Any], axis: Axis) -> Turn:
    """How a stored volume becomes slices of a plane.

    Args:
        directions: [3, 2] whole numbers, for each stored axis which of left, back and up (0, 1, 2) it is, and whether
            it goes there (1 or -1), as ``nibabel.orientations.ornt_transform`` gives them.
    """
    across = {"axial": 2, "coronal": 1, "sagittal": 0}[axis]
    order, flipped = [], []
    for wanted, sign in ((across, 1), *_DOWN[across]):
        stored = directions[:, 0].tolist().index(wanted)
        order.append(stored)
        flipped.append(bool(directions[stored, 1] * sign < 0))
    return Turn(tuple(order), tuple(flipped))


def main_axis(geometry: Geometry) -> Axis:
    """The plane that the slices lie nearest to."""
    planes: tuple[Axis, Axis, Axis] = ("sagittal", "coronal", "axial")
    return planes[int(np.abs(np.cross(geometry.columns, geometry.rows)).argmax())]


def vector(values: Any) -> Vector:
    x, y, z = (float(value) + 0.0 for value in values)  # no -0.0
    return x, y, z
