"""Volumes and series through a model of pictures, into files: one volume comes back, where the input lay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from click.testing import CliRunner

import medzoo
from medzoo.cli import main
from medzoo.errors import ConditionError, SavingError
from medzoo.imagefiles import ReadingWarning
from tests.tools.entry_points import write_entry_points
from tests.tools.image_case import RAMP, dicom, picture
from tests.tools.scan_case import IMAGE, OUTPUT, TILT, ramp, series, volume

AddModel = Callable[..., str]
MASKED = OUTPUT | {"type": "image+mask", "masks": 2, "mask_names": ["grey matter", "bone"]}


@pytest.fixture
def echo(add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddModel:
    """``echo(output, **condition) -> id`` of a model that gives back its input."""
    write_entry_points(tmp_path / "site", "echo", {"medzoo.families": {"echo": "tests.tools.scan_case:Echo"}})
    monkeypatch.syspath_prepend(tmp_path / "site")

    def add(output: dict[str, Any] = OUTPUT, **condition: Any) -> str:
        changes = {"output": output, "condition": IMAGE | condition, "sampling": {"latent": None}, "config": {}}
        return add_model({"weight": torch.zeros(1)}, family="echo", **changes)

    return add


def test_a_nifti_volume_comes_back_as_it_lay(echo: AddModel, tmp_path: Path) -> None:
    scan = volume(tmp_path / "DOE_JANE.nii.gz")
    done = medzoo.generate_into(tmp_path / "out", echo(), condition=scan)
    assert done.n == 1 and done.run.format == "nifti"
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    before, after = nibabel.load(scan), nibabel.load(path)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)
    np.testing.assert_allclose(after.get_fdata() * 255, np.asarray(before.dataobj), atol=1)
    assert after.header.get_xyzt_units()[0] == "mm"
    assert path.name == "00000000_input0.nii.gz"
    assert not [one for one in (tmp_path / "out").iterdir() if b"DOE" in one.read_bytes()]
    # The same bytes from Python.
    samples = medzoo.generate(echo(), condition=scan)
    assert samples.images.shape == (1, 1, 6, 8, 9)
    again = samples.save(tmp_path / "again", format="nifti") / path.name
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_landmark_keeps_its_place_when_slices_are_resized(echo: AddModel, tmp_path: Path, axis: str) -> None:
    array = np.zeros((24, 20, 16), np.uint8)
    array[5:9, 11:15, 6:10] = 200
    affine = TILT @ np.diag([-1, 1, 1, 1.0])
    scan = volume(tmp_path / "x.nii", array, affine)
    samples = medzoo.generate(echo(size=[30, 40]), condition=scan, axis=axis)
    found = nibabel.load(samples.save(tmp_path / "out", format="nifti") / "00000000_input0.nii.gz")
    middle = [
        (np.indices(values.shape) * values).sum((1, 2, 3)) / values.sum() for values in (array, found.get_fdata())
    ]
    places = [matrix @ [*voxel, 1] for matrix, voxel in zip((affine, found.affine), middle, strict=True)]
    np.testing.assert_allclose(*places, atol=0.1)  # millimetres
    assert nibabel.aff2axcodes(found.affine) == nibabel.aff2axcodes(affine)


def test_a_series_comes_back_as_one_that_points_at_it(echo: AddModel, tmp_path: Path) -> None:
    paths = series(tmp_path / "study" / "s1")
    series(tmp_path / "study" / "s2", patient="456", name="ROE^RICHARD", number=3)
    arguments = ["generate", echo(MASKED), "--condition", str(tmp_path / "study"), "--masks", "seg", "--quiet"]
    out = tmp_path / "out"
    result = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    by_number = {int(one.ImagePositionPatient[2]): one for one in map(pydicom.dcmread, paths)}
    made = [[pydicom.dcmread(out / f"0000000{i}_input{i}_{k:04d}.dcm") for k in range(1, 5)] for i in (0, 1)]
    for k, one in enumerate(made[0]):
        source = by_number[4 * k]
        assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
            assert one[name].value == source[name].value
        assert (one.InstanceNumber, one.SpacingBetweenSlices, one.SyntheticData) == (k + 1, 4, "YES")
        assert one.pixel_array[2, 3] == round((3000 + 40 * k) / 4095 * 255)
        assert "from an image that was given to it" in one.DerivationDescription
    # A study for each patient, none of them a patient's.
    heads = [slices[0] for slices in made]
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert len({one[name].value for one in heads}) == 2
    assert {len({one.SeriesInstanceUID for one in slices}) for slices in made} == {1}
    assert not [path for path in out.iterdir() if b"DOE" in path.read_bytes()]
    with pytest.warns(ReadingWarning, match="2 of 10 files are segmentations or doses, not images: passed over"):
        assert len(medzoo.generate(echo(), condition=out)) == 2
    seg = highdicom.seg.segread(out / "00000000_input0_mask.dcm")
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["grey matter", "bone"]
    assert seg.SegmentSequence[0].segmented_property_type.meaning.startswith("Gray matter")
    found = seg.get_volume(segment_numbers=[2])
    drawn = highdicom.image.get_volume_from_series(made[0])
    found = found.match_geometry(drawn)
    np.testing.assert_array_equal(found.array[..., 0] > 0, drawn.array > 255 * 5 / 8)
    assert seg.StudyInstanceUID == heads[0].StudyInstanceUID and seg.FrameOfReferenceUID == heads[0].FrameOfReferenceUID


def test_a_patient_is_kept_where_that_is_asked_for(echo: AddModel, tmp_path: Path) -> None:
    paths = series(tmp_path / "s1")
    model_id = echo()
    kept = medzoo.generate_into(tmp_path / "kept", model_id, condition=tmp_path / "s1", keep_patient=True)
    medzoo.generate_into(tmp_path / "not", model_id, condition=tmp_path / "s1")
    source, one = pydicom.dcmread(paths[0]), pydicom.dcmread(kept.folder / "00000000_input0_0001.dcm")
    for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate"):
        assert one[name].value == source[name].value
    assert one.SeriesInstanceUID != source.SeriesInstanceUID and one.SyntheticData == "YES"
    other = pydicom.dcmread(tmp_path / "not" / "00000000_input0_0001.dcm")
    assert other.SeriesInstanceUID != one.SeriesInstanceUID and other.SOPInstanceUID != one.SOPInstanceUID
    scan = volume(tmp_path / "x.nii")
    with pytest.raises(ConditionError, match="the inputs are no DICOM files of a patient; leave out --keep-patient"):
        medzoo.generate_into(tmp_path / "x", model_id, condition=scan, format="dicom", keep_patient=True)
    with pytest.raises(SavingError, match="add --format dicom"):
        medzoo.generate_into(tmp_path / "x", model_id, condition=tmp_path / "s1", format="nifti", keep_patient=True)


def test_pictures_of_several_patients_are_as_many_studies(echo: AddModel, tmp_path: Path) -> None:
    for patient in ("1", "2", "3"):
        series(tmp_path / "in" / patient, patient=patient, positions=(0,))
    made = medzoo.generate_into(tmp_path / "out", echo(size=[10, 12]), condition=tmp_path / "in", format="dicom")
    heads = [pydicom.dcmread(path) for path in sorted(made.folder.glob("*.dcm"))]
    assert len(heads) == 3 == len({one.StudyInstanceUID for one in heads}) == len({one.PatientID for one in heads})
    assert [float(length) for length in heads[0].PixelSpacing] == [1, 0.75]  # 5 x 6 pixels became 10 x 12
    assert [float(place) for place in heads[0].ImagePositionPatient] == [-10.375, 4.5, 0]


@pytest.mark.parametrize("format", ["nifti", "dicom"])
def test_a_stopped_run_goes_on(echo: AddModel, tmp_path: Path, format: str) -> None:
    scans = [volume(tmp_path / f"{k}.nii", ramp((9, 8, 3 + k))) for k in range(3)]
    model_id, calm, out = echo(MASKED), tmp_path / "calm", tmp_path / "out"
    options: dict[str, Any] = {"condition": scans, "format": format, "grid": True}
    options |= {"masks": "seg"} if format == "dicom" else {}
    medzoo.generate_into(calm, model_id, **options)
    assert medzoo.generate_into(out, model_id, stop=lambda: True, **options).whole == 1
    if format == "dicom":  # a slice that is gone is made anew
        (out / "00000000_input0_0002.dcm").unlink()
    done = medzoo.generate_into(out, model_id, resume=True, **options)
    assert done.made == (3 if format == "dicom" else 2)
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (calm, out)]
    assert files[0] == files[1]
    with pytest.raises(SavingError, match="holds another run: revision was"):
        medzoo.generate_into(out, model_id, resume=True, axis="coronal", **options)
    medzoo.generate_into(out, model_id, overwrite=True, condition=scans[0], format="nifti")
    assert {path.suffix for path in out.iterdir()} == {".gz", ".jsonl", ".json"}


def test_one_slice_is_a_picture(echo: AddModel, tmp_path: Path) -> None:
    scan = volume(tmp_path / "x.nii")
    done = medzoo.generate_into(tmp_path / "out", echo(), condition=scan, slice=4)
    assert done.run.format == "png" and (done.folder / "00000000_input0.png").is_file()
    one, whole = (medzoo.generate(echo(), condition=scan, **which) for which in ({"slice": 4}, {}))
    np.testing.assert_allclose(one.images[0], whole.images[0][:, 4], atol=1e-6)
    assert one.provenance is not None and one.provenance[0] is not None and one.provenance[0].geometry is not None
    assert one.provenance[0].geometry.origin == whole.provenance[0].geometry.place(4)  # type: ignore[index,union-attr]
    with pytest.raises(ConditionError, match=r"x.nii has no slice 6; it has 0 to 5"):
        medzoo.generate(echo(), condition=scan, slice=6)


def test_what_is_left_out_is_counted_and_what_does_not_fit_is_said(echo: AddModel, tmp_path: Path) -> None:
    series(tmp_path / "s")
    picture(tmp_path / "s" / "x.png", RAMP)
    model_id = echo()
    with pytest.warns(ReadingWarning, match="1 volumes are taken; 1 single pictures beside them are left out"):
        assert medzoo.generate(model_id, condition=tmp_path / "s").images.shape == (1, 1, 4, 5, 6)
    with pytest.raises(SavingError, match="PNG holds no volumes"):
        medzoo.generate_into(tmp_path / "out", model_id, condition=volume(tmp_path / "x.nii"), format="png")
    with pytest.raises(ConditionError, match="takes the path of a file, not its bytes"):
        medzoo.generate(model_id, condition=(tmp_path / "x.nii").read_bytes())
    with pytest.raises(ConditionError, match="takes no images, which a slice would be of"):
        medzoo.generate("10001", 1, slice=3)


def test_volumes_that_lie_askew_or_nowhere_have_no_segmentation_objects(echo: AddModel, tmp_path: Path) -> None:
    frames = dicom(tmp_path / "frames.dcm", np.stack([RAMP, RAMP // 2]))  # their file states no position
    sheared = volume(
        tmp_path / "sheared.nii", affine=np.array([[2, 0.8, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    )
    for name, scan in (("frames", frames), ("sheared", sheared)):
        with pytest.raises(SavingError, match="askew or lie nowhere have no segmentation objects"):
            medzoo.generate_into(tmp_path / name, echo(MASKED), condition=scan, format="dicom", masks="seg")
        done = medzoo.generate_into(tmp_path / name, echo(MASKED), condition=scan, format="dicom", overwrite=True)
        assert done.whole == 1


def test_our_own_translator_knows_tissues(tmp_path: Path) -> None:
    """10005 on slices of its own template that it did not learn from, as a volume without any other."""
    nilearn = pytest.importorskip("nilearn")
    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    t1, grey = (nibabel.load(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz") for kind in ("t1", "gm"))
    scan = tmp_path / "x.nii"
    nibabel.save(t1.slicer[:, :, 78:80], scan)
    done = medzoo.generate_into(tmp_path / "out", "10005", condition=scan)
    masks = nibabel.load(done.folder / "00000000_input0_mask.nii.gz")
    assert masks.shape == (128, 128, 2) and masks.header.get_zooms() == (1.5390625, 1.8203125, 1)
    assert json.loads((done.folder / "run.json").read_text())["mask_names"] == ["CSF", "grey matter", "white matter"]
    # Each voxel of the mask, looked up where it lies in the probabilities of the template.
    voxels = np.argwhere(np.ones(masks.shape)).T
    there = np.linalg.inv(grey.affine) @ masks.affine @ np.vstack([voxels, np.ones(voxels.shape[1])])
    x, y, z = np.rint(there[:3]).astype(int)
    known = np.asarray(grey.dataobj)[x, y, z] > 127
    found = np.asarray(masks.dataobj).ravel() == 2
    assert 2 * (known & found).sum() / (known.sum() + found.sum()) > 0.8
