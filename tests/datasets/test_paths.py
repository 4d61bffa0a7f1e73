"""What people have on their disks, recognised by what it holds; and what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from medzoo.datasets import Images, Item, Layout, Protocol, Slices, Source, load_path, paths
from medzoo.datasets.arrays import Rows
from medzoo.errors import DatasetError, MedzooError
from medzoo.imagefiles import ReadingWarning, read_image, read_volume
from medzoo.samples import Samples, formats
from medzoo.samples.saving import save

RNG = np.random.default_rng(3)
FOUR = Protocol(size=4)


def png(path: Path, array: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return path


def grey(value: int) -> np.ndarray:
    return np.full((4, 4), value, np.uint8)


def values(found: Images) -> list[int]:
    """Of the upper left pixels."""
    return [int(one) for one in found.images[:, 0, 0, 0]]


def flat(folder: Path, n: int = 3) -> Path:
    for i in range(n):
        png(folder / f"{i}.png", grey(10 * i))
    return folder


# Folders of pictures


def test_a_flat_folder_with_and_without_masks(tmp_path: Path) -> None:
    flat(tmp_path / "set" / "images")
    for i in range(3):
        png(tmp_path / "set" / "masks" / f"{i}.png", grey(255 * (i == 1)))
    found = load_path(tmp_path / "set", FOUR)
    assert values(found) == [0, 10, 20] and found.masks.mean((1, 2, 3)).tolist() == [0, 1, 0]
    alone = load_path(tmp_path / "set" / "images", FOUR)
    assert alone.masks is None and alone.labels is None and alone.groups is None
    given = load_path(tmp_path / "set" / "images", FOUR, masks=tmp_path / "set" / "masks")
    np.testing.assert_array_equal(given.masks, found.masks)
    (tmp_path / "set" / "masks" / "2.png").unlink()
    with pytest.raises(DatasetError, match=r"2\.png: no mask .*\(2 masks for 3 images\)"):
        load_path(tmp_path / "set", FOUR)


def test_too_few_mixed_and_missing_pictures(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: no such file or folder"):
        load_path(tmp_path / "nowhere", FOUR)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: no image found; expected a folder of pictures .*metadata\.jsonl"):
        load_path(tmp_path / "empty", FOUR)
    flat(tmp_path / "one", 1)
    with pytest.raises(DatasetError, match="one: at least 2 images are needed, found 1"):
        load_path(tmp_path / "one", FOUR)
    assert len(load_path(tmp_path / "one", FOUR, minimum=1)) == 1
    with pytest.raises(DatasetError, match=r"0\.png: is a single picture; give the folder"):
        load_path(tmp_path / "one" / "0.png", FOUR)
    png(tmp_path / "one" / "1.png", np.zeros((9, 5, 3)))  # another size is squeezed, another number of channels not
    with pytest.raises(DatasetError, match=r"1\.png: 3 channel\(s\), but .*0\.png has 1"):
        load_path(tmp_path / "one", FOUR)
    assert load_path(tmp_path / "one", Protocol(size=4, channels="RGB")).images.shape == (2, 3, 4, 4)


def test_sixteen_bits_take_a_window_or_the_percentiles_of_the_set(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.full((4, 4), 1000 * i, np.uint16)).save(tmp_path / f"{i}.png")
    with pytest.warns(ReadingWarning, match=r"0 became black and 1000 white .*--window 0 1000"):
        assert values(load_path(tmp_path, FOUR)) == [0, 255]
    assert values(load_path(tmp_path, FOUR, window=(0, 2000))) == [0, 128]
    with pytest.raises(DatasetError, match=r"window needs low < high, found \[5, 5\]"):
        load_path(tmp_path, FOUR, window=(5, 5))


@pytest.mark.parametrize("kind", [2, 4])
def test_sixteen_bits_of_several_channels_are_not_cut_to_eight(tmp_path: Path, kind: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    line = b"\0" + (1000).to_bytes(2, "big") * 4 * (3 if kind == 2 else 2)
    head = (4).to_bytes(4, "big") * 2 + bytes([16, kind, 0, 0, 0])
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(line * 4)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DatasetError, match=r"a\.png: 16 bits a channel"):
        load_path(tmp_path, FOUR, window=(0, 1000), minimum=1)


@pytest.mark.parametrize(("values", "fine"), [((0, 1), True), ((0, 255), True), ((0, 2), False), ((1, 38), False)])
def test_masks_of_numbered_classes_are_not_taken_for_empty(tmp_path: Path, values: tuple[int, int], fine: bool) -> None:
    mask = np.repeat(values, 8).reshape(4, 4)
    for name in ("a", "b"):
        png(tmp_path / "images" / f"{name}.png", grey(5))
        png(tmp_path / "masks" / f"{name}.png", mask)
    if fine:
        assert load_path(tmp_path, FOUR).masks.mean() == 0.5
    else:
        with pytest.raises(DatasetError, match=rf"a\.png: a mask with values up to {values[1]}; expected 0 and 1"):
            load_path(tmp_path, FOUR)


@pytest.mark.parametrize(
    ("side", "told"), [(9000, "is 9000 x 9000 pixels; read are pictures of 1 to 67,108,864"), (40000, "bomb")]
)
def test_a_header_that_promises_too_much_is_not_decoded(tmp_path: Path, side: int, told: str) -> None:
    content = bytearray(png(tmp_path / "a.png", grey(1)).read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"a\.png: .*{told}"):
        load_path(tmp_path, FOUR, minimum=1)


def test_one_folder_a_class(tmp_path: Path) -> None:
    flat(tmp_path / "set" / "b", 2)
    flat(tmp_path / "set" / "a", 3)
    found = load_path(tmp_path / "set", FOUR)
    assert found.classes == ("a", "b") and found.labels.tolist() == [0, 0, 0, 1, 1] and found.names[3] == "b/0"
    assert load_path(tmp_path / "set", FOUR, classes=("b", "a")).labels.tolist() == [1, 1, 1, 0, 0]
    with pytest.raises(DatasetError, match=r"b.0\.png: label 'b' is unknown; expected a, c"):
        load_path(tmp_path / "set", FOUR, classes=("a", "c"))
    with pytest.raises(DatasetError, match="masks goes with a folder of pictures or volumes, not with labels"):
        load_path(tmp_path / "set", FOUR, masks=tmp_path)
    (tmp_path / "set" / "c").mkdir()
    with pytest.raises(DatasetError, match="c: no image found"):
        load_path(tmp_path / "set", FOUR)


def test_folders_named_by_numbers_are_the_classes_of_these_names(tmp_path: Path) -> None:
    for name in ("1", "2"):
        flat(tmp_path / name, 2)
    assert load_path(tmp_path, FOUR).labels.tolist() == [1, 1, 2, 2]
    assert load_path(tmp_path, FOUR, classes=("3", "2", "1")).labels.tolist() == [2, 2, 1, 1]
    assert load_path(tmp_path, FOUR, classes=("none", "one", "two")).labels.tolist() == [1, 1, 2, 2]


def test_folders_of_splits_are_no_classes(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        for name in ("a", "b"):
            flat(tmp_path / split / name, 2 + (split == "train"))
    with pytest.raises(DatasetError, match="has the splits train, validation; say which"):
        load_path(tmp_path, FOUR)
    assert len(load_path(tmp_path, FOUR, split="train")) == 6 and len(load_path(tmp_path, FOUR, split="val")) == 4
    with pytest.raises(DatasetError, match="no split 'test'; it has train, validation"):
        load_path(tmp_path, FOUR, split="test")
    with pytest.raises(DatasetError, match="holds no splits, but 'val' was asked for"):
        load_path(tmp_path / "train", FOUR, split="val")


def test_array_files_as_pictures_of_a_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.zeros((3, 8, 6), np.float32))
    np.save(tmp_path / "1.npy", np.full((8, 6, 3), 1.0))
    assert values(load_path(tmp_path, FOUR)) == [0, 255]
    np.save(tmp_path / "1.npy", np.array([[0.5, np.nan]]))
    with pytest.raises(DatasetError, match=r"1\.npy: holds numbers that are not finite"):
        load_path(tmp_path, FOUR)
    np.save(tmp_path / "1.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"1\.npy: not a readable array \(Object arrays cannot be loaded"):
        load_path(tmp_path, FOUR)


# Array files


@pytest.mark.parametrize("shape", [(5, 6, 8), (5, 6, 8, 1), (5, 1, 6, 8), (5, 6, 8, 3), (5, 3, 6, 8)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.bool_])
def test_arrays_of_every_order(tmp_path: Path, shape: tuple[int, ...], kind: type) -> None:
    pixels = RNG.integers(0, 256, shape, np.uint8)
    stored = pixels if kind is np.uint8 else (pixels / np.float32(255)).astype(kind)
    np.savez_compressed(tmp_path / "set.npz", images=stored)
    found = load_path(tmp_path / "set.npz", Protocol(size=8))
    expected = pixels if kind is not np.bool_ else (pixels > 0) * np.uint8(255)
    channels = 3 if 3 in shape else 1
    assert found.images.shape == (5, channels, 8, 8) and found.names[4] == "image_00004"
    expected = expected[:, None] if expected.ndim == 3 else expected
    expected = expected if expected.shape[1] in (1, 3) else expected.transpose(0, 3, 1, 2)
    protocol = Protocol(size=6)
    np.save(tmp_path / "set.npy", expected)
    np.testing.assert_array_equal(
        load_path(tmp_path / "set.npz", protocol).images, load_path(tmp_path / "set.npy", protocol).images
    )


def test_labels_masks_groups_and_arrays_stored_by_column(tmp_path: Path) -> None:
    images = np.asfortranarray(RNG.integers(0, 256, (4, 4, 4), np.uint8))
    masks = np.zeros((4, 1, 4, 4), np.uint8)
    masks[1:] = 255
    np.savez(tmp_path / "a.npz", images=images, masks=masks, labels=np.array([[0], [2], [1], [0]]), groups=list("ppqr"))
    found = load_path(tmp_path, FOUR)  # the only file of its folder
    np.testing.assert_array_equal(found.images[:, 0], images)
    assert found.labels.tolist() == [0, 2, 1, 0] and found.classes is None and found.groups == ("p", "p", "q", "r")
    assert found.masks.mean((1, 2, 3)).tolist() == [0, 1, 1, 1]
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(["x", "y", "x", "x"]))
    assert load_path(tmp_path / "a.npz", FOUR).classes == ("x", "y")
    np.savez(tmp_path / "a.npz", images=images, labels=np.zeros((4, 14), np.uint8))
    assert load_path(tmp_path / "a.npz", FOUR).labels is None  # several findings an image


def test_medmnist_files_have_splits(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for i, split in enumerate(("train", "val", "test")):
        arrays |= {
            f"{split}_images": np.full((i + 2, 28, 28), i, np.uint8),
            f"{split}_labels": np.ones((i + 2, 1), np.uint8),
        }
    np.savez(tmp_path / "mnist.npz", **arrays)
    found = load_path(tmp_path / "mnist.npz", FOUR, split="val", classes=("normal", "pneumonia"))
    assert values(found) == [1, 1, 1] and found.classes == ("normal", "pneumonia") and found.names[0] == "val_00000"
    with pytest.raises(DatasetError, match=r"mnist\.npz: has the splits train, val, test; say which"):
        load_path(tmp_path / "mnist.npz", FOUR)
    with pytest.raises(DatasetError, match="no split 'extra'; it has train, val, test"):
        load_path(tmp_path / "mnist.npz", FOUR, split="extra")
    with pytest.raises(DatasetError, match=r"train_images\[0\]|label 1; expected 0 to 0"):
        load_path(tmp_path / "mnist.npz", FOUR, split="val", classes=("normal",))


PLAIN = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": PLAIN, "masks": PLAIN[:2]}, "2 masks for 3 images"),
        ({"images": PLAIN, "labels": np.zeros(4, int)}, "4 labels for 3 images"),
        ({"images": PLAIN, "labels": np.array([0, 1, -1])}, r"images\[2\]: label -1"),
        ({"images": PLAIN, "labels": np.array([0, 1, 0.5])}, "labels is float64"),
        ({"images": PLAIN.astype(np.uint16)}, r"images\[0\]: holds uint16 from 0 to 0; .*window"),
        ({"images": PLAIN - np.float32(1)}, r"images\[0\]: holds float32 from -1 to -1; expected floats in \[0, 1\]"),
        ({"images": np.full((3, 4, 4), np.nan)}, "not finite"),
        ({"images": np.full((3, 4, 4), {}, object)}, "array 'images' cannot be read .*Python objects"),
        ({"images": np.zeros((3, 2, 4, 4, 4), np.uint8)}, r"pictures of \[2, 4, 4, 4\]; expected"),
        ({"images": np.zeros((3, 4, 4, 5), np.uint8)}, r"pictures of \[4, 4, 5\]; expected"),
        ({"images": PLAIN, "masks": np.zeros((3, 4, 4, 3), np.uint8)}, r"a mask of \[4, 4, 3\]; expected one channel"),
        (
            {"images": PLAIN, "masks": np.zeros((3, 5, 4), np.uint8)},
            r"mask of \(4, 5\) pixels for an image of \(4, 4\)",
        ),
        ({"pictures": PLAIN}, "no array 'images'; it has pictures"),
        ({"images": PLAIN[:0]}, "at least 2 images are needed, found 0"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: Mapping[str, Any], told: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DatasetError, match=rf"bad\.npz.*{told}"):
        load_path(tmp_path / "bad.npz", FOUR)


def endless(shape: tuple[int, ...]) -> tuple[io.BytesIO, int]:
    """An array file that claims to hold all it states, as a tiny compressed one can."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    stream.seek(0)
    return stream, 2**40


def test_absurd_headers_and_damaged_archives(tmp_path: Path) -> None:
    def archive(shape: tuple[int, ...], content: bytes) -> Path:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
            file.writestr("images.npy", stream.getvalue() + content)
        return tmp_path / "x.npz"

    with pytest.raises(DatasetError, match=r"its header states \[1000000, 9999, 9999\]"):
        load_path(archive((10**6, 9999, 9999), b"12"), FOUR)
    with pytest.raises(DatasetError, match="which the file does not hold"):
        load_path(archive((10**9, 0, 4), b""), FOUR)
    with pytest.raises(DatasetError, match="is 0 x 4 pixels"):
        load_path(archive((3, 0, 4), b""), FOUR)
    with pytest.raises(DatasetError, match=r"images\[0\]: is \[20000, 20000\]; read are up to 67,108,864 pixels"):
        next(iter(Rows(tmp_path, "images", *endless((2, 20000, 20000)))))
    path = archive((2, 64, 64), b"12345678" * 1024)
    assert len(load_path(path, FOUR)) == 2
    path.write_bytes(path.read_bytes().replace(b"12345678PK", b"1234567XPK"))
    with pytest.raises(DatasetError, match=r"x\.npz: array 'images' is damaged \(Bad CRC"):
        load_path(path, FOUR)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"x\.npz: .*damaged"):
        load_path(path, FOUR)
    np.save(tmp_path / "y.npy", np.zeros((9, 4, 4), np.uint8))
    (tmp_path / "y.npy").write_bytes((tmp_path / "y.npy").read_bytes()[:-5])
    with pytest.raises(DatasetError, match=r"y\.npy: array 'images' cannot be read \(its header states"):
        load_path(tmp_path / "y.npy", FOUR)


def test_a_large_array_is_read_a_picture_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    np.savez_compressed(tmp_path / "zeros.npz", images=np.zeros((64, 512, 512), np.uint8))  # 16 MiB in 17 kB
    tracemalloc.start()
    found = load_path(tmp_path / "zeros.npz", FOUR)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 64 and most < 4e6


# Tables of Hugging Face


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    flat(tmp_path / "hf" / "pics", 3)
    png(tmp_path / "secret.png", grey(99))

    def write(*rows: object, name: str = "metadata.jsonl") -> Path:
        lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
        (tmp_path / "hf" / name).write_text("\n".join(lines) + "\n")
        return tmp_path / "hf"

    return write


def row(i: int, **more: object) -> dict[str, object]:
    return {"file_name": f"pics/{i}.png", **more}


def test_metadata_with_labels_masks_and_patients(table: Callable[..., Path]) -> None:
    folder = table(
        row(2, label="b", mask_file_name="pics/0.png", patient_id=7, text="x"),
        row(1, label="a", mask_file_name="pics/0.png", patient_id=8),
    )
    found = load_path(folder, FOUR)
    assert found.names == ("pics/2", "pics/1") and values(found) == [20, 10]
    assert found.classes == ("a", "b") and found.labels.tolist() == [1, 0] and found.groups == ("7", "8")
    assert not found.masks.any()
    assert load_path(folder / "metadata.jsonl", FOUR).names == found.names


def test_metadata_as_csv_with_splits(table: Callable[..., Path]) -> None:
    folder = table(
        "file_name,label,split", "pics/0.png,1,train", "pics/1.png,0,train", "pics/2.png,1,dev", name="metadata.csv"
    )
    assert load_path(folder, FOUR, split="train").labels.tolist() == [1, 0]
    assert load_path(folder, FOUR, split="val", minimum=1).names == ("pics/2",)
    with pytest.raises(DatasetError, match=r"metadata\.csv: has the splits dev, train; say which"):
        load_path(folder, FOUR)
    with pytest.raises(DatasetError, match="no split 'test'"):
        load_path(folder, FOUR, split="test")
    folder = table(
        "file_name,patient,split", "pics/0.png,p,train", "pics/1.png,q,train", "pics/2.png,p,val", name="metadata.csv"
    )
    with pytest.raises(DatasetError, match="group 'p' is in the splits train and val"):
        load_path(folder, FOUR, split="train")


@pytest.mark.parametrize(
    "name", ["../secret.png", "pics/../../secret.png", "/etc/hosts", "a\\b.png", "C:/x.png", "a\0b", "."]
)
def test_names_that_lead_out_of_the_folder(table: Callable[..., Path], name: str) -> None:
    for rows in ([{"file_name": name}], [row(0, mask=name)]):
        with pytest.raises(DatasetError, match="is no file inside this folder|names a drive"):
            load_path(table(*rows), FOUR)


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_what_has_no_end_is_not_read(table: Callable[..., Path], target: str) -> None:
    folder = table(row(0), row(8))
    if target == "pipe":
        os.mkfifo(folder / "pics" / "8.png")
    else:
        (folder / "pics" / "8.png").symlink_to(target)
    with pytest.raises(DatasetError, match=r"8\.png: is no file"):
        load_path(folder, FOUR)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row(0, label=1), row(1)], r"1\.png: no label, while others have one"),
        ([row(0, label=1), row(1, label=None)], r"1\.png: no label"),
        ([row(0, mask="pics/0.png"), row(1)], r"record 2 \(pics/1\.png\) has no 'mask'"),
        ([row(0), {"name": "x"}], "record 2 has no 'file_name'"),
        ([row(0), row(7)], r"7\.png: cannot be read \(No such file"),
        ([row(0), "{broken"], r"metadata\.jsonl:2: not JSON"),
        ([row(0), "[1]"], r"metadata\.jsonl:2: expected an object"),
        ([row(0)], "at least 2 images are needed, found 1"),
    ],
)
def test_metadata_that_does_not_fit(table: Callable[..., Path], rows: list[object], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        load_path(table(*rows), FOUR)


def test_metadata_as_parquet_is_told_apart(table: Callable[..., Path]) -> None:
    folder = table("PAR1", name="metadata.parquet")
    with pytest.raises(DatasetError, match=r"metadata\.parquet is not read; write it as metadata\.jsonl"):
        load_path(folder, FOUR)


# Samples of medzoo


@pytest.fixture
def samples() -> Samples:
    return Samples(
        RNG.random((4, 1, 6, 6), np.float32),
        np.arange(4),
        (RNG.random((4, 1, 6, 6)) > 0.5).astype(np.uint8),
        np.array([1, 0, 1, 1]),
        seed=0,
        condition=("malignant", "benign", "malignant", "malignant"),
        model_id="10001_TEST",
    )


@pytest.mark.parametrize("form", formats.builtin())
def test_samples_in_every_format_are_the_samples(tmp_path: Path, samples: Samples, form: Any) -> None:
    found = load_path(save(samples, tmp_path / "run", format=form), Protocol(size=6))
    np.testing.assert_array_equal(found.images, samples.uint8())
    np.testing.assert_array_equal(found.masks, samples.masks)
    assert [found.classes[i] for i in found.labels] == list(samples.condition or ())
    assert found.names[2] == "00000002"


def test_samples_of_sixteen_bits_and_without_masks(tmp_path: Path, samples: Samples) -> None:
    plain = Samples(samples.images, samples.indices)
    found = load_path(save(plain, tmp_path / "run", bits=16), Protocol(size=6))
    assert np.abs(found.images.astype(int) - plain.uint8()).max() <= 1
    assert found.masks is None and found.labels is None
    colour = Samples(RNG.random((2, 3, 6, 6), np.float32), np.arange(2))
    for form in ("png", "npz", "nifti", "webdataset"):
        read = load_path(save(colour, tmp_path / form, format=form), Protocol(size=6))
        np.testing.assert_array_equal(read.images, colour.uint8())


def test_a_run_that_was_changed_or_killed(tmp_path: Path, samples: Samples) -> None:
    folder = save(samples, tmp_path / "run")
    manifest = folder / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-30])  # torn: the last sample is not in it
    assert len(load_path(folder, FOUR)) == 3
    manifest.write_bytes(b"{}\n" + whole)
    with pytest.raises(DatasetError, match=r"manifest\.jsonl:1: no record of a sample"):
        load_path(folder, FOUR)
    manifest.write_bytes(whole.replace(b'"00000001.png"', b'"../00000001.png"'))
    with pytest.raises(DatasetError, match="is no file inside this folder"):
        load_path(folder, FOUR)
    manifest.write_bytes(whole)
    png(folder / "00000001.png", np.zeros((6, 6)))
    with pytest.raises(DatasetError, match=r"00000001\.png: changed: sha256"):
        load_path(folder, FOUR)


def test_a_shard_that_was_changed(tmp_path: Path, samples: Samples) -> None:
    folder = save(samples, tmp_path / "run", format="webdataset")
    other = save(replace(samples, images=1 - samples.images), tmp_path / "other", format="webdataset")
    (shard,) = (path.name for path in folder.glob("*.tar"))
    (folder / shard).write_bytes((other / shard).read_bytes())
    with pytest.raises(DatasetError, match=r"00000000\.png: changed: sha256"):
        load_path(folder, FOUR)


@pytest.mark.parametrize("form", ["npy", "npz", "nifti", "dicom"])
def test_samples_that_are_volumes_are_told_apart(tmp_path: Path, form: Any) -> None:
    volumes = Samples(RNG.random((2, 1, 3, 6, 6), np.float32), np.arange(2), model_id="10001_TEST")
    with pytest.raises(DatasetError, match=r"00000000.*a volume"):
        load_path(save(volumes, tmp_path / "run", format=form), FOUR)


# Volumes


def nifti(path: Path, array: np.ndarray, axes: str = "LPS", **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image: Any = nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(axes)
    )
    image = image.as_reoriented(turn)
    image.header.set_slope_inter(header.get("slope", 1), header.get("inter", 0))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAL", "PIR"])
def test_volumes_show_the_slices_that_read_image_shows(tmp_path: Path, axes: str) -> None:
    array = RNG.integers(-1000, 1000, (5, 6, 7), np.int16)
    path = nifti(tmp_path / "v.nii.gz", array, axes, slope=2, inter=-3)
    volume = read_volume(path, window=(-500, 900))
    assert volume.stored.shape == (7, 6, 5)
    for i in (0, 3, 6):
        np.testing.assert_allclose(volume.part(i), read_image(path, slice=i, window=(-500, 900))[0], atol=1e-6)
    plain = read_volume(path)
    assert plain.part(...).min() == 0 and plain.part(...).max() == 1
    np.testing.assert_allclose(plain.units((0, 0, 0)), 2.0 * array[0, 0, 0] - 3)


def test_slices_along_each_axis(tmp_path: Path) -> None:
    array = np.zeros((4, 4, 4), np.uint8)  # to the left, to the back, upwards
    array[3, 0, 2] = 255  # left, front, above the middle
    nifti(tmp_path / "v.nii.gz", array)
    nifti(tmp_path / "w.nii.gz", array)
    for axis, at, (i, j) in (("axial", 2, (0, 3)), ("coronal", 0, (1, 3)), ("sagittal", 3, (1, 0))):
        found = load_path(tmp_path, FOUR, slices=Slices(axis=axis, foreground=0.01))
        assert found.names == (f"v_{axis}_{at:04d}", f"w_{axis}_{at:04d}") and found.groups == ("v", "w")
        assert np.argwhere(found.images[0, 0]).tolist() == [[i, j]]
    every = load_path(tmp_path / "v.nii.gz", FOUR, slices=Slices(start=1, step=2, foreground=0))
    assert every.names == ("v_axial_0001", "v_axial_0003")


def test_volumes_with_masks(tmp_path: Path) -> None:
    array = RNG.integers(100, 200, (4, 4, 5), np.uint8)
    nifti(tmp_path / "v" / "a.nii.gz", array)
    nifti(tmp_path / "v" / "masks" / "a.nii.gz", (array > 150).astype(np.uint8) * 3)
    found = load_path(tmp_path / "v", FOUR)
    np.testing.assert_array_equal(found.masks[:, 0], array.transpose(2, 1, 0) > 150)
    np.testing.assert_array_equal(found.images[:, 0], array.transpose(2, 1, 0))
    given = load_path(tmp_path / "v" / "a.nii.gz", FOUR, masks=tmp_path / "v" / "masks")
    np.testing.assert_array_equal(given.masks, found.masks)
    nifti(tmp_path / "v" / "masks" / "a.nii.gz", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"mask of \(4, 4, 4\) voxels for a volume of \(5, 4, 4\)"):
        load_path(tmp_path / "v", FOUR)
    (tmp_path / "v" / "masks" / "a.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"no mask .*a\.nii\.gz; every volume needs one"):
        load_path(tmp_path / "v", FOUR)


def test_volumes_that_cannot_be_read(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", np.full((4, 4, 4), np.nan, np.float32))
    for window in (None, (0, 1)):
        with pytest.raises(DatasetError, match=r"a\.nii\.gz: holds numbers that are not finite"):
            load_path(path, FOUR, window=window)
    nifti(path, np.zeros((4, 4, 4, 5), np.uint8)[..., 0])
    with pytest.raises(DatasetError, match="at least 2 images are needed, found 0"):  # nothing on any slice
        load_path(path, FOUR)
    nifti(path, RNG.integers(0, 256, (9, 9, 9), np.uint8))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"a\.nii\.gz: a NIfTI image that cannot be read"):
        load_path(path, FOUR, slices=Slices(foreground=0))
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(DatasetError, match=r"expected \[x, y\]"):
        load_path(path, FOUR)


# DICOM


def dicom(path: Path, pixels: np.ndarray, patient: str, series: str = "1", number: int = 1, slope: float = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    data.PatientID, data.SeriesInstanceUID, data.InstanceNumber = patient, f"2.25.{series}", number
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleSlope, data.RescaleIntercept = slope, -1000
    data.PixelData = pixels.astype("<i2").tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_series_in_order_with_patients_as_short_hashes(tmp_path: Path) -> None:
    for patient in ("DOE^JANE", "ROE"):
        for number in (1, 2, 10):
            dicom(tmp_path / patient / f"IM{number}", np.full((4, 4), 100 * number), patient, number=number)
    (tmp_path / "DICOMDIR").write_bytes(b"x")
    found = load_path(tmp_path, FOUR, window=(-1000, 1000))
    assert sorted(values(found)[:3]) == values(found)[:3] == [13, 26, 128]
    assert len(found) == 6 and len(set(found.groups)) == 2 and found.groups[0] == found.groups[2] != found.groups[3]
    assert "DOE" not in repr((found.names, found.groups)) and all(len(group) == 12 for group in found.groups)
    middle = load_path(tmp_path, FOUR, window=(-1000, 1000), slices=Slices(start=1, stop=2, foreground=0))
    assert values(middle) == [26, 26]
    one = load_path(tmp_path / "ROE" / "IM2", FOUR, window=(-1000, 1000), minimum=1)
    assert values(one) == [26] and one.groups[0] in found.groups


def test_frames_and_files_that_are_no_pictures(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 4), i * 1000) for i in range(3)])
    dicom(tmp_path / "a.dcm", frames, "p")
    assert values(load_path(tmp_path / "a.dcm", FOUR, window=(-1000, 1000))) == [0, 128, 255]
    report = pydicom.dcmread(tmp_path / "a.dcm")
    del report.PixelData, report.Rows
    report.save_as(tmp_path / "b.dcm")
    with pytest.warns(ReadingWarning, match=r"1 DICOM objects without pixels \(reports, structures\): passed over"):
        assert len(load_path(tmp_path, FOUR, window=(-1000, 1000))) == 3
    (tmp_path / "a.dcm").unlink()
    with pytest.raises(DatasetError, match=r"is a DICOM file without an image: b\.dcm"):
        load_path(tmp_path, FOUR)
    with pytest.raises(DatasetError, match="no DICOM file found"):
        load_path(flat(tmp_path / "x"), FOUR, kind="dicom")


# Anything else


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for content, told in ((b"<html>404</html>", "web page"), (b"", "is empty"), (b"PK\x03\x04 cut", "damaged")):
        path.write_bytes(content)
        with pytest.raises(MedzooError, match=rf"x\.npz: .*{told}"):
            load_path(path, FOUR)
    path.write_text("words")
    with pytest.raises(DatasetError, match="cannot be; give the folder"):
        load_path(path, FOUR, kind="flat")


def test_tables_are_read_whatever_their_end_of_lines(table: Callable[..., Path]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([["file_name", "label"], ["pics/0.png", "a"], ["pics/1.png", "b"]])
    folder = table("x")
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + stream.getvalue().encode())
    assert load_path(folder, FOUR).classes == ("a", "b")
    (folder / "metadata.csv").write_bytes(b"file_name\n\xff\n")
    with pytest.raises(DatasetError, match=r"metadata\.csv: not a CSV table in UTF-8"):
        load_path(folder, FOUR)


class SpriteLayout(Layout):
    """A toy: one text file of grey values a picture."""

    kind: Literal["sprites"]

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return any(folder.glob("*.sprite"))

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Any, slices: Any) -> SpriteLayout:
        return cls(kind="sprites")

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        for path in sorted(source.folder.glob("*.sprite")):
            values = np.array([list(map(int, line.split())) for line in source.bytes(path.name).splitlines()], np.uint8)
            yield Item(path.stem, str(path), values, None, None, None)


def test_a_layout_is_one_class_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"{name}.sprite").write_text("0 255\n255 0\n")
    with pytest.raises(DatasetError, match="no image found"):
        load_path(tmp_path, FOUR)
    with pytest.raises(DatasetError, match="no layout is of kind 'sprites'; there are manifest, metadata, flat"):
        load_path(tmp_path, FOUR, kind="sprites")
    monkeypatch.setattr(paths, "LAYOUTS", (*paths.LAYOUTS, SpriteLayout))
    for kind in (None, "sprites"):
        assert load_path(tmp_path, Protocol(size=2), kind=kind).images[1, 0].tolist() == [[0, 255], [255, 0]]
    with pytest.raises(DatasetError, match="needs an entry of the registry"):
        load_path(tmp_path, FOUR, kind="folder")
