"""Samples: checks, slices, joins, pictures, tensors."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medzoo.samples import Samples
from medzoo.samples.sheet import OUTLINE, draw


def make(n: int = 5, channels: int = 3, **changes: Any) -> Samples:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "images": rng.random((n, channels, 8, 6), dtype=np.float32),
        "indices": np.arange(10, 10 + n),
        "masks": rng.integers(0, 2, (n, 1, 8, 6), dtype=np.uint8),
        "labels": np.arange(n) % 2,
        "condition": tuple("ab"[i % 2] for i in range(n)),
        "seed": 3,
        "model_id": "99001_TINY",
        "revision": "0" * 12,
        "weights_sha256": "f" * 64,
    }
    return Samples(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((5, 3, 8, 6))}, "images must be float32"),
        ({"images": np.zeros((5, 8, 6), np.float32)}, "4 or 5 dimensions"),
        ({"images": [1, 2]}, "found list"),
        ({"images": np.full((5, 3, 8, 6), 1.1, np.float32)}, r"must lie in \[0, 1\]"),
        ({"images": np.full((5, 3, 8, 6), np.nan, np.float32)}, r"must lie in \[0, 1\]"),
        ({"masks": np.zeros((5, 1, 8, 7), np.uint8)}, "do not lie on images"),
        ({"masks": np.full((5, 1, 8, 6), 255, np.uint8)}, "masks hold 0 and 1, found 255"),
        ({"masks": np.zeros((5, 8, 6), np.uint8)}, "masks must be uint8 with 4"),
        ({"indices": np.arange(4)}, "5 images but 4 indices"),
        ({"labels": np.arange(6)}, "5 images but 6 labels"),
        ({"labels": np.zeros(5)}, "labels must be int64"),
        ({"condition": ("a",)}, "5 images but 1 condition"),
        ({"classes": ("a",)}, "labels of 1 classes reach from 0 to 0"),
        ({"spacing": (1.0,)}, "spacing needs a tuple of 2 numbers"),
        ({"spacing": (1.0, 0.0)}, "above 0"),
        ({"origin": (1.0, float("nan"))}, "origin must be finite"),
        ({"mask_names": ("lesion", "vessel")}, "mask_names need one for each mask channel"),
    ],
)
def test_wrong_arrays_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_an_int_gives_one_sample_and_a_slice_gives_some() -> None:
    samples = make()
    one = samples[3]
    assert samples.masks is not None and one.masks is not None and one.labels is not None
    assert len(one) == 1 and one.indices.tolist() == [13] and one.labels.tolist() == [1] and one.condition == ("b",)
    assert np.array_equal(one.images, samples.images[3:4]) and np.array_equal(one.masks, samples.masks[3:4])
    assert samples[-1].indices.tolist() == [14] == samples[np.int64(4)].indices.tolist()
    assert samples[1::2].indices.tolist() == [11, 13]
    assert samples[[4, 0]].indices.tolist() == [14, 10] and samples[[4, 0]].condition == ("a", "a")
    assert samples[samples.labels == 1].indices.tolist() == [11, 13]
    assert len(samples[9:]) == 0
    with pytest.raises(IndexError):
        samples[5]
    assert (one.seed, one.model_id, one.revision, one.weights_sha256) == (3, "99001_TINY", "0" * 12, "f" * 64)


@given(st.lists(st.integers(0, 7), max_size=4))
def test_cutting_and_joining_gives_the_same_back(cuts: list[int]) -> None:
    samples = make(7)
    edges = [0, *sorted(cuts), 7]
    joined = Samples.concatenate([samples[a:b] for a, b in zip(edges, edges[1:], strict=False)])
    for name in ("images", "masks", "labels", "indices"):
        assert np.array_equal(getattr(joined, name), getattr(samples, name))
    assert joined.condition == samples.condition


def test_slices_and_sums_keep_geometry_classes_and_precision() -> None:
    known: dict[str, Any] = {
        "classes": ("a", "b"), "spacing": (0.5, 0.25), "origin": (-3.0, 4.0), "precision": "bfloat16"
    }  # fmt: skip
    for part in (make(**known)[1:3], make(**known)[2], make(**known)[:1] + make(**known)[1:]):
        assert {name: getattr(part, name) for name in known} == known
    with pytest.raises(ValueError, match="different spacing"):
        Samples.concatenate([make(**known), make(**known | {"spacing": (0.5, 0.5)})])


def test_what_does_not_go_together_is_not_joined() -> None:
    samples = make()
    assert len(samples + samples) == 10
    with pytest.raises(ValueError, match="different seed: .*3.*4"):
        samples + make(seed=4)
    with pytest.raises(ValueError, match="with and without masks"):
        samples + make(masks=None)
    with pytest.raises(ValueError, match="nothing to concatenate"):
        Samples.concatenate([])


def test_uint8_rounds_halves_up_and_keeps_every_8_bit_value() -> None:
    values = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16) / np.float32(255)
    samples = Samples(images=values, indices=np.arange(1))
    assert samples.uint8().ravel().tolist() == list(range(256))
    halves = Samples(images=np.array([[[[0.5, 2.49 / 255, 2.51 / 255, 1.0]]]], np.float32), indices=np.arange(1))
    assert halves.uint8().ravel().tolist() == [128, 2, 3, 255]


def test_pictures() -> None:
    rgb, grey, two = make(), make(channels=1), make(channels=2)
    assert rgb.pil(1).mode == "RGB" and rgb.pil(1).size == (6, 8)
    assert np.array_equal(np.asarray(rgb.pil(1)), rgb.uint8()[1].transpose(1, 2, 0))
    assert grey.pil(0).mode == "L" and np.array_equal(np.asarray(grey.pil(0)), grey.uint8()[0, 0])
    assert np.array_equal(np.asarray(two.pil(0)), np.concatenate(two.uint8()[0], axis=1))


@pytest.mark.parametrize("size", [(5, 4, 3), (4, 7, 2)])
def test_volumes_are_shown_as_three_slices_through_the_middle(size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    volume = Samples(
        images=rng.random((2, 1, *size), np.float32),
        masks=rng.integers(0, 2, (2, 1, *size), np.uint8),
        indices=np.arange(2),
    )
    shown, voxels = np.asarray(volume.pil(1)), volume.uint8()[1, 0]
    depth, height, width = size
    tall = max(depth, height)
    assert shown.shape == (tall, 2 * width + height)

    def part(left: int, wide: int, rows: int) -> np.ndarray:
        top = (tall - rows) // 2
        other = np.delete(shown[:, left : left + wide], range(top, top + rows), axis=0)
        assert not other.any()
        return shown[top : top + rows, left : left + wide]

    axial, coronal, sagittal = part(0, width, height), part(width, width, depth), part(2 * width, height, depth)
    assert np.array_equal(axial, voxels[depth // 2])
    assert np.array_equal(coronal, voxels[::-1, height // 2])  # what lies above is above
    assert np.array_equal(sagittal, voxels[::-1, :, width // 2])
    bare: dict[str, Any] = {"captions": False, "size": max(size)}
    assert volume.grid(columns=2, masks=False, **bare).size == (2 * (shown.shape[1] + 2) + 2, tall + 4)
    assert volume.grid(columns=1, **bare).size == (2 * shown.shape[1] + 4, 2 * (tall + 2) + 2)
    half = volume.grid(columns=1, masks=False, size=max(size) / 2, captions=False)  # type: ignore[arg-type]
    assert half.size[0] == round(shown.shape[1] / 2) + 4
    colour = Samples(images=np.repeat(volume.images, 3, axis=1), indices=volume.indices)
    assert np.array_equal(np.asarray(colour.pil(1))[..., 0], shown)


def test_grid_lays_samples_row_by_row_with_outlined_masks() -> None:
    mask = np.zeros((5, 1, 8, 6), np.uint8)
    mask[:, :, 2:6, 1:5] = 1
    samples = make(masks=mask)
    sheet = np.asarray(samples.grid(columns=2, size=8, captions=False))
    assert sheet.shape == (3 * (8 + 2) + 2, 2 * (12 + 2) + 2, 3)
    third = sheet[2 + 10 : 2 + 18, 2:14]
    pixels = samples.uint8()[2].transpose(1, 2, 0)
    assert np.array_equal(third[:, :6], pixels)
    rim = mask[2, 0].astype(bool)
    rim[3:5, 2:4] = False
    assert (third[:, 6:][rim] == OUTLINE).all() and np.array_equal(third[:, 6:][~rim], pixels[~rim])
    assert np.asarray(samples.grid(2, False, 8, captions=False)).shape == (32, 2 * 8 + 2, 3)
    assert samples.grid(columns=1, size=4, captions=False).size == (6 + 4, 5 * 6 + 2)
    with pytest.raises(ValueError, match="no samples"):
        samples[:0].grid()


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    samples = make(4)
    tile = np.asarray(samples.grid(masks=False, captions=False))[2:130, 2:98]
    assert np.array_equal(tile, samples.uint8()[0].transpose(1, 2, 0).repeat(16, 0).repeat(16, 1))
    xray = Samples(images=np.zeros((4, 1, 28, 28), np.float32), indices=np.arange(4))
    assert xray.grid(captions=False, size=128).size == xray.grid(captions=False).size == (2 * 114 + 2, 2 * 114 + 2)
    assert xray.grid(captions=False, size=60).size == (2 * 58 + 2, 2 * 58 + 2)
    large = Samples(images=np.zeros((1, 1, 300, 200), np.float32), indices=np.arange(1))
    assert large.grid(captions=False).size == (204, 304) and large.grid(captions=False, size=150).size == (104, 154)


def test_an_outline_lies_on_the_enlarged_mask() -> None:
    mask = np.zeros((1, 1, 32, 32), np.uint8)
    mask[:, :, 8:24, 8:24] = 1
    samples = Samples(images=np.zeros((1, 1, 32, 32), np.float32), indices=np.arange(1), masks=mask)
    green = (np.asarray(samples.grid(captions=False)) == OUTLINE).all(axis=2)[2:130, 130:258]
    on = np.zeros((128, 128), bool)
    on[32:96, 32:96] = True
    on[33:95, 33:95] = False
    assert np.array_equal(green, on)


def test_a_caption_has_index_and_class() -> None:
    plain, wordy = make(4).grid(masks=False, captions=False), make(4).grid(masks=False)
    assert wordy.size == (plain.width, plain.height + 2 * 15)

    def words(**changes: Any) -> np.ndarray:
        return np.asarray(make(1, **changes).grid(masks=False))[131:145]

    number = words(labels=None)
    assert number.max() > 100 and (number.reshape(-1, 3) == [24, 24, 24]).all(axis=1).mean() > 0.9
    by_name = words(labels=np.array([1]), classes=("left", "right"))
    assert not np.array_equal(number, by_name) and np.array_equal(by_name, words(condition=("right",)))
    assert np.array_equal(words(condition=("x" * 90,)), words(condition=("x" * 200,)))  # cut to its tile
    assert words(classes=("正常",)).max() > 100


def test_the_input_stands_beside_what_was_made_of_it() -> None:
    samples = make(3, masks=None)
    inputs = np.linspace(0, 1, 3 * 16 * 12, dtype=np.float32).reshape(3, 1, 16, 12)
    sheet = np.asarray(draw(samples, columns=1, size=16, captions=False, inputs=lambda i: inputs[i]))
    assert sheet.shape == (3 * 18 + 2, 2 + 12 + 12 + 2, 3)
    first = sheet[2:18, 2:14, 0]
    assert np.array_equal(first, np.floor(inputs[0, 0] * 255 + 0.5))
    assert np.array_equal(sheet[2:18, 14:26], samples.uint8()[0].transpose(1, 2, 0).repeat(2, 0).repeat(2, 1))


def test_sheets_of_wide_tiles_have_fewer_columns() -> None:
    volumes = Samples(images=np.zeros((9, 1, 8, 40, 40), np.float32), indices=np.arange(9))
    sheet = volumes.grid()
    assert sheet.width < 3 * sheet.height


def test_a_mask_that_reaches_the_border_has_no_rim_there() -> None:
    samples = make(1, masks=np.ones((1, 1, 8, 6), np.uint8))
    sheet = np.asarray(samples.grid(captions=False))
    assert not (sheet == OUTLINE).all(axis=-1).any()


def test_tensors_and_dataset() -> None:
    import torch
    from torch.utils.data import DataLoader, Dataset

    samples = make()
    assert samples.torch().dtype == torch.float32 and samples.torch().data_ptr() == samples.images.ctypes.data
    dataset = samples.as_dataset()
    assert isinstance(dataset, Dataset) and len(dataset) == 5
    item = dataset[2]
    assert set(item) == {"image", "mask", "label", "index"} and int(item["index"]) == 12
    batches = list(DataLoader(dataset, batch_size=2))
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), samples.torch())
    assert batches[0]["mask"].dtype == torch.uint8 and batches[2]["label"].tolist() == [0]
    assert set(make(masks=None, labels=None).as_dataset()[0]) == {"image", "index"}


def test_a_transform_may_change_its_item() -> None:
    samples = make()
    before = samples.images.copy()

    def flipped(item: dict[str, Any]) -> tuple[Any, Any]:
        item["image"].neg_().add_(1)
        return item["image"], item["label"]

    image, label = samples.as_dataset(transform=flipped)[1]
    assert np.allclose(image.numpy(), 1 - before[1]) and int(label) == 1
    assert np.array_equal(samples.images, before)


def test_a_notebook_shows_a_sheet_that_says_synthetic() -> None:
    html = make(20, model_id="<b>")._repr_html_()
    assert "synthetic" in html and "&lt;b&gt;" in html and "<b>" not in html and "seed 3" in html
    found = re.search(r"base64,([^\"]+)", html)
    assert found is not None
    assert Image.open(io.BytesIO(base64.b64decode(found[1]))).size == (4 * (192 + 2) + 2, 4 * (128 + 15 + 2) + 2)
    assert "img" not in make(0, labels=None, condition=None)._repr_html_()
    assert repr(make(2)) == "Samples(2 synthetic, 3x8x6 with 1 mask channel(s), model_id='99001_TINY', seed=3)"


def test_importing_it_needs_neither_torch_nor_pillow() -> None:
    import subprocess
    import sys

    code = "import sys, medzoo.samples; print([m for m in ('torch', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_positions_count_from_both_ends() -> None:
    assert make()[-1].indices.tolist() == [14]
    for position in (5, -6):
        with pytest.raises(IndexError, match=f"there are 5 samples, found position {position}"):
            make()[position]


def test_sheets_and_sums_that_make_no_sense() -> None:
    for wrong in ({"columns": 0}, {"columns": -1}, {"size": 0}, {"size": -5}):
        with pytest.raises(ValueError, match="must be at least 1"):
            make().grid(**wrong)
    with pytest.raises(TypeError, match="unsupported operand"):
        make() + 3  # type: ignore[operator]
