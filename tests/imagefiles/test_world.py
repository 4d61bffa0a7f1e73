"""Where pixels lie: turning, cutting and resizing moves no voxel in the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medzoo.imagefiles import read_volume
from medzoo.imagefiles.world import Geometry, turn_of_plane
from tests.tools.scan_case import TILT, ramp, volume

FLIPS = [np.diag([x, y, z, 1.0]) for x in (1, -1) for y in (1, -1) for z in (1, -1)]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_voxel_keeps_its_place(tmp_path: Path, axis: Any, order: tuple[int, ...]) -> None:
    for flip in FLIPS:
        array = ramp().transpose(order)
        affine = (TILT @ flip)[:, [*order, 3]]
        found = read_volume(volume(tmp_path / "x.nii", array, affine), axis=axis)
        back = np.linalg.inv(found.geometry.affine)
        for voxel in [(0, 0, 0), (3, 2, 1), tuple(side - 1 for side in array.shape)]:
            column, row, at, _ = np.rint(back @ affine @ [*voxel, 1]).astype(int)
            assert found.stored[at, row, column] == array[voxel]
        # Slices go up, to the back or to the left; columns to the left, or of sagittal ones to the back.
        across = {"axial": 2, "coronal": 1, "sagittal": 0}[axis]
        assert found.geometry.slices[across] > 0
        assert found.geometry.columns[1 if axis == "sagittal" else 0] > 0
        assert (found.geometry.rows[1] > 0) if axis == "axial" else (found.geometry.rows[2] < 0)
        assert found.geometry.axes == "".join(nibabel.aff2axcodes(affine))


@pytest.mark.parametrize("to", [(4, 9), (16, 3), (8, 9)])
def test_resizing_keeps_the_edges(to: tuple[int, int]) -> None:
    before = Geometry((1.0, 2.0, 3.0), (0, 0.5, 3), (0, 2.0, 0.5), (1.5, 0, 0))
    after = before.resized((8, 9), to)
    for row, column in ((-0.5, -0.5), (7.5, 8.5)):
        there = (row + 0.5) * to[0] / 8 - 0.5, (column + 0.5) * to[1] / 9 - 0.5
        np.testing.assert_allclose(before.moved(2, row, column), after.moved(2, *there))
    assert after.spacing[0] == before.spacing[0]


@pytest.mark.parametrize(
    ("rows", "columns", "order", "flipped"),
    [
        ((0, 1, 0), (1, 0, 0), (0, 1), (False, False)),  # axial, as shown
        ((0, 1, 0), (-1, 0, 0), (0, 1), (False, True)),  # the left at the left
        ((0, -1, 0), (1, 0, 0), (0, 1), (True, False)),  # from the back
        ((1, 0, 0), (0, 1, 0), (1, 0), (False, False)),  # rows and columns the other way about
        ((0, 0, 1), (1, 0, 0), (0, 1), (True, False)),  # coronal, feet on top
        ((0, 0, -1), (0, -1, 0), (0, 1), (False, True)),  # sagittal, the front at the right
        ((0.6, 0.6, 0.5), (0.7, -0.7, 0.1), (0, 1), (False, False)),  # oblique: as it is
    ],
)
def test_planes_are_shown_upright(rows: Any, columns: Any, order: Any, flipped: Any) -> None:
    turn = turn_of_plane(rows, columns)
    assert (turn.order, turn.flipped) == (order, flipped)
