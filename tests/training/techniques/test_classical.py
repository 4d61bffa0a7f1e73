"""Classical augmentation: what it changes, and that it changes real images only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medzoo.training.techniques import BeforeStep, create

NOTHING = {"flip": 0.0, "rotation": 0.0, "zoom": 0.0, "shift": 0.0, "brightness": 0.0, "contrast": 0.0}


def augmented(x: Tensor, colours: int = 1, **options: float) -> Tensor:
    before = BeforeStep(step=0, colours=colours, labels=None, generate=lambda rng: x)
    return create("classical", len(x), **(NOTHING | options)).reals(x, before, torch.Generator().manual_seed(0))


def test_nothing_asked_for_changes_nothing() -> None:
    x = torch.rand(4, 2, 8, 8) * 2 - 1
    assert torch.equal(augmented(x), x)


def test_generated_images_are_left_alone() -> None:
    x = torch.rand(4, 1, 8, 8)
    assert create("classical", 4).augment(x, 1, torch.Generator()) is x


def test_flips_are_exact() -> None:
    x = torch.rand(400, 1, 4, 4)
    found = augmented(x, flip=0.25)
    flipped = (found == x.flip(3)).flatten(1).all(1)
    assert torch.equal(found[~flipped], x[~flipped]) and flipped.double().mean() == pytest.approx(0.25, abs=0.06)


def test_the_range_of_each_change() -> None:
    """A blob off the middle: its angle, distance, and place after each change alone."""
    at = torch.arange(48) - 23.5
    x = torch.exp(-((at - 10) ** 2 + at[:, None] ** 2) / 18).expand(64, 1, 48, 48)

    def centre(image: Tensor) -> tuple[Tensor, Tensor]:
        weight = image[:, 0].clamp_min(0) / image.clamp_min(0).sum((1, 2, 3))[:, None, None]
        return (weight.sum(1) * at).sum(1), (weight.sum(2) * at).sum(1)

    right, down = centre(augmented(x, rotation=30.0))
    angle = torch.rad2deg(torch.atan2(-down, right))
    assert 26 < angle.max() < 30.2 and -30.2 < angle.min() < -26
    right, down = centre(augmented(x, zoom=0.2))
    assert 11.5 < right.max() < 12.05 and 7.95 < right.min() < 8.5
    right, down = centre(augmented(x, shift=0.125))
    assert 15 < right.max() < 16.1 and 5 < down.max() < 6.1 and -6.1 < down.min() < -5


def test_masks_move_along_and_keep_their_values() -> None:
    x = torch.linspace(-0.5, 0.5, 64).reshape(1, 1, 8, 8).repeat(32, 4, 1, 1)
    found = augmented(x, 3, flip=0.5, brightness=0.2, contrast=0.2)
    assert ((found[:, 3:] == x[:, 3:]) | (found[:, 3:] == x[:, 3:].flip(3))).all()
    change = (found[:, :3] - found[:, 3:].repeat(1, 3, 1, 1)).abs()
    assert 0.2 < change.max() <= 0.3 + 1e-6  # at most 0.2 brighter, and 20 % of 0.5
