"""Formats of samples: read back by the libraries that people use, and the same bytes however often a run is killed."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
import tarfile
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medzoo.datasets import Protocol, load_path
from medzoo.errors import SavingError, pip_install
from medzoo.files.png import encode_png
from medzoo.samples import Samples, formats
from medzoo.samples.saving import Writer, save
from medzoo.samples.shard import Shard
from tests.conftest import read_png
from tests.tools.paths import ROOT
from tests.tools.saving_case import RUN, N, batch, content, in_child, killed_at, write


def samples(shape: tuple[int, ...], masks: int = 0, n: int = 2, **changes: Any) -> Samples:
    """Random images [n, *shape] and masks, of a model."""
    images = np.random.default_rng(0).random((n, *shape), np.float32)
    drawn = (np.random.default_rng(1).random((n, masks, *shape[1:])) > 0.5).astype(np.uint8)
    fields: dict[str, Any] = {
        "images": images, "masks": drawn if masks else None, "indices": np.arange(3, 3 + n), "seed": 7,
        "model_id": "99001_TINY", "revision": "0" * 12, "weights_sha256": "f" * 64,
    }  # fmt: skip
    return Samples(**fields | changes)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def levels(images: NDArray[np.float32], bits: int) -> NDArray[Any]:
    """What pixels become: the nearest of all whole numbers, computed in double precision."""
    return np.floor(images.astype(float) * (2**bits - 1) + 0.5)


def test_every_format_has_its_row_in_the_documentation() -> None:
    rows = [line for line in (ROOT / "docs" / "formats.md").read_text().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == formats.builtin()
    for row in rows:
        format = formats.load(row.split("`")[1])
        needs = "" if format.needs is None else f"`pip install '{format.needs[1].replace('medzoo[', '.[')}'`"
        assert row.endswith(f"| {format.about} | {needs} |".replace("|  |", "| |"))
        assert all(f"{suffix}`" in row for suffix in format.suffixes)


def test_png_of_16_bits(tmp_path: Path) -> None:
    made = samples((1, 5, 7), masks=1)
    folder = save(made, tmp_path / "out", bits=16)
    image, words = read_png(folder / "00000004.png")
    assert image.dtype == np.uint16 and np.abs(image - levels(made.images[1, 0], 16)).max() <= 1
    assert "Synthetic" in words["Description"]
    assert read_png(folder / "00000004_mask.png")[0].dtype == np.uint8


def test_the_png_encoder_stores_16_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, (5, 7, 1), np.uint16)
    (tmp_path / "x.png").write_bytes(encode_png(pixels, {}))
    assert np.array_equal(read_png(tmp_path / "x.png")[0], pixels[:, :, 0])


@pytest.mark.parametrize(
    ("format", "bits", "shape", "masks", "told"),
    [
        ("png", 16, (3, 8, 8), 0, "PNG holds 16 bits for grey images, .*leave out --bits 16"),
        ("png", 8, (1, 4, 8, 8), 0, "PNG holds no volumes"),
        ("png", 8, (1, 8, 8), 2, "one mask, the samples are .* with 2 masks; take --format npz or nifti"),
        ("dicom", 8, (4, 8, 8), 0, "DICOM holds images of 1 or 3 channels"),
        ("dicom", 16, (3, 8, 8), 0, "DICOM holds 16 bits for grey images"),
        ("npy", 16, (1, 8, 8), 0, "NPY holds 32-bit floats, .*leave out --bits 16"),
        ("npz", 16, (1, 8, 8), 0, "NPZ holds 32-bit floats"),
        ("webdataset", 16, (2, 8, 8), 0, "PNG holds images of 1 or 3 channels"),
        ("nifti", 8, (1, 1, 40000), 0, "NIfTI holds up to 32767 pixels a side"),
        ("png", 12, (1, 8, 8), 0, "pixels of 12 bits cannot be written; choose 8 or 16"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_anything_is_written(
    tmp_path: Path, format: str, bits: Any, shape: tuple[int, ...], masks: int, told: str
) -> None:
    with pytest.raises(SavingError, match=told):
        save(samples(shape, masks), tmp_path / "out", format=format, bits=bits)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("format", "package"), [("dicom", "pydicom"), ("nifti", "nibabel")])
def test_a_missing_package_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SavingError, match=rf"needs {package}; type: " + re.escape(pip_install(f"medzoo[{format}]"))):
        save(samples((1, 8, 8)), tmp_path / "out", format=format)


def test_dicom_is_written_of_models_only(tmp_path: Path) -> None:
    with pytest.raises(SavingError, match="these have no model_id"):
        save(samples((1, 8, 8), model_id=None), tmp_path / "out", format="dicom")


def test_names_of_inputs_are_kept(tmp_path: Path) -> None:
    made = samples((1, 8, 8), masks=1, names=("Fall 1/links", "../.."))
    folder = save(made, tmp_path / "out")
    named = ["00000003_Fall-1-links.png", "00000003_Fall-1-links_mask.png", "00000004.png", "00000004_mask.png"]
    assert sorted(content(folder)) == [*named, "manifest.jsonl", "run.json"]
    assert [line["input"] for line in lines(folder)] == ["Fall 1/links", "../.."]
    # An image made from a patient's image may show the patient.
    words = read_png(folder / named[0])[1]["Description"]
    assert words == "Synthetic image made by 99001_TINY from an image that was given to it. Not for clinical use."


def test_overwriting_removes_named_files_of_the_run_and_no_others(tmp_path: Path) -> None:
    save(samples((1, 8, 8), names=("left", "right")), tmp_path)
    (tmp_path / "20240101_left.png").write_text("mine")
    (tmp_path / "00000005_under-way.png").write_text("of a batch that was killed")
    save(samples((1, 8, 8), names=("a", "b")), tmp_path, overwrite=True)
    assert sorted(content(tmp_path)) == [
        "00000003_a.png", "00000004_b.png", "20240101_left.png", "manifest.jsonl", "run.json"
    ]  # fmt: skip
    (tmp_path / "run.json").write_text("{")
    save(samples((1, 8, 8)), tmp_path, overwrite=True)
    assert sorted(content(tmp_path)) == [
        "00000003.png", "00000004.png", "20240101_left.png", "manifest.jsonl", "run.json"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "bits", "sop_class"),
    [
        ((1, 5, 7), 8, "1.2.840.10008.5.1.4.1.1.7"),
        ((1, 5, 7), 16, "1.2.840.10008.5.1.4.1.1.7"),
        ((3, 5, 7), 8, "1.2.840.10008.5.1.4.1.1.7"),
        ((1, 4, 5, 7), 8, "1.2.840.10008.5.1.4.1.1.7.2"),
        ((1, 4, 5, 7), 16, "1.2.840.10008.5.1.4.1.1.7.3"),
        ((3, 4, 5, 7), 8, "1.2.840.10008.5.1.4.1.1.7.4"),
    ],
)
def test_dicom_is_read_by_pydicom(tmp_path: Path, shape: tuple[int, ...], bits: Any, sop_class: str) -> None:
    import pydicom

    made = samples(shape, masks=1)
    assert made.masks is not None
    spacing = (2.0, 0.7, 0.5)[-len(shape) + 1 :]
    folder = save(made, tmp_path / "out", format="dicom", bits=bits, spacing=spacing)
    image, mask = (pydicom.dcmread(folder / f"00000004{kind}.dcm") for kind in ("", "_mask"))
    wanted = np.moveaxis(made.images[1], 0, -1)
    wanted = wanted[..., 0] if shape[0] == 1 else wanted
    assert np.abs(image.pixel_array - levels(wanted, bits)).max() <= (bits == 16)
    assert np.array_equal(mask.pixel_array, made.masks[1, 0] * 255)
    assert image.SOPClassUID == sop_class and image.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    for data in (image, mask):
        assert data.SyntheticData == "YES" and data.BurnedInAnnotation == "NO" and data.ConversionType == "SYN"
        assert "Synthetic image made by 99001_TINY" in data.DerivationDescription
        assert data.PixelSpacing == [0.7, 0.5] and data.InstanceNumber == 5
        assert data.get("SpacingBetweenSlices") == (2 if len(shape) == 4 else None)
        assert json.loads(data.ImageComments)["index"] == 4
        assert all(uid.startswith("2.25.") and uid.is_valid for uid in (data.SOPInstanceUID, data.SeriesInstanceUID))
        data.walk(lambda _, element: None if element.VR not in ("DA", "TM", "DT") else element.value and pytest.fail())
    assert mask.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    other = pydicom.dcmread(folder / "00000003.dcm")
    for uid in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert image[uid] == mask[uid] == other[uid]
    assert image.SeriesInstanceUID == other.SeriesInstanceUID != mask.SeriesInstanceUID
    assert len({image.SOPInstanceUID, mask.SOPInstanceUID, other.SOPInstanceUID}) == 3


def test_dicom_identifiers_follow_what_was_made(tmp_path: Path) -> None:
    import pydicom

    def read(name: str, **changes: Any) -> Any:
        folder = save(samples((1, 8, 8), **changes), tmp_path / name, format="dicom")
        return pydicom.dcmread(folder / "00000003.dcm")

    one, same = read("one"), read("same")
    assert one == same
    for changes in ({"seed": 8}, {"model_id": "99002_X"}, {"revision": "1" * 12}, {"weights_sha256": "e" * 64}):
        other = read(str(changes), **changes)
        assert other.SOPInstanceUID != one.SOPInstanceUID and other.StudyInstanceUID != one.StudyInstanceUID
    # The same index and seed under another condition is another image.
    other = read("condition", condition=("benign", "benign"), images=1 - samples((1, 8, 8)).images)
    assert other.SOPInstanceUID != one.SOPInstanceUID and other.SeriesInstanceUID != one.SeriesInstanceUID
    assert other.StudyInstanceUID == one.StudyInstanceUID
    assert "PixelSpacing" not in one
    far = read("far", indices=np.array([3, 2**31]))
    assert far == one and pydicom.dcmread(tmp_path / "far" / "2147483648.dcm").InstanceNumber is None


def test_dicom_takes_any_words(tmp_path: Path) -> None:
    import pydicom

    folder = save(samples((1, 8, 8), model_id="Модель\\" + "x" * 80), tmp_path / "out", format="dicom")
    data = pydicom.dcmread(folder / "00000003.dcm")
    assert data.ManufacturerModelName == "Модель/" + "x" * 57


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 5, 7), (4, 5, 7), (1, 4, 5, 7), (2, 4, 5, 7)])
def test_nifti_is_read_by_nibabel(tmp_path: Path, shape: tuple[int, ...], bits: Any) -> None:
    import nibabel

    made = samples(shape, masks=2)
    assert made.masks is not None
    spacing = (2.0, 0.7, 0.5)[-len(shape) + 1 :]
    folder = save(made, tmp_path / "out", format="nifti", bits=bits, spacing=spacing)
    image = nibabel.load(folder / "00000004.nii.gz")
    mask = nibabel.load(folder / "00000004_mask.nii.gz")
    assert isinstance(image, nibabel.Nifti1Image) and isinstance(mask, nibabel.Nifti1Image)
    volume = made.images[1] if len(shape) == 4 else made.images[1][:, None]
    found = image.get_fdata().reshape(*image.shape[:3], -1)
    assert found.shape[:3] == volume.shape[:0:-1]
    assert np.abs(found - volume.transpose(3, 2, 1, 0)).max() < 0.51 / (2**bits - 1)
    assert image.get_data_dtype() == f"uint{bits}"
    masks = made.masks[1] if len(shape) == 4 else made.masks[1][:, None]
    assert np.array_equal(np.asarray(mask.dataobj), masks.transpose(3, 2, 1, 0))
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    thick = 2.0 if len(shape) == 4 else 1.0
    assert np.allclose(image.header.get_zooms()[:3], (0.5, 0.7, thick))
    assert image.header.get_xyzt_units()[0] == "mm" and np.allclose(image.affine, mask.affine)
    assert b"Synthetic image made by 99001_TINY" in image.header["descrip"].item()
    assert json.loads(image.header.extensions[0].get_content())["index"] == 4


def test_nifti_without_spacing_says_so_and_has_no_date(tmp_path: Path) -> None:
    import nibabel

    path = save(samples((1, 5, 7)), tmp_path / "out", format="nifti") / "00000003.nii.gz"
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    assert image.header.get_zooms() == (1, 1, 1) and image.header.get_xyzt_units()[0] == "unknown"
    assert path.read_bytes()[4:8] == b"\0\0\0\0"
    assert len(gzip.decompress(path.read_bytes())) > 352 + 35


def test_webdataset_members_and_lines(tmp_path: Path) -> None:
    made = samples((3, 8, 8), masks=1, labels=np.array([1, 0]), names=("a.b", "c"))
    assert made.masks is not None
    folder = save(made, tmp_path / "out", format="webdataset")
    assert sorted(content(folder)) == ["00000003.tar", "manifest.jsonl", "run.json"]
    with tarfile.open(folder / "00000003.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar.getmembers()} == {(0, 0, 0, "", 0o644)}
    keys = [name.partition(".") for name in members]
    # The convention: members of one sample follow each other, the same up to the first dot.
    assert [key[0] for key in keys] == ["00000003_a-b"] * 4 + ["00000004_c"] * 4
    assert [key[2] for key in keys] == ["png", "mask.png", "cls", "json"] * 2
    (tmp_path / "x.png").write_bytes(members["00000004_c.png"])
    assert np.array_equal(read_png(tmp_path / "x.png")[0], made.uint8()[1].transpose(1, 2, 0))
    assert members["00000003_a-b.cls"] == b"1" and json.loads(members["00000004_c.json"])["input"] == "c"
    line = lines(folder)[1]
    assert (line["shard"], line["file"], line["mask_file"]) == (
        "00000003.tar", "00000004_c.png", "00000004_c.mask.png"
    )  # fmt: skip


def test_webdataset_holds_what_a_png_cannot(tmp_path: Path) -> None:
    made = samples((4, 8, 8), masks=2)
    assert made.masks is not None
    with tarfile.open(save(made, tmp_path / "out", format="webdataset") / "00000003.tar") as tar:
        image, mask = (
            np.load(io.BytesIO(tar.extractfile(f"00000004.{end}").read())) for end in ("npy", "mask.npy")
        )  # fmt: skip
    assert np.array_equal(image, made.images[1]) and np.array_equal(mask, made.masks[1])


SHARDS = replace(RUN, format="webdataset")
SMALL = 7  # samples in a shard, at least: with batches of 4 shards of 8


def test_shards_lie_on_a_grid_and_are_made_whole_again(tmp_path: Path) -> None:
    calm, out = tmp_path / "calm", tmp_path / "out"
    assert write(calm, run=SHARDS, shard=SMALL) == list(range(10, 28))
    assert sorted(content(calm)) == ["00000010.tar", "00000018.tar", "00000026.tar", "manifest.jsonl", "run.json"]
    assert write(out, 13, run=SHARDS, shard=SMALL) == list(range(10, 23))
    # A longer run makes the last shard anew, a shorter one nothing.
    assert write(out, 5, run=SHARDS, shard=SMALL, resume=True) == []
    assert write(out, run=SHARDS, shard=SMALL, resume=True) == list(range(18, 28))
    assert content(out) == content(calm)
    (out / "00000010.tar").unlink()
    (out / "00000026.tar").unlink()
    assert write(out, run=SHARDS, shard=SMALL, resume=True) == [*range(10, 18), 26, 27]
    assert content(out) == content(calm)
    (out / "00000026.tar").unlink()
    assert write(out, 17, run=SHARDS, shard=SMALL, resume=True) == [26, 27]
    assert content(out) == content(calm)
    write(out, 2, replace(SHARDS, seed=1), shard=SMALL, overwrite=True)
    assert sorted(content(out)) == ["00000010.tar", "manifest.jsonl", "run.json"]


def test_a_stopped_run_keeps_the_shard_it_was_at_but_never_a_smaller_one(tmp_path: Path) -> None:
    calm, out = tmp_path / "calm", tmp_path / "out"
    write(calm, run=SHARDS, shard=SMALL)
    with pytest.raises(KeyboardInterrupt), Writer(out, SHARDS, shard=SMALL) as writer:
        writer.put(batch(range(10, 14)))
        raise KeyboardInterrupt
    assert writer.written == 4 and (out / "00000010.tar").exists()
    write(out, 7, run=SHARDS, shard=SMALL, resume=True)
    before = content(out)
    with pytest.raises(KeyboardInterrupt), Writer(out, SHARDS, shard=SMALL, resume=True) as writer:
        writer.put(batch(range(10, 14)))  # the file of 7 samples is not replaced by one of 4
        raise KeyboardInterrupt
    assert content(out) == before
    write(out, run=SHARDS, shard=SMALL, resume=True)
    assert content(out) == content(calm)


def test_a_shard_that_failed_half_way_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm, out = tmp_path / "calm", tmp_path / "out"
    write(calm, run=SHARDS, shard=SMALL)
    add, count = Shard.add, iter(range(100))

    def interrupted(shard: Shard, members: Any) -> None:
        add(shard, members)
        if next(count) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(Shard, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(out, run=SHARDS, shard=SMALL)
    monkeypatch.undo()
    assert sorted(content(out)) == ["00000010.tar", "manifest.jsonl", "run.json"] and len(lines(out)) == 8
    write(out, run=SHARDS, shard=SMALL, resume=True)
    assert content(out) == content(calm)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("format", ["dicom", "nifti", "webdataset"])
def test_killed_at_any_step_and_resumed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    run = replace(RUN, format=format)
    write(tmp_path / "calm", run=run, shard=SMALL)
    calm = content(tmp_path / "calm")
    assert len(lines(tmp_path / "calm")) == N
    killed = 0
    for step in range(0, 90, 15) if format != "webdataset" else range(14):
        folder = tmp_path / str(step)
        status = in_child(killed_at(step, folder, monkeypatch, run, shard=SMALL))
        killed += status == -9
        assert status in (0, -9)
        for name, found in content(folder).items() if folder.exists() else ():
            assert name.endswith(".part") or name == "manifest.jsonl" or found == calm[name]
        write(folder, run=run, resume=True, shard=SMALL)
        assert content(folder) == calm
    assert killed > 3


def test_a_format_of_an_installed_package_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, resumed, overwritten and read back without a line of medzoo that knows it."""
    (tmp_path / "their_raw.py").write_text(
        """
import numpy as np
from medzoo.errors import SavingError
from medzoo.samples.formats import Encoded, Format

def check(run, shape, masks):
    if masks:
        raise SavingError("raw holds no masks")

def encode(samples, i, run, record):
    return Encoded((".raw", samples.uint8()[i].tobytes()), others=((".txt", repr(samples.images[i].shape).encode()),))

def decode(content):
    return np.frombuffer(content, np.uint8).reshape(3, 8, 8).astype(np.float32) / 255

FORMAT = Format(suffixes=(".raw", ".txt"), about="8 bits", check=check, encode=encode, decode=decode)
"""
    )
    point = EntryPoint("raw", "their_raw:FORMAT", "medzoo.samples.formats")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("medzoo.plugins.installed", lambda group: [point] * (group == point.group))
    run, out = replace(RUN, format="raw"), tmp_path / "out"
    assert "raw" in formats.names()
    with pytest.raises(SavingError, match="raw holds no masks"):
        save(samples((3, 8, 8), masks=1), tmp_path / "none", format="raw")

    def go_on(n: int, **options: Any) -> None:
        with Writer(out, run, **options) as writer:
            for part in writer.pending(n):
                writer.put(batch(part, masks=False))

    go_on(5)
    go_on(8, resume=True)
    assert [line["file"] for line in lines(out)] == [f"{index:08d}.raw" for index in range(10, 18)]
    read = load_path(out, Protocol(size=8))
    assert np.array_equal(read.images, batch(range(10, 18)).uint8())
    go_on(1, overwrite=True)
    assert sorted(content(out)) == ["00000010.raw", "00000010.txt", "manifest.jsonl", "run.json"]


def test_a_format_states_every_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = formats.load("png")
    monkeypatch.setattr(formats, "load", lambda name: replace(png, suffixes=(".dat",)))
    with pytest.raises(SavingError, match=r"ends with '\.png', its suffixes are \.dat; state it"):
        save(samples((1, 8, 8)), tmp_path / "out")
