"""Folders and the data sets of the registry, layout by layout: what is read, and what is wrong with broken ones."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo import datasets
from medzoo.catalog import folders
from medzoo.datasets import Images, load_dataset, load_folder
from medzoo.errors import DatasetError, EntryError
from medzoo.imagefiles import ReadingWarning
from tests.tools.paths import SHARED

DATA = SHARED / "data"
NAMES = sorted(path.stem for path in (folders()[0] / "datasets").glob("*.yaml"))


def picture(folder: Path, name: str, array: object, **options: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(folder / name, **options)
    return folder / name


def colour(seed: int, height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# Any folder


def test_whole_images_are_squeezed_and_sorted_by_name(tmp_path: Path) -> None:
    left_red = np.zeros((10, 40, 3), np.uint8)
    left_red[:, :20, 0] = 255
    picture(tmp_path, "b.png", left_red)
    picture(tmp_path, "a.jpg", np.full((9, 7, 3), 100))
    found = load_folder(tmp_path, size=8)
    assert found.names == ("a", "b")
    assert found.images.shape == (2, 3, 8, 8) and found.images.dtype == np.uint8
    assert np.abs(found.images[0].astype(int) - 100).max() <= 1
    # The left half is still the left half: nothing was cropped from the four times wider picture.
    assert found.images[1, 0, :, :3].min() == 255 and found.images[1, 0, :, 5:].max() == 0
    assert found.float().max() == 1 and found.float().dtype == np.float32


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    picture(tmp_path, "stripes.png", stripes)
    inside = load_folder(tmp_path, size=16).images[0, 0, :, 2:-2]
    assert np.abs(inside.astype(int) - 127).max() <= 2  # point sampling would give 0 or 255


@pytest.mark.parametrize("foreground", [1, 255])
def test_masks_are_area_averages_cut_at_one_half(tmp_path: Path, foreground: int) -> None:
    picture(tmp_path / "images", "x.png", colour(0, 8, 8))
    mask = np.zeros((8, 8), np.uint8)
    mask[0, :2] = foreground  # 2 of 4 pixels of the first cell of a 4 x 4 grid: half, so foreground
    mask[2, 2] = foreground  # 1 of 4: background
    mask[4:8, 4:8] = foreground
    picture(tmp_path / "masks", "x.png", mask)
    found = load_folder(tmp_path / "images", tmp_path / "masks", size=4)
    expected = np.zeros((4, 4), np.uint8)
    expected[0, 0] = 1
    expected[2:, 2:] = 1
    assert found.masks is not None
    np.testing.assert_array_equal(found.masks[0, 0], expected)


def test_names_choose_and_order(tmp_path: Path) -> None:
    for i, name in enumerate("abc"):
        picture(tmp_path, f"{name}.png", np.full((4, 4), 10 * i))
    found = load_folder(tmp_path, size=4, names=["c", "a"])
    assert found.names == ("c", "a") and found.images[:, 0, 0, 0].tolist() == [20, 0]
    with pytest.raises(DatasetError, match="no image is named 'd'"):
        load_folder(tmp_path, size=4, names=["d"])


def test_slices_keep_everything_together(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / "i", f"{name}.png", colour(ord(name)))
        picture(tmp_path / "m", f"{name}.png", np.full((12, 20), 255 if name == "b" else 0))
    part = load_folder(tmp_path / "i", tmp_path / "m", size=4)[1:]
    assert part.names == ("b", "c") and len(part) == 2
    assert part.masks is not None and part.masks.mean((1, 2, 3)).tolist() == [1, 0]


def test_grey_and_colour(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", np.full((4, 4), 7))
    assert load_folder(tmp_path, size=4).images.shape == (1, 1, 4, 4)
    assert load_folder(tmp_path, size=4, channels="RGB").images.shape == (1, 3, 4, 4)
    picture(tmp_path, "b.png", colour(1))
    with pytest.raises(DatasetError, match=r"b\.png: 3 channel.*a\.png has 1; .*channels='RGB'"):
        load_folder(tmp_path, size=4)
    assert load_folder(tmp_path, size=4, channels="L").images.shape == (2, 1, 4, 4)


def test_tiff_is_read_but_not_a_stack_of_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), 50 * i, np.uint8)) for i in range(2)]
    frames[1].save(tmp_path / "one.tif")
    assert load_folder(tmp_path, size=4).images.tolist() == [[[[50] * 4] * 4]]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DatasetError, match=r"two\.tif: 2 frames"):
        load_folder(tmp_path, size=4)


def test_sixteen_bit_images_are_scaled_by_their_own_numbers_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.repeat([0, 1500, 3000, 3000], 4).reshape(4, 4).astype(np.uint16)).save(tmp_path / "ct.png")
    with pytest.warns(ReadingWarning, match=r"0 became black and 3000 white .*--window 0 3000"):
        found = load_folder(tmp_path, size=4)
    assert found.images[0, 0, :, 0].tolist() == [0, 128, 255, 255]


def test_broken_files_are_named(tmp_path: Path) -> None:
    good = picture(tmp_path, "good.png", colour(0, 64, 64))
    (tmp_path / "text.png").write_text("<html>404</html>")
    with pytest.raises(DatasetError, match=r"text\.png: not a readable image"):
        load_folder(tmp_path, size=4)
    (tmp_path / "text.png").write_bytes(good.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"text\.png: not a readable image"):
        load_folder(tmp_path, size=4)


def test_missing_folders_masks_and_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        load_folder(tmp_path / "nowhere", size=4)
    with pytest.raises(DatasetError, match=r"no image found; expected files ending in \.png"):
        load_folder(tmp_path, size=4)
    picture(tmp_path / "i", "a.png", colour(0))
    picture(tmp_path / "m", "b.png", np.zeros((12, 20)))
    with pytest.raises(DatasetError, match=r"a\.png: no mask .*every image needs one"):
        load_folder(tmp_path / "i", tmp_path / "m", size=4)
    picture(tmp_path / "m", "a.png", np.zeros((12, 21)))
    with pytest.raises(DatasetError, match=r"mask of \(21, 12\) pixels for an image of \(20, 12\)"):
        load_folder(tmp_path / "i", tmp_path / "m", size=4)
    with pytest.raises(DatasetError, match="at least 5 images are needed, found 1"):
        load_folder(tmp_path / "i", size=4, minimum=5)
    with pytest.raises(DatasetError, match="size must be a positive"):
        load_folder(tmp_path / "i", size=0)
    with pytest.raises(DatasetError, match="list of names is empty"):
        load_folder(tmp_path / "i", size=4, names=[], minimum=0)
    picture(tmp_path / "i", "a.jpg", colour(0))
    with pytest.raises(DatasetError, match=r"a\.jpg and a\.png share a name"):
        load_folder(tmp_path / "i", size=4)


def test_images_checks_its_parts() -> None:
    images = np.zeros((2, 3, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="1 names"):
        Images(images, None, ("a",))
    with pytest.raises(ValueError, match=r"shape \(2, 1, 4, 4\)"):
        Images(images, np.zeros((2, 4, 4), np.uint8), ("a", "b"))
    with pytest.raises(ValueError, match="uint8"):
        Images(images.astype(np.float32), None, ("a", "b"))


# Datasets of the registry


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with the dataset 'tiny' (2 train, 1 val), and its data below the folder returned."""
    folder = tmp_path / "data" / "tiny"
    for i, name in enumerate("abc"):
        picture(folder / "images", f"{name}.png", np.full((6, 8), 40 * i))
        picture(folder / "masks", f"{name}.png", np.full((6, 8), 255))
    (folder / "meta.csv").write_text("id,split\nb,train\na,train\nc,val\n")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(folder)}"
        for path in sorted(folder.rglob("*.png"))
    ]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    registry = tmp_path / "registry"
    (registry / "datasets").mkdir(parents=True)
    (registry / "datasets" / "tiny.yaml").write_text(
        textwrap.dedent(
            f"""\
            name: tiny
            title: Three grey squares
            modality: none
            organ: null
            splits: {{train: 2, val: 1}}
            channels: 1
            layout:
              kind: folder
              table: meta.csv
              table_sha256: {hashlib.sha256((folder / "meta.csv").read_bytes()).hexdigest()}
              id: id
              split: split
              images: images/{{id}}.png
              masks: masks/{{id}}.png
            sha256sums: {hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()}
            source: this test
            preparation: none
            license: CC0-1.0
            attribution: none
            notes: null
            """
        )
    )
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
    monkeypatch.delenv("MEDZOO_DATA", raising=False)
    return tmp_path / "data"


def test_a_split_is_read_in_order_of_names(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_dataset("tiny", root=tiny, size=4)
    assert found.names == ("a", "b") and found.images[:, 0, 0, 0].tolist() == [0, 40]
    assert found.masks is not None and found.masks.all()
    assert load_dataset("tiny", root=tiny / "tiny", split="val", size=4).names == ("c",)
    monkeypatch.setenv("MEDZOO_DATA", str(tiny))
    assert load_dataset("tiny", split="val", size=4).names == ("c",)


def test_what_is_missing_is_said(tiny: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset is named 'polyps'; there are .*polyp_hyperkvasir_seg.*tiny"):
        load_dataset("polyps", root=tiny, size=4)
    with pytest.raises(DatasetError, match="no split 'test'; it has train, val"):
        load_dataset("tiny", root=tiny, split="test", size=4)
    with pytest.raises(DatasetError, match=r"does not come along; .*--data DIR.*MEDZOO_DATA.*Source: this test"):
        load_dataset("tiny", size=4)
    with pytest.raises(DatasetError, match=r"expected at .*tiny.SHA256SUMS"):
        load_dataset("tiny", root=tiny / "elsewhere", size=4)


@pytest.mark.parametrize("name", ["images/a.png", "masks/a.png", "meta.csv", "SHA256SUMS"])
def test_every_changed_file_is_noticed(tiny: Path, name: str) -> None:
    path = tiny / "tiny" / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DatasetError, match=rf"{path.name}: changed: sha256 [0-9a-f]{{64}}, expected"):
        load_dataset("tiny", root=tiny, size=4)
    path.unlink()
    with pytest.raises(DatasetError, match=rf"{path.name}"):
        load_dataset("tiny", root=tiny, size=4)


def test_a_broken_entry_names_file_and_line(tiny: Path) -> None:
    path = tiny.parent / "registry" / "datasets" / "tiny.yaml"
    text = path.read_text()
    path.write_text(text.replace("channels: 1", "channels: two"))
    with pytest.raises(EntryError, match=r"tiny\.yaml:6: channels"):
        load_dataset("tiny", root=tiny, size=4)
    path.write_text(text.replace("name: tiny", "name: small"))
    with pytest.raises(EntryError, match="name 'small' differs"):
        load_dataset("tiny", root=tiny, size=4)


def test_count_of_a_split_must_match_the_entry(tiny: Path) -> None:
    path = tiny.parent / "registry" / "datasets" / "tiny.yaml"
    path.write_text(path.read_text().replace("train: 2", "train: 3"))
    with pytest.raises(DatasetError, match="split 'train' should have 3 images, found 2"):
        load_dataset("tiny", root=tiny, size=4)


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_valid_and_state_their_licence(name: str) -> None:
    dataset = datasets.describe(name)
    assert dataset.license and dataset.attribution and dataset.source


@pytest.mark.parametrize("name", NAMES)
def test_the_real_data_are_those_of_the_entry(name: str) -> None:
    dataset = datasets.describe(name)
    if dataset.package is not None:
        installed(dataset)
    else:
        needs(dataset.folder or name)
    split = min(dataset.splits.items(), key=lambda item: item[1])[0]
    found = load_dataset(name, root=DATA, split=split, size=32)
    assert found.images.std() > 10


def test_polyp_masks_have_the_areas_that_the_table_states() -> None:
    name = "polyp_hyperkvasir_seg"
    if not (DATA / name).is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    found = load_dataset(name, root=DATA, split="val", size=128)
    table = csv.DictReader(io.StringIO((DATA / name / "meta.csv").read_text()))
    stated = {row["id"]: float(row["mask_fraction"]) for row in table}
    assert found.masks is not None
    areas = found.masks.mean((1, 2, 3))
    np.testing.assert_allclose(areas, [stated[one] for one in found.names], atol=0.004)


# What the entries state beside the pixels


def needs(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"the images of {name} are not beside this checkout (../shared/data)")
    return DATA


def test_no_patient_of_the_radiographs_is_in_both_splits() -> None:
    root = needs("cxr_mhh_covid")
    train, test = (load_dataset("cxr_mhh_covid", root=root, split=one, size=8) for one in ("train", "test"))
    assert train.groups is not None and test.groups is not None
    assert (len(set(train.groups)), len(set(test.groups))) == (54, 17)
    assert not set(train.groups) & set(test.groups)
    assert train.classes == ("ap", "pa") and np.bincount(train.labels).tolist() == [137, 38]


def test_cells_are_parted_by_field_and_have_three_classes() -> None:
    root = needs("blood_bccd")
    parts = [load_dataset("blood_cells_bccd_64", root=root, split=one, size=64) for one in ("train", "val", "test")]
    groups = [set(one.groups) for one in parts]
    assert [len(one) for one in groups] == [205, 87, 72] and len(set.union(*groups)) == 364
    assert [np.bincount(one.labels).tolist() for one in parts] == [[214, 589, 209], [87, 248, 83], [71, 206, 69]]
    assert parts[0].classes == ("white_cell", "red_cell", "platelet")
    with np.load(root / "blood_bccd" / "bccd_cells_64.npz") as arrays:
        np.testing.assert_array_equal(parts[1].images.transpose(0, 2, 3, 1), arrays["val_images"])


def test_labels_of_pneumonia_and_of_nuclei() -> None:
    root = needs("cxr_pneumoniamnist_28")
    found = load_dataset("cxr_pneumoniamnist_28", root=root, split="val", size=28)
    assert found.classes == ("normal", "pneumonia") and np.bincount(found.labels).tolist() == [135, 389]
    found = load_dataset("nuclei_dsb2018", root=needs("nuclei_dsb2018"), split="val", size=16)
    assert np.bincount(found.labels).tolist() == [53, 9, 3] and found.masks is not None


def test_slices_of_the_template_lie_in_blocks_apart_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDZOO_DATA", raising=False)
    installed(datasets.describe("brain_icbm152_t1"))
    train, val = (load_dataset("brain_icbm152_t1", split=one, size=64) for one in ("train", "val"))
    at = [np.array([int(name[-4:]) for name in one.names]) for one in (train, val)]
    assert np.abs(at[0][:, None] - at[1]).min() == 9  # eight slices between
    assert len(set(train.groups)) == 3 and len(set(val.groups)) == 2 and not set(train.groups) & set(val.groups)
    assert train.masks is not None and 0.1 < train.masks.mean() < 0.3
    flat = train.images.reshape(len(train), -1)
    assert np.corrcoef(flat[10], flat[11])[0, 1] > 0.98


def test_the_other_brain_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_DATA", "/nowhere")  # a package is found all the same
    for name in ("brain_colin27_t1", "brain_colin27_t1_brain"):
        installed(datasets.describe(name))
        found = load_dataset(name, split="test", size=32)
        assert found.images.shape[1:] == (1, 32, 32) and found.images.max() > 150 and len(set(found.groups)) == 1


def installed(dataset: datasets.Dataset) -> None:
    assert dataset.package is not None
    if dataset.package.where() is None:
        pytest.skip(f"{dataset.package.name} is not installed")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEDZOO_DATA", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        DatasetError, match=r"comes with nilearn 0\.14\.1; type: pip install nilearn==0\.14\.1, or .*--data"
    ):
        load_dataset("brain_icbm152_t1", size=32)
    (tmp_path / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz").write_bytes(b"another")
    with pytest.raises(DatasetError, match=r"09a_converted\.nii\.gz: changed: sha256"):
        load_dataset("brain_icbm152_t1", root=tmp_path, size=32)


def test_finding_a_package_imports_nothing() -> None:
    script = (
        "import sys; from medzoo.datasets import describe; "
        "describe('brain_icbm152_t1').package.where(); print('nilearn' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("group: group", "group: patient"), "a row has no column 'patient'"),
        (("label: kind", "label: sort"), "a row has no column 'sort'"),
        (("classes: [x, y]", "classes: [x]"), r"b\.png: label 'y' is unknown; expected x"),
        (("images/{id}.png", "../tiny/images/{id}.png"), "is no file inside this folder"),
    ],
)
def test_labels_and_groups_of_a_table(tiny: Path, change: tuple[str, str], told: str) -> None:
    path = with_columns(tiny, "id,split,kind,group\nb,train,y,1\na,train,x,1\nc,val,x,2\n")
    found = load_dataset("tiny", root=tiny, size=4)
    assert found.labels.tolist() == [0, 1] and found.classes == ("x", "y") and found.groups == ("1", "1")
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DatasetError, match=told):
        load_dataset("tiny", root=tiny, size=4)


def test_a_group_in_two_splits_is_refused(tiny: Path) -> None:
    with_columns(tiny, "id,split,kind,group\nb,train,y,1\na,train,x,2\nc,val,x,2\n")
    with pytest.raises(DatasetError, match=r"meta\.csv: group '2' is in the splits train and val; put it in one"):
        load_dataset("tiny", root=tiny, split="val", size=4)


def test_a_rule_instead_of_a_column(tiny: Path) -> None:
    path = with_columns(tiny, "id,kind,group\nb,y,1\na,x,1\nc,x,2\n")
    path.write_text(
        path.read_text().replace("split: split", "split: {by: group, shares: {train: 0.5, val: 0.5}, salt: s4}")
    )
    names = {one: set(load_dataset("tiny", root=tiny, split=one, size=4).names) for one in ("train", "val")}
    assert names == {"train": {"a", "b"}, "val": {"c"}}
    path.write_text(path.read_text().replace("  group: group\n", ""))
    with pytest.raises(EntryError, match=r"tiny\.yaml:7: .*a split by group needs the group column"):
        load_dataset("tiny", root=tiny, size=4)


def with_columns(tiny: Path, table: str) -> Path:
    """Another table in the dataset 'tiny', with columns kind and group; gives the entry."""
    (tiny / "tiny" / "meta.csv").write_text(table)
    path = tiny.parent / "registry" / "datasets" / "tiny.yaml"
    text = re.sub(r"table_sha256: \w+", f"table_sha256: {hashlib.sha256(table.encode()).hexdigest()}", path.read_text())
    path.write_text(text.replace("{id}.png\nsha", "{id}.png\n  label: kind\n  classes: [x, y]\n  group: group\nsha"))
    return path


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ({"kind": "flat", "images": "{split}/i", "masks": "{split}/m"}, ("{0}/i/a.png", "{0}/m/a.png")),
        ({"kind": "labels", "folder": "{split}"}, ("{0}/x/a.png", "{0}/y/a.png")),
        ({"kind": "metadata", "folder": "{split}"}, ("{0}/a.png", "{0}/metadata.csv")),
    ],
)
def test_every_adapter_reads_an_entry(tiny: Path, layout: dict[str, str], files: tuple[str, ...]) -> None:
    folder = tiny / "tiny"
    for split, value in (("train", 50), ("val", 200)):
        for name in files:
            path = folder / name.format(split)
            if path.suffix == ".csv":
                path.write_text("file_name,label\na.png,3\n")
            else:
                picture(path.parent, path.name, np.full((6, 8), value))
    n = 2 if layout["kind"] == "labels" else 1
    entry = {
        "name": "tiny", "title": "t", "modality": "none", "organ": None, "splits": {"train": n, "val": n},
        "channels": 1, "layout": layout, "source": "s", "preparation": "p", "license": "l", "attribution": "a",
        "notes": None, "files": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()
        },
    }  # fmt: skip
    path = tiny.parent / "registry" / "datasets" / "tiny.yaml"
    path.write_text(json.dumps(entry))
    found = load_dataset("tiny", root=tiny, split="val", size=4)
    assert found.images.mean() == 200 and (found.masks is not None) == (layout["kind"] == "flat")
    assert (found.labels is None) == (layout["kind"] == "flat")
    (folder / files[0].format("val")).write_bytes(b"x")
    with pytest.raises(DatasetError, match="changed: sha256"):
        load_dataset("tiny", root=tiny, split="val", size=4)
    path.write_text(json.dumps(entry | {"sha256sums": "0" * 64}))
    with pytest.raises(EntryError, match="state either sha256sums"):
        load_dataset("tiny", root=tiny, split="val", size=4)
