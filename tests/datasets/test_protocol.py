"""One protocol for files and for arrays in memory, the record of what was used, and splits that part no patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from medzoo.datasets import (
    ByBlock,
    ByGroup,
    Images,
    Protocol,
    Stretch,
    content_sha256,
    fit,
    load_folder,
    part,
    protocol,
    relabel,
)
from medzoo.errors import DatasetError
from medzoo.samples import Samples
from medzoo.samples.saving import save

RNG = np.random.default_rng(5)


def pictures(n: int = 3, channels: int = 3, height: int = 20, width: int = 12) -> np.ndarray:
    return RNG.integers(0, 256, (n, channels, height, width), np.uint8)


def images(n: int, **known: object) -> Images:
    return Images(pictures(n, 1, 4, 4), None, tuple(f"i{i}" for i in range(n)), **known)


@pytest.mark.parametrize("channels", ["RGB", "L", None])
@pytest.mark.parametrize("resize", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_arrays_in_memory_become_what_their_files_become(tmp_path: Path, resize: str, channels: str | None) -> None:
    chosen = Protocol(size=7, resize=resize, channels=channels, antialias=resize != "nearest")
    given = pictures()
    for i, one in enumerate(given):
        Image.fromarray(one.transpose(1, 2, 0)).save(tmp_path / f"{i}.png")
    found, _ = fit(given, None, chosen)
    np.testing.assert_array_equal(found, load_folder(tmp_path, protocol=chosen).images)
    assert found.shape == (3, 1 if channels == "L" else 3, 7, 7)
    np.testing.assert_array_equal(fit(given.astype(np.float32) / 255, None, chosen)[0], found)


def test_generated_samples_are_measured_as_the_files_that_medzoo_writes(tmp_path: Path) -> None:
    given = RNG.random((3, 1, 16, 16), np.float32)
    masks = (RNG.random((3, 1, 16, 16)) > 0.5).astype(np.uint8)
    folder = save(Samples(given, np.arange(3), masks), tmp_path / "run")
    for path in (one for one in folder.glob("*_mask.png")):
        path.rename(tmp_path / path.name.replace("_mask", ""))
    read = load_folder(folder, tmp_path, size=6, channels="RGB")
    found, drawn = fit(given, masks, Protocol(size=6, channels="RGB"))
    np.testing.assert_array_equal(found, read.images)
    np.testing.assert_array_equal(drawn, read.masks)


def test_colour_becomes_grey_by_luma_and_grey_is_repeated() -> None:
    given = np.zeros((1, 3, 2, 2), np.uint8)
    given[0] = np.array([200, 100, 50], np.uint8)[:, None, None]
    assert fit(given, None, Protocol(size=2, channels="L"))[0][0, 0, 0, 0] == round(
        0.299 * 200 + 0.587 * 100 + 0.114 * 50
    )
    grey = pictures(2, 1, 4, 4)
    np.testing.assert_array_equal(fit(grey, None, Protocol(size=4, channels="RGB"))[0], grey.repeat(3, axis=1))


def test_nothing_is_done_to_what_fits_already() -> None:
    given, masks = pictures(2, 3, 8, 8), np.ones((2, 2, 8, 8), np.uint8)
    found, drawn = fit(given, masks, Protocol(size=8))
    assert found is given and drawn is masks


def test_masks_of_several_channels_keep_each_channel() -> None:
    masks = np.zeros((2, 3, 8, 8), np.uint8)
    masks[:, 1, :, :4] = 1
    drawn = fit(pictures(2, 3, 8, 8), masks, Protocol(size=4))[1]
    assert drawn is not None and drawn.shape == (2, 3, 4, 4)
    assert drawn.mean((0, 2, 3)).tolist() == [0, 0.5, 0]


@pytest.mark.parametrize(
    ("given", "masks", "told"),
    [
        (np.zeros((2, 4, 8, 8), np.uint8), None, r"1 or 3 channels, found \[2, 4, 8, 8\]"),
        (np.zeros((2, 8, 8), np.uint8), None, r"\[n, C, H, W\]"),
        (np.zeros((2, 1, 8, 8), np.int32), None, "uint8 or floats .* found int32"),
        (np.full((1, 1, 8, 8), 1.5), None, r"lie in \[0, 1\], found \[1.5, 1.5\]"),
        (np.full((1, 1, 8, 8), np.nan), None, r"lie in \[0, 1\], found \[nan"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.zeros((1, 1, 8, 8), np.uint8), "do not lie on images"),
        (np.zeros((2, 1, 8, 8), np.uint8), np.full((2, 1, 8, 8), 255, np.uint8), "masks hold 0 and 1, found 255"),
    ],
)
def test_arrays_that_are_no_images_are_refused(given: np.ndarray, masks: np.ndarray | None, told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        fit(given, masks, Protocol(size=4))


def test_memory_of_working_on_many_arrays_is_that_of_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = protocol.as_uint8

    def noting(band: np.ndarray) -> np.ndarray:
        seen.append(len(band))
        return original(band)

    monkeypatch.setattr(protocol, "as_uint8", noting)
    given = RNG.random((12, 1, 8, 8), np.float32)
    assert len(fit(given, None, Protocol(size=4), band=5)[0]) == 12 and seen == [5, 5, 2]


def test_a_protocol_says_only_what_happens() -> None:
    with pytest.raises(ValidationError, match="'bilinear' averages when it shrinks; state antialias: true"):
        Protocol(size=8, resize="bilinear", antialias=False)
    with pytest.raises(ValidationError, match="state antialias: false"):
        Protocol(size=8, resize="nearest")
    for wrong in ({"size": 0}, {"size": 8, "fit": "crop"}, {"size": 8, "resize": "cubic"}, {"size": 8, "colour": 1}):
        with pytest.raises(ValidationError):
            Protocol(**wrong)
    assert Protocol(size=8).model_dump() == {
        "size": 8, "channels": None, "fit": "squeeze", "resize": "bicubic", "antialias": True,
    }  # fmt: skip
    with pytest.raises(DatasetError, match="state either protocol"):
        load_folder("anywhere")
    with pytest.raises(DatasetError, match="state either protocol"):
        load_folder("anywhere", size=8, protocol=Protocol(size=8))


def test_filters_and_antialiasing_give_different_pixels() -> None:
    given = pictures(1, 1, 32, 32)
    found = [fit(given, None, Protocol(size=8, resize=one))[0] for one in ("box", "bilinear", "bicubic", "lanczos")]
    found.append(fit(given, None, Protocol(size=8, resize="nearest", antialias=False))[0])
    assert len({one.tobytes() for one in found}) == 5


# Images


def test_some_of_the_images_by_positions_and_booleans() -> None:
    whole = images(4, labels=np.array([0, 1, 1, 0]), classes=("a", "b"), groups=("p", "q", "q", "r"))
    for chosen in (np.array([2, 0]), [2, 0]):
        found = whole[chosen]
        assert found.names == ("i2", "i0") and found.groups == ("q", "p") and found.classes == ("a", "b")
        assert found.labels.tolist() == [1, 0]
        np.testing.assert_array_equal(found.images, whole.images[[2, 0]])
    assert whole[np.array([True, False, False, True])].names == ("i0", "i3")
    assert len(whole[[]]) == 0 and whole[1:3].groups == ("q", "q")
    assert whole[1:3].images.base is whole.images  # a slice is no copy


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"labels": np.array([0, 1], np.int32)}, "labels must be int64"),
        ({"labels": np.array([0])}, r"labels must be int64 \[2\]"),
        ({"labels": np.array([0, 2]), "classes": ("a", "b")}, "labels must be 0 to 1, found 0 to 2"),
        ({"labels": np.array([0, -1])}, "found -1"),
        ({"groups": ("a",)}, "1 groups"),
        ({"sizes": ((8, 8),)}, "1 sizes"),
    ],
)
def test_labels_and_groups_fit_the_images(known: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        images(2, **known)


def test_real_and_synthetic_images_are_one_torch_dataset() -> None:
    import torch
    from torch.utils.data import ConcatDataset, DataLoader

    pixels, masks = pictures(3, 1, 4, 4), np.ones((3, 1, 4, 4), np.uint8)
    real = Images(pixels, masks, ("a", "b", "c"), np.array([1, 0, 1]), ("x", "y"))
    drawn = np.random.default_rng(0).random((2, 1, 4, 4), np.float32)
    made = Samples(images=drawn, indices=np.arange(2), masks=masks[:2], labels=np.array([0, 1]))
    both: ConcatDataset[Any] = ConcatDataset([real.as_dataset(), made.as_dataset()])
    (batch,) = DataLoader(both, batch_size=5)
    assert batch["image"].dtype == torch.float32 and batch["label"].tolist() == [1, 0, 1, 0, 1]
    np.testing.assert_allclose(batch["image"][:3].numpy(), real.float())
    assert np.array_equal(batch["image"][3:].numpy(), drawn) and batch["mask"].dtype == torch.uint8
    means = [float(mean) for mean in DataLoader(real.as_dataset(lambda item: item["image"].mean()), batch_size=1)]
    np.testing.assert_allclose(means, real.float().mean(axis=(1, 2, 3)), rtol=1e-5)
    assert set(Images(pixels, None, ("a", "b", "c")).as_dataset()[0]) == {"image", "index"}


def test_labels_of_two_sets_get_the_same_numbers() -> None:
    given = images(3, labels=np.array([0, 1, 0]), classes=("pneumonia", "zebra"))
    found = relabel(given[[0, 2]], ("normal", "pneumonia"))
    assert found.labels.tolist() == [1, 1] and found.classes == ("normal", "pneumonia")
    with pytest.raises(DatasetError, match="class 'zebra' is unknown; expected 'normal', 'pneumonia'"):
        relabel(given, ("normal", "pneumonia"))
    numbered = images(2, labels=np.array([0, 1]))
    assert relabel(numbered, ("a", "b")).classes == ("a", "b")
    with pytest.raises(DatasetError, match="label 1 is none of the 1 classes"):
        relabel(numbered, ("a",))
    with pytest.raises(DatasetError, match="no labels"):
        relabel(images(2), ("a",))


def test_the_hash_of_the_content_changes_with_pixels_masks_and_labels_only() -> None:
    pixels, masks = pictures(2, 1, 4, 4), np.zeros((2, 1, 4, 4), np.uint8)
    labels = np.array([0, 1])
    base = Images(pixels, masks, ("a", "b"), labels, ("x", "y"))
    assert content_sha256(base) == content_sha256(
        Images(pixels.copy(), masks, ("c", "d"), labels, ("x", "y"), ("g", "g"))
    )
    other, drawn = pixels.copy(), masks.copy()
    other[1, 0, 3, 3] ^= 1
    drawn[0, 0, 0, 0] = 1
    changed = [
        Images(other, masks, ("a", "b"), labels, ("x", "y")),
        Images(pixels, drawn, ("a", "b"), labels, ("x", "y")),
        Images(pixels, None, ("a", "b"), labels, ("x", "y")),
        Images(pixels, masks, ("a", "b"), labels[::-1].copy(), ("x", "y")),
        Images(pixels, masks, ("a", "b"), labels, ("y", "x")),
        Images(pixels, masks, ("a", "b")),
        Images(pixels[::-1], masks, ("a", "b"), labels, ("x", "y")),
        Images(pixels.reshape(2, 1, 2, 8), masks.reshape(2, 1, 2, 8), ("a", "b"), labels, ("x", "y")),
        base[:1],
        base[[]],
    ]
    assert len({content_sha256(one) for one in [base, *changed]}) == 11


# Splits


def test_no_group_is_parted_and_groups_stay_where_they_are() -> None:
    groups = tuple(f"patient{i % 40}" for i in range(200))
    rule = ByGroup(by="group", shares={"train": 0.7, "val": 0.3})
    whole = images(200, groups=groups)
    train, val = part(whole, rule, "train"), part(whole, rule, "val")
    assert len(train) + len(val) == 200 and not set(train.groups) & set(val.groups)
    assert 20 <= len(set(train.groups)) <= 36
    fewer = part(whole[:77], rule, "val")
    assert set(fewer.groups) == set(val.groups) & set(groups[:77])
    other = ByGroup(by="group", shares={"train": 0.7, "val": 0.3}, salt="again")
    assert set(part(whole, other, "val").groups) != set(val.groups)
    with pytest.raises(DatasetError, match="needs the group of every image"):
        part(images(3), rule, "val")
    with pytest.raises(DatasetError, match="leaves no image for the split 'test'"):
        part(whole, rule, "test")


def test_blocks_have_gaps_between_them_and_start_anew_in_each_volume() -> None:
    stretches = (
        Stretch(split="train", n=3),
        Stretch(split=None, n=1),
        Stretch(split="val", n=2),
        Stretch(split=None, n=1),
    )
    rule = ByBlock(by="block", pattern=stretches)
    whole = images(18, groups=("a",) * 10 + ("b",) * 8)
    assert part(whole, rule, "train").names == tuple(f"i{i}" for i in (0, 1, 2, 7, 8, 9, 10, 11, 12, 17))
    val = part(whole, rule, "val")
    assert val.names == ("i4", "i5", "i14", "i15") and val.groups == ("a block 2",) * 2 + ("b block 2",) * 2
    assert part(whole, rule, "train").groups[3] == "a block 4"


def test_a_rule_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValidationError, match="shares must be 1 in sum, found 0.9"):
        ByGroup(by="group", shares={"train": 0.8, "val": 0.1})
    with pytest.raises(ValidationError):
        ByBlock(by="block", pattern=())
