"""DiffAugment: values by hand, and what the training relies on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medzoo.errors import TrainingError
from medzoo.training.recipes._fastgan_discriminator import resize
from medzoo.training.techniques import create
from medzoo.training.techniques.diffaugment import PARTS, Augmentation, color, cutout, mirrored, translation

HALF = 0.5


def draws(n: int = 1, **changes: float) -> Tensor:
    """1/2 everywhere but where stated."""
    names = ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    return torch.tensor([[changes.get(name, HALF)] * n for name in names])


def test_colour_by_hand() -> None:
    # Two pixels of two channels. Brightness + 0.4: (0.6, 0.2) and (1.0, 0.6). Greys 0.4 and 0.8, saturation x 0.5:
    # (0.5, 0.3) and (0.9, 0.7). Mean of all 0.6, contrast x 0.5: (0.55, 0.45) and (0.75, 0.65).
    x = torch.tensor([[[[0.2, 0.6]], [[-0.2, 0.2]]]])
    found = color(x, 2, draws(brightness=0.9, saturation=0.25, contrast=0.0))
    torch.testing.assert_close(found, torch.tensor([[[[0.55, 0.75]], [[0.45, 0.65]]]]))


def test_colour_is_drawn_for_each_image() -> None:
    numbers = draws(2)
    numbers[0] = torch.tensor([0.0, 1.0])
    found = color(torch.zeros(2, 3, 4, 4), 3, numbers)
    assert found[0].unique().tolist() == [-0.5] and found[1].unique().tolist() == [0.5]


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("color", "translation"), ()])
def test_the_middle_of_every_draw_changes_nothing(policy: tuple[str, ...]) -> None:
    x = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Augmentation(policy, draws(3))(x, 3), x)


def test_colour_leaves_the_mask_alone_and_geometry_moves_it_along() -> None:
    rng = torch.Generator().manual_seed(1)
    image = torch.randn(8, 1, 32, 32, generator=rng)
    both = image.repeat(1, 4, 1, 1)  # the mask channel equals the image
    coloured = Augmentation.draw(["color"], 8, rng)(both, 3)
    assert torch.equal(coloured[:, 3:], image)
    assert not torch.allclose(coloured[:, :3], both[:, :3], atol=0.01)
    moved = Augmentation.draw(["translation", "cutout"], 8, rng)(both, 3)
    assert not torch.equal(moved[:, :1], image)
    assert torch.equal(moved[:, 3:], moved[:, :1])


@pytest.mark.parametrize(("u", "shift"), [(0.0, -4), (0.12, -3), (HALF, 0), (0.9999999, 4)])
def test_translation_by_hand(u: float, shift: int) -> None:
    """1/8 of 32 pixels are 4: nine shifts, each a ninth of [0, 1); zeros come in."""
    x = torch.arange(1.0, 32 * 32 + 1).reshape(1, 1, 32, 32)
    found = translation(x, 1, draws(down=u))
    expected = torch.zeros_like(x)
    for row in range(32):
        if 0 <= row - shift < 32:
            expected[:, :, row] = x[:, :, row - shift]
    assert torch.equal(found, expected)
    turned = translation(x.transpose(2, 3), 1, draws(right=u)).transpose(2, 3)
    assert torch.equal(turned, expected)


@pytest.mark.parametrize("u", [0.0, 0.12, HALF, 0.7, 0.9999999])
def test_a_mirrored_margin_is_that_of_numpy(u: float) -> None:
    x = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(4))
    down, right = round(u * 9 - 0.5) - 4, round(u * 11 - 0.5) - 5
    padded = torch.nn.functional.pad(x, (5, 5, 4, 4), mode="reflect")
    expected = padded[:, :, 4 - down : 36 - down, 5 - right : 45 - right]
    assert torch.equal(mirrored(x, 3, draws(2, down=u, right=u)), expected)


def test_an_outline_of_zeros_looks_like_a_larger_shift_unless_the_margin_is_mirrored() -> None:
    """Why ``margin`` is there: with zeros, nothing but the largest shifts tells an outlined image from a plain one."""
    plain = torch.ones(1, 1, 32, 32)
    outlined = plain.clone()
    outlined[:, :, 0] = 0
    shifted = [translation(plain, 1, draws(down=(k + 0.5) / 9)) for k in range(9)]
    assert all(torch.equal(translation(outlined, 1, draws(down=(k + 0.5) / 9)), shifted[k + 1]) for k in range(4, 8))
    seen = [create(name="diffaugment", policy=["translation"], margin=margin, batch=1) for margin in ("zero", "mirror")]
    found = [one.augment(plain, 1, torch.Generator().manual_seed(1)) for one in seen]
    assert (found[0] == 0).any() and torch.equal(found[1], plain)


def test_every_published_shift_is_equally_likely() -> None:
    """A mark in the middle of 128 x 128 goes to the 33 rows 48 to 80, each for 1/33 of the draws."""
    x = torch.zeros(1, 1, 128, 128)
    x[..., 64, 64] = 1
    count = 33 * 8
    numbers = draws(count)
    numbers[3] = (torch.arange(count) + 0.5) / count
    rows = translation(x.expand(count, -1, -1, -1), 1, numbers).amax(3).argmax(2).flatten()
    assert torch.equal(rows.bincount(minlength=128)[48:81], torch.full((33,), 8))


@pytest.mark.parametrize("small", [64, 128])
def test_large_and_small_copy_move_together(small: int) -> None:
    """A blob of 1/4 of the side, far from the border: its centre moves alike, to a pixel of the small copy."""
    size = 2 * small
    x = torch.zeros(64, 4, size, size)
    x[:, :, 3 * size // 8 : 5 * size // 8, 3 * size // 8 : 5 * size // 8] = 1
    augmentation = Augmentation.draw(["translation"], 64, torch.Generator().manual_seed(2))
    large, little = resize(augmentation(x, 3), small), augmentation(resize(x, small), 3)

    def centres(one: Tensor) -> Tensor:
        positions = torch.arange(small, dtype=torch.float32)
        weights = one[:, 0] / one[:, 0].sum((1, 2), keepdim=True)
        return torch.stack([(weights.sum(2) * positions).sum(1), (weights.sum(1) * positions).sum(1)])

    assert centres(large).std() > 2  # they do move
    assert (centres(large) - centres(little)).abs().max() < 1


def test_colour_of_the_small_copy_is_the_small_copy_of_the_colour() -> None:
    """Averaging neighbours commutes with all three changes, for one draw."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(5, 4, 32, 32, generator=rng)
    augmentation = Augmentation.draw(["color"], 5, rng)
    torch.testing.assert_close(augmentation(resize(x, 16), 3), resize(augmentation(x, 3), 16))


@pytest.mark.parametrize(
    ("row", "column", "zeros"),
    [(HALF, HALF, 16 * 16), (0.0, HALF, 8 * 16), (0.0, 0.0, 8 * 8), (0.9999999, 0.9999999, 8 * 8)],
)
def test_cutout_area(row: float, column: float, zeros: int) -> None:
    """Half of each side around the centre; a centre on the border leaves half of that, one in a corner a quarter."""
    found = cutout(torch.ones(1, 2, 32, 32), 1, draws(row=row, column=column))
    assert (found == 0).sum().item() == 2 * zeros
    assert torch.equal(found[:, 0], found[:, 1])


def test_gradients_reach_what_is_still_seen() -> None:
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    translation(x, 3, draws(down=0.0)).sum().backward()
    expected = torch.ones(1, 3, 16, 16)
    expected[:, :, :2] = 0  # moved up by two: the first two rows left
    assert torch.equal(x.grad, expected)
    x.grad = None
    cutout(x, 3, draws()).sum().backward()
    assert x.grad.sum().item() == 3 * (256 - 64)
    x.grad = None
    color(x, 3, draws(brightness=0.1, saturation=0.9, contrast=0.2)).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))  # saturation and contrast keep the sum


@pytest.mark.parametrize("name", list(PARTS))
def test_shape_type_and_layout_are_kept(name: str) -> None:
    x = torch.randn(2, 4, 16, 16, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    found = Augmentation.draw([name], 2, torch.Generator().manual_seed(0))(x, 3)
    assert found.shape == x.shape and found.dtype == x.dtype


def test_the_same_generator_draws_the_same_augmentation() -> None:
    one, other = (Augmentation.draw(["color"], 4, torch.Generator().manual_seed(5)).draws for _ in range(2))
    assert torch.equal(one, other) and one.shape == (7, 4)
    assert one.min() >= 0 and one.max() < 1


def test_masks_are_shifted_against_their_images() -> None:
    """3 % of 100 pixels: seven shifts each way, all equally likely; images, and those without masks, stay."""
    x = torch.rand(700, 2, 100, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, -1, 8)
    jitter = create("mask_jitter", 700)
    found = jitter.augment(x, 1, torch.Generator().manual_seed(1))
    assert torch.equal(found[:, :1], x[:, :1])
    by = torch.stack([(found[:, 1, 10:90] - x[:, 1, 10 - k : 90 - k]).abs().amax((1, 2)) for k in range(-3, 4)]).argmin(
        0
    )
    for k in range(-3, 4):
        mine = by == k + 3
        assert 60 < mine.sum() < 140
        torch.testing.assert_close(found[mine][:, 1, 10:90], x[mine][:, 1, 10 - k : 90 - k])
    down = found[by == 6][:, 1]  # three pixels down, their mirror image coming in
    torch.testing.assert_close(down[:, :3], x[by == 6][:, 1, 1:4].flip(1))
    assert torch.equal(jitter.augment(x, 2, torch.Generator()), x)
    small = x[:, :, :8, :8]  # where 3 % are no pixel, one
    assert not torch.equal(jitter.augment(small, 1, torch.Generator().manual_seed(1)), small)


@pytest.mark.parametrize("reach", [0, 13])
def test_how_far_masks_may_be_shifted(reach: float) -> None:
    with pytest.raises(TrainingError, match=r"mask_jitter\.reach"):
        create("mask_jitter", 2, reach=reach)
