from __future__ import annotations

import csv
import hashlib
import io
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medzoo import datasets
from medzoo.catalog import folders
from medzoo.datasets import Images, load_dataset, load_folder
from medzoo.errors import DatasetError, EntryError

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
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


def test_sixteen_bit_images_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "ct.png")
    with pytest.raises(DatasetError, match=r"ct\.png: pixel mode 'I;16' is not 8-bit"):
        load_folder(tmp_path, size=4)


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
    if not (SHARED / name).is_dir():
        pytest.skip(f"the images of {name} are not beside this checkout (../shared/data)")
    split = min(datasets.describe(name).splits.items(), key=lambda item: item[1])[0]
    found = load_dataset(name, root=SHARED, split=split, size=32)
    assert found.images.std() > 10


def test_polyp_masks_have_the_areas_that_the_table_states() -> None:
    name = "polyp_hyperkvasir_seg"
    if not (SHARED / name).is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    found = load_dataset(name, root=SHARED, split="val", size=128)
    table = csv.DictReader(io.StringIO((SHARED / name / "meta.csv").read_text()))
    stated = {row["id"]: float(row["mask_fraction"]) for row in table}
    assert found.masks is not None
    areas = found.masks.mean((1, 2, 3))
    np.testing.assert_allclose(areas, [stated[one] for one in found.names], atol=0.004)
