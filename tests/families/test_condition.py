"""What callers may say as a condition, and what the network gets of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medzoo.entry import Entry
from medzoo.errors import ConditionError, MedzooError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise
from medzoo.samples import Samples

OUTPUT = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
IMAGE = {"kind": "image", "inputs": ["scan"], "channels": 1}
PAIR = {"kind": "images", "inputs": ["T1", "T2"], "channels": 1}
PROMPTED = IMAGE | {"kind": "text"}
AGE = {"name": "age_offset", "low": -20.0, "high": 20.0, "unit": "years"}


class Mirror(Generator):
    """Gives back the first channel of its input, and remembers what it was given."""

    class Config(FamilyConfig):
        pass

    class Network(nn.Module):
        pass

    def sample_batch(self, noise: Noise, given: Given) -> torch.Tensor:
        self.asked = given
        if given.images is None:
            return torch.zeros(len(noise), 1, 4, 4)
        return given.images[:, :1]


Make = Callable[..., Mirror]


@pytest.fixture
def mirror(tiny_entry: Callable[..., Entry]) -> Make:
    return lambda **condition: Mirror(tiny_entry(config={}, output=OUTPUT, condition=condition), {}, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 4 x 6 pixels, black, grey and white, in an order that needs natural sorting."""
    for name, value in (("scan2", 0), ("scan10", 102), ("scan30", 255)):
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def first_pixels(samples: Samples) -> list[float]:
    return [round(float(value), 5) for value in samples.images[:, 0, 0, 0]]


def test_a_folder_is_taken_in_turn_and_names_are_kept(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE)
    samples = generator.generate(5, folder, batch_size=2)
    assert first_pixels(samples) == [0.0, 0.4, 1.0, 0.0, 0.4]
    assert samples.names == ("scan2", "scan10", "scan30", "scan2", "scan10")
    assert samples.condition is not None and samples.condition[1] == "scan10.png"
    assert samples.images.shape == (5, 1, 4, 6)
    assert generator.count_inputs(folder) == 3
    # A sample depends on its index alone: what a resumed run relies on.
    assert first_pixels(generator.generate(2, folder, start=4)) == [0.4, 1.0]


def test_everything_that_an_image_may_be(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE)
    grey = np.full((4, 6), 102, np.uint8)
    source = mirror(**IMAGE).generate(1, folder / "scan10.png")
    for condition in (
        folder / "scan10.png", str(folder / "scan10.png"), [folder / "scan10.png"], {"scan": folder / "scan10.png"},
        {"image": grey}, grey, grey[None], grey[None, None], grey[:, :, None], torch.from_numpy(grey) / 255,
        Image.fromarray(grey), source, grey.astype(np.float64) / 255,
    ):  # fmt: skip
        samples = generator.generate(2, condition)
        assert first_pixels(samples) == [0.4, 0.4]
        assert generator.asked.images is not None and generator.asked.images.dtype == torch.float32
        assert generator.asked.images[0, 0, 0, 0].item() == pytest.approx(-0.2)  # the range of the network
    assert generator.generate(1, source).names == ("scan10",)
    assert generator.generate(1, grey).names == ("input0",)


def test_range_size_and_channels_are_those_of_the_entry(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE | {"channels": 3, "size": [8, 12], "range": [0.0, 2.0]})
    for condition in (folder / "scan10.png", np.full((4, 6), 102, np.uint8)[None]):
        generator.generate(1, condition)
        images = generator.asked.images
        assert images is not None and images.shape == (1, 3, 8, 12)
        torch.testing.assert_close(images, torch.full_like(images, 0.8))


def test_masks_are_cut_at_half(mirror: Make) -> None:
    generator = mirror(**IMAGE | {"kind": "mask"})
    generator.generate(1, np.array([[0, 1], [1, 0]], np.uint8))
    assert generator.asked.images is not None
    assert generator.asked.images[0, 0].tolist() == [[-1.0, 1.0], [1.0, -1.0]]


def test_samples_with_masks_give_a_mask_model_their_masks(mirror: Make) -> None:
    masks = np.zeros((1, 1, 2, 2), np.uint8)
    masks[0, 0, 0, 1] = 1
    samples = Samples(images=np.ones((1, 3, 2, 2), np.float32), masks=masks, indices=np.zeros(1, np.int64))
    generator = mirror(**IMAGE | {"kind": "mask"})
    generator.generate(1, samples)
    assert generator.asked.images is not None
    assert generator.asked.images[0, 0].tolist() == [[-1.0, 1.0], [-1.0, -1.0]]


def test_inputs_of_several_sizes_in_a_stream(mirror: Make) -> None:
    images = [np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)]
    generator = mirror(**IMAGE)
    assert [part.images.shape[3] for part in generator.stream(2, images, batch_size=1)] == [4, 5]
    with pytest.raises(ConditionError, match="99001_TINY: the inputs give images of several sizes"):
        generator.generate(2, images, batch_size=1)


def test_several_images_by_name_folder_or_order(mirror: Make, tmp_path: Path) -> None:
    for name, value in (("t1", 51), ("T2", 204)):
        (tmp_path / name).mkdir()
        for patient in ("a", "b"):
            Image.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / name / f"{patient}.png")
    generator = mirror(**PAIR)
    one, two = tmp_path / "t1" / "a.png", tmp_path / "T2" / "a.png"
    arrays = np.stack([np.full((2, 2), v, np.uint8) for v in (51, 204)])
    for condition in (tmp_path, {"T1": tmp_path / "t1", "T2": tmp_path / "T2"}, [one, two], arrays, arrays[None]):
        generator.generate(2, condition)
        images = generator.asked.images
        assert images is not None and images.shape == (2, 2, 2, 2)
        torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([-0.6, 0.6]))
    assert generator.generate(2, tmp_path).names == ("a", "b")


def test_numbers_beside_images(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE | {"attributes": [AGE]})
    samples = generator.generate(4, {"scan": folder, "age_offset": [-4, 10, 2]}, start=1)
    assert generator.asked.attributes is not None
    assert generator.asked.attributes[:, 0].tolist() == [10, 2, -4, 10]
    assert samples.condition is not None and samples.condition[2] == "scan2.png, age_offset=-4"
    with pytest.raises(ConditionError, match="needs a number for age_offset"):
        generator.generate(1, folder)
    default = mirror(**IMAGE | {"attributes": [AGE | {"default": 3.0}]})
    default.generate(1, folder)
    assert default.asked.attributes is not None and default.asked.attributes.tolist() == [[3.0]]


def test_one_image_takes_numbers_in_turn(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE | {"attributes": [AGE]})
    condition = {"scan": folder / "scan10.png", "age_offset": [-4, 10, 2]}
    generator.generate(3, condition, start=2)
    assert generator.asked.attributes is not None
    assert generator.asked.attributes[:, 0].tolist() == [2, -4, 10]
    assert generator.count_inputs(condition) == 3
    with pytest.raises(ConditionError, match="must be a number, or 3 of them"):
        generator.generate(3, {"scan": folder, "age_offset": [1, 2]})
    two = mirror(**IMAGE | {"attributes": [AGE, AGE | {"name": "other"}]})
    with pytest.raises(ConditionError, match="as many as the others, found age_offset 3, other 2"):
        two.generate(3, condition | {"other": [1, 2]})


def test_how_many_samples_a_condition_lists(mirror: Make) -> None:
    classes = mirror(kind="class", classes=["a", "b"])
    assert [classes.count_inputs(one) for one in ("a", 1, ["a", "b", "a"], {"class": ["a", "b"]})] == [None, None, 3, 2]
    numbers = mirror(kind="attributes", attributes=[AGE])
    assert [numbers.count_inputs(one) for one in (5, [5, 6], {"age_offset": [1, 2, 3]})] == [None, 2, 3]


def test_classes_in_arrays_and_tensors(mirror: Make) -> None:
    generator = mirror(kind="class", classes=["a", "b"])
    for condition in (np.array([1, 0]), torch.tensor([1, 0]), np.array(["b", "a"]), {"class": [1, "a"]}):
        assert generator.generate(2, condition).condition == ("b", "a")
    assert (
        generator.generate(2, np.array(1)).condition == generator.generate(2, torch.tensor(1)).condition == ("b", "b")
    )


def test_colour_becomes_grey_and_palettes_are_looked_up(mirror: Make) -> None:
    generator = mirror(**IMAGE)
    red = Image.new("RGB", (6, 4), (255, 0, 0))
    arrays = (np.asarray(red), np.asarray(red).transpose(2, 0, 1), red, red.convert("P"), red.convert("RGBA"))
    for condition in (*arrays, torch.from_numpy(np.array(red)).permute(2, 0, 1).bfloat16() / 255):
        samples = generator.generate(1, condition)
        assert samples.images.shape == (1, 1, 4, 6) and first_pixels(samples) == [0.299]


def test_grey_is_not_repeated_for_several_images(mirror: Make) -> None:
    with pytest.raises(ConditionError, match="takes images of 2 channels, input 0 has shape"):
        mirror(**PAIR).generate(1, np.zeros((4, 4), np.uint8))
    both = np.stack([np.full((2, 2), v, np.uint8) for v in (51, 204)])
    generator = mirror(**PAIR | {"attributes": [AGE]})
    assert first_pixels(generator.generate(1, {"images": both, "age_offset": 3})) == [0.2]


def test_dots_in_the_name_of_a_file_are_kept(mirror: Make, folder: Path) -> None:
    for name, kept in (("1.2.840.7.png", "1.2.840.7"), ("1.2.840.8", "1.2.840.8"), ("a.b.TIFF", "a.b")):
        (folder / name).write_bytes((folder / "scan2.png").read_bytes())
        assert mirror(**IMAGE).generate(1, folder / name).names == (kept,)


def test_numbers_alone(mirror: Make) -> None:
    other = {"name": "weight", "low": None, "high": None, "unit": None, "default": 70.0}
    generator = mirror(kind="attributes", attributes=[AGE, other])
    for condition, rows in (
        ({"age_offset": 5}, [[5, 70], [5, 70]]),
        ({"age_offset": [1, 2], "weight": 50}, [[1, 50], [2, 50]]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([7, 8], [[7, 8], [7, 8]]),
    ):
        generator.generate(2, condition, start=3)
        assert generator.asked.attributes is not None and generator.asked.attributes.tolist() == rows


def test_prompts_for_all_and_for_each(mirror: Make) -> None:
    generator = mirror(kind="text")
    samples = generator.generate(3, "a lung, left")
    prompts = generator.asked.texts
    assert prompts == samples.condition == ("a lung, left",) * 3
    assert generator.count_inputs("a lung, left") is None and generator.count_inputs(["a", "b"]) == 2
    for condition in (["a", "", "c"], ("a", "", "c"), {"text": ["a", "", "c"]}, np.array(["a", "", "c"])):
        parts = list(generator.stream(3, condition, start=7, batch_size=2))
        assert [part.condition for part in parts] == [("a", ""), ("c",)]
    assert generator.asked.texts == ("c",) and len(generator.asked) == 1
    left = list(generator.stream(3, ["a", "b", "c"], start=7, among=[range(9, 10)]))
    assert left[0].condition == ("c",)


@pytest.mark.parametrize("prompt", ["\udce9", "a\0b", "x" * 10_001])
def test_what_is_no_prompt(prompt: str, mirror: Make) -> None:
    for condition in (prompt, ["a lung", prompt], {"text": prompt}):
        with pytest.raises(ConditionError, match="a prompt must be text of at most 10000 characters"):
            mirror(kind="text").generate(2, condition)


def test_a_prompt_with_an_image(mirror: Make, folder: Path) -> None:
    generator = mirror(**PROMPTED)
    samples = generator.generate(4, {"text": "a lung", "scan": folder}, start=1)
    assert first_pixels(samples) == [0.4, 1.0, 0.0, 0.4]
    assert samples.condition is not None and samples.condition[0] == "a lung, scan10.png"
    assert samples.names is not None and samples.names[0] == "scan10"
    assert generator.count_inputs({"text": "a lung", "image": folder}) == 3
    assert generator.count_inputs({"text": ["a", "b"], "image": folder / "scan2.png"}) == 2
    assert generator.generate(1, "a lung").names is None and generator.asked.images is None
    optional = mirror(**PROMPTED | {"required": False})
    assert optional.generate(1).condition is None and optional.asked.texts is None
    optional.generate(1, {"scan": folder})
    assert optional.asked.images is not None and optional.asked.texts is None


def test_without_a_condition_that_is_not_required(mirror: Make) -> None:
    generator = mirror(**IMAGE | {"required": False})
    assert generator.generate(2).condition is None
    assert generator.asked.images is None


@pytest.mark.parametrize(
    ("declared", "condition", "message"),
    [
        (IMAGE, None, r"99001_TINY needs an image, 'scan' \(a file, a folder"),
        (IMAGE | {"kind": "mask"}, None, "needs a mask, 'scan'"),
        (IMAGE, "no/such/file.png", "there is no file or folder 'no/such/file.png'"),
        (IMAGE, [], "the list of images is empty"),
        (IMAGE, np.zeros((0, 1, 4, 4), np.uint8), "the array of images is empty"),
        (IMAGE, {"T1": "a.png"}, "takes one image, 'scan'; found 'T1'"),
        (IMAGE, "pic=a.png", "no file or folder 'pic=a.png'; what has names: scan"),
        (IMAGE, np.zeros(3), r"found ndarray of shape \[3\]"),
        (IMAGE | {"attributes": [AGE]}, {"slice": 1, "age": 2}, "takes one image, 'scan' and 'age_offset'; found"),
        ({"kind": "attributes", "attributes": [AGE]}, {"age": 2}, "takes the number age_offset.*; found 'age'"),
        ({"kind": "class", "classes": ["a", "b"]}, 1.0, r"found 1.0; it takes a \(0\), b \(1\)"),
        ({"kind": "class", "classes": ["a", "b"]}, {"cls": "a"}, r"found {'cls': 'a'}; it takes a \(0\)"),
        (IMAGE, 3.5, "takes a file, a folder, an array"),
        (IMAGE, np.zeros((2, 4, 4), np.uint8), r"takes images of 1 channel, input 0 has shape \[2, 4, 4\]"),
        (IMAGE, np.full((4, 4), 7.0), r"input 0 must lie in \[0, 1\]"),
        (IMAGE, np.full((4, 4), np.nan), r"input 0 must lie in \[0, 1\]"),
        (IMAGE, np.zeros((4, 4), np.int16), "is int16; give uint8, or floats"),
        (IMAGE, [np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], "input images differ: input 0 is 1x4x4"),
        (PAIR, None, "needs the images T1, T2"),
        (PAIR, {"T1": np.zeros((2, 2), np.uint8)}, "takes the images T1, T2; missing: T2"),
        (PAIR, {"T1": "a", "T2": "b", "T3": "c"}, "not known: T3"),
        (PAIR, ".", "must be a folder with the folders T1, T2"),
        (IMAGE | {"attributes": [AGE]}, {"scan": np.zeros((2, 2), np.uint8), "age_offset": 50}, "from -20 to 20"),
        (IMAGE | {"attributes": [AGE]}, {"scan": np.zeros((2, 2), np.uint8), "age_offset": "x"}, "must be a number"),
        ({"kind": "attributes", "attributes": [AGE]}, None, r"needs the number age_offset from -20 to 20"),
        ({"kind": "text"}, None, "99001_TINY needs a text: a prompt for all samples or one for each$"),
        ({"kind": "text"}, ["a lung"] * 3, "2 samples need 2 prompts or one for all, found 3"),
        ({"kind": "text"}, ["a lung", 5], r"takes a text: .*; found \['a lung', 5\]"),
        ({"kind": "text"}, 5, "takes a text: .*; found 5"),
        ({"kind": "text"}, {"text": "a", "image": 1}, "under 'text', and no image; found 'image'"),
        (PROMPTED, {"image": np.zeros((2, 2), np.uint8)}, "needs a text: .*, alone or as {'text': ..., 'scan': ...}"),
        (PROMPTED, {"text": "a", "picture": 1}, "takes one image, 'scan'; found 'picture'"),
    ],
)  # fmt: skip
def test_wrong_conditions_say_what_is_right(mirror: Make, declared: Any, condition: Any, message: str) -> None:
    with pytest.raises(MedzooError, match=message):
        mirror(**declared).generate(2, condition)


def test_channels_that_the_entry_does_not_know_are_those_of_the_network(tiny_entry: Callable[..., Entry]) -> None:
    class Rgb(Mirror):
        @classmethod
        def takes(cls, config: Any) -> dict[str, Any]:
            return {"kind": "image", "inputs": ("image",), "channels": 3}

    entry = tiny_entry(config={}, output=OUTPUT, condition=IMAGE | {"channels": None})
    generator = Rgb(entry, {}, device="cpu")
    generator.generate(1, np.zeros((4, 4), np.uint8))
    assert generator.asked.images is not None and generator.asked.images.shape == (1, 3, 4, 4)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 1, 8), (0, 127, 255), (0, 3)])
@pytest.mark.parametrize("form", ["file", "array", "picture"])
def test_numbered_classes_are_no_mask(mirror: Make, tmp_path: Path, values: tuple[int, ...], form: str) -> None:
    labels = np.repeat(np.array(values, np.uint8), 8)[None].repeat(16, 0)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    given = {"file": tmp_path / "labels.png", "array": labels, "picture": Image.fromarray(labels)}[form]
    with pytest.raises(MedzooError, match=r"a mask with .*expected 0 and 1, or 0 and 255 .*labels == 2"):
        mirror(**IMAGE | {"kind": "mask"}).generate(1, given)


def test_a_turned_picture_is_upright_as_file_and_as_object(mirror: Make, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as picture:
        images = [mirror(**IMAGE).generate(1, given).images for given in (tmp_path / "x.png", picture)]
    assert images[0].shape == (1, 1, 6, 4)
    np.testing.assert_array_equal(*images)


def test_names_of_inputs_may_stay_away(mirror: Make, folder: Path) -> None:
    generator = mirror(**IMAGE)
    generator.input_names = False
    samples = generator.generate(4, folder)
    assert samples.names == ("input0", "input1", "input2", "input0")
    assert samples.condition is not None and samples.condition[1] == "input 1"
