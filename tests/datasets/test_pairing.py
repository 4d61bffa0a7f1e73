"""Masks by their names, splits by theirs, and what is said where a folder cannot be understood."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medzoo.datasets import Protocol, load_path, pairing
from medzoo.errors import DatasetError, MedzooError
from medzoo.imagefiles import ReadingWarning
from medzoo.samples import Samples
from medzoo.samples.saving import save
from medzoo.training.data import load_folder
from tests.tools import image_case as case
from tests.tools.image_case import DISC, RAMP

FORM = Protocol(size=48)


def filled(folder: Path, image: str, mask: str, n: int = 12, masks: int | None = None) -> Path:
    """Images and masks by templates of their names."""
    for i in range(n):
        case.picture(folder / image.format(i), np.roll(RAMP, i, 1))
    for i in range(n if masks is None else masks):
        case.picture(folder / mask.format(i), DISC * 255)
    return folder


BESIDE = [
    "{}_mask.png", "{}_Mask.png", "{}_MASK.png", "{}-mask.png", "{} mask.png", "{}.mask.png", "{}_mask_1.png",
    "{}_mask1.png", "{}_masks.png", "{}_segmentation.png", "{}_Segmentation.png", "{}_seg.png", "{}-seg.png",
    "{}_label.png", "{}_labels.png", "{}_gt.png", "{}_GT.png", "{}_groundtruth.png", "{}_ground_truth.png",
    "{}_annotation.png", "mask_{}.png", "seg-{}.png",
]  # fmt: skip


@pytest.mark.parametrize("mask", BESIDE)
@pytest.mark.parametrize("image", ["im{}", "benign ({})", "1.2.{}"])
def test_masks_beside_their_images(tmp_path: Path, mask: str, image: str) -> None:
    name = mask.replace("{}", image)
    found = load_path(filled(tmp_path, f"{image}.png", name), FORM)
    assert len(found) == 12 and found.masks is not None and abs(found.masks.mean() - DISC.mean()) < 0.01
    assert not any(pairing.of_mask(name) for name in found.names)


@pytest.mark.parametrize(
    "folders",
    [
        ("images", "masks"), ("Images", "Masks"), ("image", "mask"), ("img", "gt"), ("images", "labels"),
        ("Original", "Ground Truth"), ("original", "ground_truth"), ("imgs", "GroundTruth"),
        ("images", "segmentations"),
        ("input", "label"), ("IMAGES", "SEG"), ("pictures", "annotations"), ("scans", "masks"), (".", "masks"),
        (".", "Ground Truth"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mask", ["{}.png", "{}_mask.png", "{}_segmentation.png", "{}_Mask_2.PNG", "mask_{}.png"])
def test_masks_in_a_folder(tmp_path: Path, folders: tuple[str, str], mask: str) -> None:
    images, masks = folders
    found = load_path(filled(tmp_path, f"{images}/a{{}}.jpg", f"{masks}/{mask.replace('{}', 'a{}')}"), FORM)
    assert len(found) == 12 and found.classes is None
    assert found.masks is not None and abs(found.masks.mean() - DISC.mean()) < 0.01


def test_words_for_images_come_off_too(tmp_path: Path) -> None:
    for i, (image, mask) in enumerate(
        [("image_{}", "mask_{}"), ("{}_image", "{}_mask"), ("images/img_{}", "masks/gt_{}")]
    ):
        folder = filled(tmp_path / str(i), f"{image}.png", f"{mask}.png")
        found = load_path(folder, FORM)
        assert len(found) == 12 and found.masks is not None


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_the_same_in_every_unicode_form(tmp_path: Path, forms: tuple[str, str]) -> None:
    image, mask = (unicodedata.normalize(form, "Größe é{}") for form in forms)
    assert image != mask
    for i, (of, to) in enumerate(
        [("images/{}.png", "masks/{}.png"), ("{}.png", "{}_mask.png"), ("a/{}.png", "a/{}_gt.png")]
    ):
        folder = filled(tmp_path / str(i), of.replace("{}", image), to.replace("{}", mask))
        train, held = load_folder(folder, FORM)
        assert len(train) + len(held) == 12 and train.masks is not None


def test_masks_of_classes(tmp_path: Path) -> None:
    for name in ("benign", "malignant", "normal"):
        filled(tmp_path / name, f"{name} ({{}}).png", f"{name} ({{}})_mask.png")
    train, held = load_folder(tmp_path, FORM)
    assert train.classes == ("benign", "malignant", "normal") and len(train) + len(held) == 36
    assert train.masks is not None and abs(train.masks.mean() - DISC.mean()) < 0.01
    filled(tmp_path / "inner" / "a", "images/{}.png", "masks/{}.png")
    filled(tmp_path / "inner" / "b", "images/{}.png", "masks/{}.png")
    found = load_path(tmp_path / "inner", FORM)
    assert found.classes == ("a", "b") and found.masks is not None and len(found) == 24


def test_several_masks_of_an_image_are_joined(tmp_path: Path) -> None:
    filled(tmp_path, "im{}.png", "im{}_mask.png")
    for i in range(12):
        case.picture(tmp_path / f"im{i}_mask_1.png", np.roll(DISC, 20, 1) * 255)
    found = load_path(tmp_path, FORM)
    wanted = (DISC | np.roll(DISC, 20, 1)).mean()
    assert len(found) == 12 and found.masks is not None and abs(found.masks.mean() - wanted) < 0.01


def test_a_folder_of_nothing_but_masks_is_one_of_pictures(tmp_path: Path) -> None:
    filled(tmp_path / "m", "im{}_mask.png", "im{}_mask.png")
    found = load_path(tmp_path / "m", FORM)
    assert len(found) == 12 and found.masks is None


@pytest.mark.parametrize(
    ("images", "masks", "few", "told"),
    [
        ("im{}.png", "im{}_mask.png", 5, r"5 files are masks .* but 7 images have none .*images/NAME\.png with masks"),
        ("im{}.png", "other{}_mask.png", 12, r"12 files are masks by their names and belong to no image"),
        ("images/{}.png", "masks/{}_mask.png", 5, r"no mask .*\(5 masks for 12 images\); expected images/NAME"),
        ("images/{}.png", "masks/x{}_segmentation.png", 12, r"0\.png: no mask .*every image needs one"),
        ("a/{}.png", "b/{}_mask.png", 12, None),
    ],
)
def test_masks_that_do_not_fit_are_an_error_with_the_layout(
    tmp_path: Path, images: str, masks: str, few: int, told: str | None
) -> None:
    filled(tmp_path, images, masks, masks=few)
    if told is None:
        assert load_path(tmp_path, FORM).classes == ("a", "b")
        return
    for read in (load_path, load_folder):
        with pytest.raises(MedzooError, match=told):
            read(tmp_path, FORM)


def test_masks_of_no_image_and_folders_of_masks_among_classes(tmp_path: Path) -> None:
    filled(tmp_path / "a", "images/{}.png", "masks/{}.png", n=11, masks=12)
    with pytest.raises(DatasetError, match=r"masks/11\.png: no image of this name .*expected images/NAME"):
        load_path(tmp_path / "a", FORM)
    for name in ("benign", "malignant", "masks"):
        filled(tmp_path / "b", f"{name}/{{}}.png", f"{name}/{{}}.png")
    with pytest.raises(DatasetError, match="a folder of masks among folders of classes"):
        load_path(tmp_path / "b", FORM)


def test_folders_beside_pictures_are_said_to_be_left_out(tmp_path: Path) -> None:
    filled(tmp_path, "{}.png", "more/{}.png")
    with pytest.warns(ReadingWarning, match=r"more: 12 \.png files: not read, since pictures lie beside this folder"):
        assert len(load_path(tmp_path, FORM)) == 12


def test_volumes_and_their_masks(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(100, 255, (6, 5, 4), np.uint8)
    for i, (image, mask) in enumerate([
        ("{}.nii.gz", "{}_seg.nii.gz"), ("{}.nii", "{}_mask.nii"), ("imagesTr/{}.nii.gz", "labelsTr/{}.nii.gz"),
        ("images/{}.nii.gz", "masks/{}.nii.gz"), ("{}.nii.gz", "masks/{}_seg.nii.gz"), ("image/{}.nii", "GT/{}_gt.nii"),
    ]):  # fmt: skip
        for name in "ab":
            for template, content in ((image, array), (mask, (array > 150).astype(np.uint8))):
                path = tmp_path / str(i) / template.format(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(content, np.diag([-1, -1, 1, 1])), path)
        found = load_path(tmp_path / str(i), Protocol(size=5))
        assert len(found) == 8 and found.masks is not None and found.images.min() > 80, image
        assert abs(found.masks.mean() - (array > 150).mean()) < 0.15
    (tmp_path / "0" / "a.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"1 files are masks by their names and belong to no image, such as a_seg"):
        load_path(tmp_path / "0", FORM)


# Splits


@pytest.mark.parametrize(
    "names",
    [("train", "val", "test"), ("Train", "Val", "Test"), ("TRAIN", "VAL", "TEST"),
     ("Training", "Validation", "Testing"),
     ("train", "valid", "test"), ("training", "dev", "testing")],
)  # fmt: skip
@pytest.mark.parametrize("inner", ["{}.png", "a/{}.png", "images/{}.png"])
def test_splits_in_any_case(tmp_path: Path, names: tuple[str, str, str], inner: str) -> None:
    for name, n in zip(names, (12, 3, 4), strict=True):
        filled(tmp_path / name, inner, inner, n=n)
    train, held = load_folder(tmp_path, FORM)
    assert (len(train), len(held)) == (12, 3)
    assert [len(load_path(tmp_path, FORM, split=name)) for name in ("train", "val", "test", names[0])] == [12, 3, 4, 12]
    with pytest.raises(DatasetError, match=f"has the splits .*{names[0]}.*; say which of them .*split="):
        load_path(tmp_path, FORM)


def test_splits_beside_other_folders(tmp_path: Path) -> None:
    for name in ("train", "val", "extra"):
        filled(tmp_path / name, "{}.png", "{}.png")
    for read in (load_folder, load_path):
        with pytest.raises(DatasetError, match="has the splits train, val and beside them extra; move"):
            read(tmp_path, FORM)
    for path in (tmp_path / "extra").iterdir():
        path.rename(path.with_suffix(".json"))  # nothing that could be a picture
    assert [len(part) for part in load_folder(tmp_path, FORM)] == [12, 12]


@pytest.mark.parametrize("name", ["test", "Test", "Training", "VALID"])
def test_a_split_is_no_class(tmp_path: Path, name: str) -> None:
    for folder in ("benign", "malignant", name):
        filled(tmp_path / folder, "{}.png", "{}.png")
    for read in (load_folder, load_path):
        with pytest.raises(DatasetError, match=f"{name}: is named like a split and lies among other folders"):
            read(tmp_path, FORM)


def test_splits_without_one_for_validation(tmp_path: Path) -> None:
    for name, n in (("Train", 20), ("Test", 5)):
        filled(tmp_path / name, "{}.png", "{}.png", n=n)
    with pytest.warns(
        ReadingWarning, match=r"no images for validation \(val\): a tenth of train is held out, and test"
    ):
        train, held = load_folder(tmp_path, FORM)
    assert (len(train), len(held)) == (18, 2)


def test_a_nearly_black_set_is_said(tmp_path: Path) -> None:
    for i in range(12):
        case.picture(tmp_path / f"{i}.png", RAMP // 12)
    with pytest.warns(ReadingWarning, match=r"nearly black: the brightest pixel of 12 images is 21 of 255.*--window"):
        load_folder(tmp_path, FORM)


def test_one_window_for_what_is_learned_and_what_is_held_out(tmp_path: Path) -> None:
    for name, top in (("train", 1000), ("val", 500)):
        for i in range(12):
            case.picture(tmp_path / name / f"{i}.png", (RAMP.astype(np.int64) * top // 255).astype(np.uint16))
    with pytest.warns(ReadingWarning, match="0 became black and 1000 white"):
        train, held = load_folder(tmp_path, FORM)
    assert train.images.max() == 255 and abs(int(held.images.max()) - 128) <= 1
    train, held = load_folder(tmp_path, FORM, window=(0, 2000))
    assert abs(int(train.images.max()) - 128) <= 1 and abs(int(held.images.max()) - 64) <= 1


# What a manifest or a table may say


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"condition": ["x"]}, None), ({"condition": {"x": 1}}, None),
        ({"shard": ["x"]}, "no record of a sample"), ({"shard": {}}, "no record of a sample"),
        ({"label": 10**30}, "no record of a sample"), ({"label": -(10**30)}, "no record of a sample"),
        ({"label": 2**31}, "no record of a sample"),
        ({"file": "\ud800.png"}, "is no name of a file"), ({"file": "a\0.png"}, "is no file inside"),
        ({"shard": "pipe.tar"}, "a shard that is no file"), ({"file": "00000001.png"}, "is listed twice"),
    ],
)  # fmt: skip
def test_a_manifest_of_somebody_else(tmp_path: Path, changes: dict[str, object], told: str | None) -> None:
    folder = save(Samples(np.full((3, 1, 6, 6), 0.5, np.float32), np.arange(3)), tmp_path / "run")
    os.mkfifo(folder / "pipe.tar")
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    lines[0] |= changes
    if "file" in changes:
        lines[0].pop("sha256", None)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if told is None:
        assert len(load_path(folder, FORM)) == 3
    else:
        with pytest.raises(DatasetError, match=told):
            load_path(folder, FORM)


def test_a_table_that_lists_a_file_twice_or_labels_without_bounds(tmp_path: Path) -> None:
    filled(tmp_path, "{}.png", "{}.png", n=3)
    rows = [{"file_name": f"{i}.png", "label": i} for i in (0, 1, 1)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DatasetError, match=r"record 3: 1\.png is listed twice"):
        load_path(tmp_path, FORM)
    rows[2] |= {"file_name": "2.png", "label": 10**30}
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DatasetError, match=r"2\.png: label 1000"):
        load_path(tmp_path, FORM)
