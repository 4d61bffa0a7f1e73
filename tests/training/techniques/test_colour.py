"""Maps of colours against values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from medzoo.errors import TrainingError
from medzoo.training.techniques import _colour
from medzoo.training.techniques._colour import brightness, contrast, hue, luma_flip, recolour, saturation, then


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def seen(maps: Tensor, *colour: float) -> list[float]:
    """What becomes of one colour."""
    image = torch.tensor(colour, dtype=torch.float64).reshape(1, len(colour), 1, 1)
    return recolour(image, maps, len(colour)).flatten().tolist()


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (brightness(one(0.25)), [0.85, 0.35, -0.05]),
        (contrast(one(2)), [1.2, 0.2, -0.6]),
        (luma_flip(one(1)), [0.6 - 0.8 / 3, 0.1 - 0.8 / 3, -0.3 - 0.8 / 3]),  # minus twice the mean 0.4 / 3
        (luma_flip(one(0)), [0.6, 0.1, -0.3]),
        (hue(one(2 * math.pi / 3)), [-0.3, 0.6, 0.1]),  # what was red is green
        (hue(one(math.pi)), [2 * 0.4 / 3 - 0.6, 2 * 0.4 / 3 - 0.1, 2 * 0.4 / 3 + 0.3]),  # through grey to the far side
        (saturation(one(0)), [0.4 / 3] * 3),
        (saturation(one(2)), [1.2 - 0.4 / 3, 0.2 - 0.4 / 3, -0.6 - 0.4 / 3]),
        (then(brightness(one(0.5)), contrast(one(2))), [2.2, 1.2, 0.4]),
        (then(contrast(one(2)), brightness(one(0.5))), [1.7, 0.7, -0.1]),
    ],
    ids=lambda value: "" if isinstance(value, Tensor) else None,
)
def test_by_hand(maps: Tensor, expected: list[float]) -> None:
    assert seen(maps, 0.6, 0.1, -0.3) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("maps", "expected"),
    [(brightness(one(0.25)), 0.85), (contrast(one(0.5)), 0.3), (luma_flip(one(1)), -0.6), (hue(one(1.0)), 0.6),
     (saturation(one(3)), 0.6)],
)  # fmt: skip
def test_grey_is_three_equal_channels(maps: Tensor, expected: float) -> None:
    assert seen(maps, 0.6) == pytest.approx([expected], abs=1e-12)
    assert seen(maps, 0.6, 0.6, 0.6) == pytest.approx([expected] * 3, abs=1e-12)


def test_masks_are_not_coloured_and_images_have_their_own_maps() -> None:
    x = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    found = recolour(x, brightness(torch.tensor([0.5, -0.5])), 3)
    torch.testing.assert_close(
        found[:, :3] - x[:, :3], torch.tensor([0.5, -0.5]).reshape(2, 1, 1, 1).expand(2, 3, 5, 6)
    )
    assert torch.equal(found[:, 3], x[:, 3])
    grey = recolour(x[:, :2], contrast(torch.tensor([2.0, 1.0])), 1)
    assert torch.equal(grey[0], torch.stack([2 * x[0, 0], x[0, 1]])) and torch.equal(grey[1], x[1, :2])


def test_no_change_gives_the_very_same_images() -> None:
    x = torch.rand(2, 3, 4, 4)
    nothing = _colour.identity(2)
    off = torch.zeros(2)
    for maps in (luma_flip(off), hue(off), saturation(1 + off), contrast(1 + off), brightness(off)):
        nothing = then(nothing, maps)
    assert recolour(x, nothing, 3) is x


def test_gradients_of_first_and_second_order() -> None:
    x = torch.rand(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    maps = then(hue(torch.tensor([0.3, 1.0])), contrast(torch.tensor([0.7, 1.4])))
    assert torch.autograd.gradcheck(lambda image: recolour(image, maps, 3), x)
    assert torch.autograd.gradgradcheck(lambda image: recolour(image, maps, 3) ** 3, x)


def test_two_image_channels_are_refused() -> None:
    with pytest.raises(TrainingError, match="takes 1 or 3 image channels, found 2"):
        recolour(torch.rand(1, 2, 4, 4), brightness(one(0.1)), 2)
