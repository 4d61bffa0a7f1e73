"""Which files are the slices of one volume, in what order, and where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medzoo.errors import ImageFileError
from medzoo.imagefiles import ReadingWarning, read_image
from medzoo.imagefiles.stacks import files_in, find
from medzoo.imagefiles.volume import Stack
from tests.tools.image_case import RAMP, dicom, nifti, picture, tiff
from tests.tools.scan_case import series, volume


def stacks(files: Any, axis: Any = None) -> list[Stack]:
    found = find(files, axis)
    assert all(isinstance(one, Stack) for one in found)
    return [one for one in found if isinstance(one, Stack)]


def test_a_series_is_put_in_order_by_position(tmp_path: Path) -> None:
    series(tmp_path / "a" / "b", positions=(8, 0, 12, 4))
    series(tmp_path / "c", patient="456")
    (tmp_path / "notes.txt").write_text("no picture")
    first, second = stacks(files_in(tmp_path))
    assert first.depth == second.depth == 4 and len(first.files) == 4
    loaded = first.load(None)
    # The bright pixel says where the slice lies; black and white are those of the window that the files state.
    np.testing.assert_allclose(loaded.units(slice(None))[:, 2, 3], [3000, 3040, 3080, 3120])
    np.testing.assert_allclose(loaded.part(0)[2, 3], 3000 / 4095, atol=1e-3)
    lie = first.provenance
    assert lie.geometry is not None and lie.study is not None and lie.placed
    np.testing.assert_allclose(lie.geometry.moved(3, 2, 3), [-10 + 3 * 1.5, 5 + 2 * 2.0, 12])
    assert lie.geometry.spacing == (4, 2, 1.5)
    assert [one.uid for one in lie.study.instances] == ["2.25.12371", "2.25.12373", "2.25.12370", "2.25.12372"]
    assert lie.study.patient == "123" and second.provenance.study.patient == "456"  # type: ignore[union-attr]


def test_a_turned_series_keeps_its_places(tmp_path: Path) -> None:
    """Rows from the back to the front, columns to the right: shown with the front on top and the left at the right."""
    paths = series(
        tmp_path, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0], ImagePositionPatient=[-10.0, 5.0, 0.0], positions=(0,)
    )
    (one,) = stacks(paths)
    image = read_image(paths[0])
    assert one.depth is None and one.provenance.geometry is not None
    assert image[0, 2, 2] == image.max()  # column 3 of 6 has become column 2, row 2 of 5 has stayed
    np.testing.assert_allclose(one.provenance.geometry.moved(0, 2, 2), [-10 - 3 * 1.5, 5 - 2 * 2.0, 0])


def test_patient_orientation_turns_upright_pictures_but_no_mammograms(tmp_path: Path) -> None:
    for letters, modality, turned in (
        (["L", "F"], "CR", False), (["R", "F"], "CR", True), (["R", "F"], "MG", False), (["A", "R"], "CR", False)
    ):  # fmt: skip
        image = read_image(dicom(tmp_path / "x.dcm", RAMP, PatientOrientation=letters, Modality=modality))
        assert bool(image[0, 0, 0] > image[0, 0, -1]) is turned


def test_two_images_at_each_place_are_two_volumes(tmp_path: Path) -> None:
    early = series(tmp_path, InstanceNumber=1)
    late = series(tmp_path / "late", InstanceNumber=2)
    two = stacks([*early, *late])
    assert [one.depth for one in two] == [4, 4]
    assert {path.parent.name == "late" for path in two[1].files} == {True}
    with pytest.raises(ImageFileError, match="a series has 1 to 2 images at one place"):
        find([*early, late[0]])


def test_uneven_slices_are_said_and_keep_their_places(tmp_path: Path) -> None:
    with pytest.warns(ReadingWarning, match=r"slices are 4 to 9 mm apart; a NIfTI volume of them states the mean"):
        (one,) = stacks(series(tmp_path, positions=(0, 4, 13)))
    assert one.provenance.geometry is not None
    assert [one.provenance.geometry.place(k)[2] for k in range(3)] == [0, 4, 13]


def test_what_does_not_lie_on_one_another_stays_a_picture(tmp_path: Path) -> None:
    stated: dict[str, Any] = {"ImagerPixelSpacing": [0.1, 0.2]}
    found = stacks([dicom(tmp_path / f"view{k}", RAMP, SOPInstanceUID=f"2.25.{k}", **stated) for k in range(2)])
    assert [one.depth for one in found] == [None, None]
    lie = found[0].provenance
    assert lie.geometry is not None and lie.geometry.spacing[1:] == (0.1, 0.2)
    assert not lie.placed and lie.study is not None and lie.study.at_detector


def test_frames_of_one_file_are_a_volume(tmp_path: Path) -> None:
    frames = np.stack([RAMP, RAMP // 2, RAMP // 4])
    (one,) = stacks([dicom(tmp_path / "x.dcm", frames, PixelSpacing=[1, 1], SpacingBetweenSlices=3)])
    assert one.depth == 3 and one.provenance.geometry is not None and one.provenance.geometry.spacing == (3, 1, 1)
    assert one.load(None).part(1).max() == np.float32(127 / 255)


def test_the_plane_of_a_nifti_volume_is_chosen_and_of_a_series_said(tmp_path: Path) -> None:
    path = volume(tmp_path / "x.nii")
    assert [stacks([path], axis)[0].depth for axis in (None, "axial", "coronal", "sagittal")] == [6, 6, 8, 9]
    flat = nifti(tmp_path / "flat.nii", RAMP.T[:, None, :])  # one coronal slice
    for axis in (None, "coronal", "sagittal"):
        (one,) = stacks([flat], axis)
        assert one.depth is None and one.load(None).stored.shape == (1, 32, 48)
    with pytest.warns(ReadingWarning, match="1 DICOM series of axial slices are taken as acquired, not coronal"):
        find(series(tmp_path / "s"), "coronal")


def test_files_of_which_a_part_is_used_are_counted(tmp_path: Path) -> None:
    paths = [tiff(tmp_path / "x.tif", RAMP, RAMP, RAMP), picture(tmp_path / "x.png", RAMP)]
    with pytest.warns(ReadingWarning, match="1 of 2 files hold several pictures, of which the middle one"):
        assert find(paths) == paths


def test_colours_of_a_nifti_file_are_pictures_and_counted(tmp_path: Path) -> None:
    array = np.zeros((6, 5, 4, 3), np.uint8)
    with pytest.warns(ReadingWarning, match="1 of 2 files hold several pictures, of which the middle one"):
        found = find([nifti(tmp_path / "a.nii", array), nifti(tmp_path / "b.nii", array[:, :, :1])], "coronal")
    assert found == [tmp_path / "a.nii", tmp_path / "b.nii"]


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.ones((6, 5, 4), np.complex64))
    for read in (read_image, lambda path: find([path])):
        with pytest.raises(ImageFileError, match=r"a\.nii: holds complex numbers; save their magnitude"):
            read(path)


def test_headers_are_read_once_and_again_where_files_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    whole = pydicom.dcmread

    def dcmread(path: Path, **asked: Any) -> Any:
        read.append(path)
        return whole(path, **asked)

    monkeypatch.setattr(pydicom, "dcmread", dcmread)
    paths = series(tmp_path)
    for _ in range(3):
        assert [one.depth for one in stacks(files_in(tmp_path))] == [4]
    assert len(read) == 2 * len(paths)  # whether it is a picture, and where it lies
    dicom(paths[0], RAMP)
    assert len(find(files_in(tmp_path))) == 2


def test_a_study_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series(tmp_path / "deep")
    monkeypatch.setenv("MEDZOO_LIMIT_INPUT_FILES", "3")
    with pytest.raises(ImageFileError, match="a study: 4 files, at most 3 are accepted"):
        files_in(tmp_path)
