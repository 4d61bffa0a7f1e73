"""Affine maps of images: exact on the pixel grid, against Gaussian blobs between, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo.training.techniques import _warp
from medzoo.training.techniques._warp import SYM6, gather, kind, quarter_turns, resample, scaling, shift, turn, warp

ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")

EYE = torch.eye(3, dtype=torch.float64)


def each(value: float, n: int = 1) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)


def picture(n: int = 2, c: int = 4, h: int = 12, w: int = 12) -> Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


def blob(size: int, x: float, y: float, wide: float, high: float) -> Tensor:
    """A Gaussian around (x right, y down) from the middle, in float64."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.exp(-((at - x) ** 2) / (2 * wide**2) - (at[:, None] - y) ** 2 / (2 * high**2))[None, None]


def test_the_filter_is_an_orthonormal_wavelet_with_six_vanishing_moments() -> None:
    """Sum sqrt 2, orthogonal to its own even shifts, and (-1)^k k^m h[k] sums to 0 for m < 6."""
    h, k = np.array(SYM6), np.arange(12.0)
    assert h.sum() == pytest.approx(math.sqrt(2), abs=1e-12)
    for s in range(6):
        assert (h[2 * s :] * h[: 12 - 2 * s]).sum() == pytest.approx(float(s == 0), abs=1e-11)
    for m in range(6):
        assert ((-1) ** k * k**m * h).sum() == pytest.approx(0, abs=1e-8)


def test_up_and_down_sampling_undo_each_other() -> None:
    up, down = _warp.up(9, -5, 23), _warp.down(9)
    torch.testing.assert_close(down @ up, torch.eye(9, dtype=torch.float64), atol=1e-11, rtol=0)
    torch.testing.assert_close(
        resample(picture().double(), EYE.repeat(2, 1, 1)), picture().double(), atol=1e-11, rtol=0
    )


def test_the_identity_gives_the_very_same_images() -> None:
    x = picture()
    assert warp(x, EYE.repeat(2, 1, 1)) is x
    some = warp(x, torch.stack([EYE, turn(each(0.3))[0]]))
    assert torch.equal(some[0], x[0]) and not torch.allclose(some[1], x[1], atol=0.1)


@pytest.mark.parametrize("size", [(12, 12), (11, 11), (8, 13)])
def test_flips_turns_and_shifts_are_exact(size: tuple[int, int]) -> None:
    x = picture(1, 2, *size)
    assert torch.equal(warp(x, scaling(each(-1), each(1))), x.flip(3))
    assert torch.equal(warp(x, scaling(each(1), each(-1))), x.flip(2))
    assert torch.equal(warp(x, quarter_turns(torch.tensor([2]))), torch.rot90(x, 2, (2, 3)))
    if size[0] == size[1]:
        for count in (1, 3):
            assert torch.equal(warp(x, quarter_turns(torch.tensor([count]))), torch.rot90(x, count, (2, 3)))
    moved = ndimage.shift(x.numpy(), (0, 0, -2, 3), order=0, mode="mirror")
    np.testing.assert_array_equal(warp(x, shift(each(3), each(-2))).numpy(), moved)


def test_maps_are_applied_from_right_to_left() -> None:
    x = picture(1)
    both = warp(x, shift(each(2), each(0)) @ quarter_turns(torch.tensor([1])))
    assert torch.equal(both, warp(warp(x, quarter_turns(torch.tensor([1]))), shift(each(2), each(0))))


def test_an_angle_turns_as_a_quarter_turn_does() -> None:
    torch.testing.assert_close(turn(each(math.pi / 2)), quarter_turns(torch.tensor([1])), atol=1e-15, rtol=0)


def test_every_image_has_its_own_map() -> None:
    x = picture(4)
    maps = torch.cat([turn(each(0.4)), EYE[None], scaling(each(-1), each(1)), turn(each(-0.4))])
    assert [kind(one, 12, 12) for one in torch.linalg.inv(maps)] == [2, 0, 1, 2]
    together = warp(x, maps)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], warp(x[i : i + 1], maps[i : i + 1]), atol=1e-5, rtol=0)


def test_all_channels_move_alike() -> None:
    x = picture(1, 1).repeat(1, 4, 1, 1)
    moved = warp(x, turn(each(0.5)))
    torch.testing.assert_close(moved[:, 3], moved[:, 0], atol=1e-5, rtol=0)


SIGMA, X, Y = 4.0, 5.0, -3.0


@pytest.mark.parametrize(
    ("move", "x", "y", "wide", "high"),
    [
        (scaling(each(1.3), each(1.3)), 1.3 * X, 1.3 * Y, 1.3 * SIGMA, 1.3 * SIGMA),
        (scaling(each(1.25), each(0.8)), 1.25 * X, 0.8 * Y, 1.25 * SIGMA, 0.8 * SIGMA),
        (turn(each(0.7)), X * math.cos(0.7) + Y * math.sin(0.7), Y * math.cos(0.7) - X * math.sin(0.7), SIGMA, SIGMA),
        (shift(each(0.3), each(-1.6)), X + 0.3, Y - 1.6, SIGMA, SIGMA),
        (shift(each(0.5), each(0)) @ scaling(each(-1), each(1)), 0.5 - X, Y, SIGMA, SIGMA),
    ],
    ids=["scale", "stretch", "rotation", "shift", "flip and shift"],
)
def test_a_gaussian_blob_goes_where_it_should(move: Tensor, x: float, y: float, wide: float, high: float) -> None:
    """To 0.4 % of its height: interpolating between fine samples loses (1/2)^2 / 8 SIGMA^2 = 0.2 % along each axis."""
    found = warp(blob(64, X, Y, SIGMA, SIGMA), move)
    assert (found - blob(64, x, y, wide, high)).abs().max() < 0.004


def test_scaling_a_whole_image_matches_scipy_inside() -> None:
    """A smooth random image, turned and enlarged by splines of order 5 there and by the wavelet here."""
    x = ndimage.gaussian_filter(picture(1, 1, 48, 48)[0, 0].numpy(), 3, mode="mirror") * 10
    move = (scaling(each(1.2), each(0.9)) @ turn(each(0.4)))[0, :2, :2].numpy()
    inverse = np.linalg.inv(move)[::-1, ::-1]  # scipy counts (y, x)
    expected = ndimage.affine_transform(x, inverse, 23.5 - inverse @ [23.5, 23.5], order=5, mode="mirror")
    whole = torch.eye(3, dtype=torch.float64)[None].clone()
    whole[0, :2, :2] = torch.from_numpy(move)
    found = warp(torch.from_numpy(x)[None, None], whole)[0, 0].numpy()
    assert np.abs(found - expected)[8:-8, 8:-8].max() < 0.01 * np.abs(x).max()


def test_borders_are_mirrored_however_far_away() -> None:
    """Made five times smaller, a cosine that is even about both border pixels is the same cosine, five times denser."""
    at = torch.arange(33, dtype=torch.float64)
    wave = torch.cos(math.pi * at / 32).expand(1, 1, 33, 33)
    found = warp(wave, scaling(each(0.2), each(0.2)))
    expected = torch.cos(math.pi * ((at - 16) * 5 + 16) / 32).expand(1, 1, 33, 33)
    assert (found - expected).abs().max() < 0.01


def test_a_map_and_its_inverse_give_the_image_back_inside() -> None:
    x = torch.from_numpy(ndimage.gaussian_filter(picture(1, 1, 64, 64)[0, 0].numpy(), 3))[None, None] * 10
    move = shift(each(1.7), each(0.4)) @ turn(each(1.0)) @ scaling(each(1.1), each(0.95))
    back = warp(warp(x, move), torch.linalg.inv(move))
    assert (back - x)[..., 20:-20, 20:-20].abs().max() < 0.02 * x.abs().max()
    exact = shift(each(2), each(0)) @ quarter_turns(torch.tensor([1])) @ scaling(each(-1), each(1))
    assert torch.equal(warp(warp(x, exact), torch.linalg.inv(exact))[..., 2:-2, 2:-2], x[..., 2:-2, 2:-2])


def test_gradients_of_first_and_second_order() -> None:
    """Every kind of map at once, in float64."""
    x = picture(3, 1, 5, 5).double().requires_grad_(True)
    maps = torch.cat([turn(each(0.6)) @ scaling(each(1.2), each(0.9)), scaling(each(-1), each(1)), EYE[None]])
    assert torch.autograd.gradcheck(lambda image: warp(image, maps), x)
    assert torch.autograd.gradgradcheck(lambda image: warp(image, maps) ** 3, x)


def test_type_and_layout_of_the_images_are_kept() -> None:
    maps = torch.cat([turn(each(0.6)), scaling(each(-1), each(1))])
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert warp(picture().to(dtype), maps).dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):  # positions need more than eight bits
        torch.testing.assert_close(warp(picture(), maps), warp(picture().double(), maps).float(), atol=1e-4, rtol=0)


def test_gather_equals_resampling_where_both_can() -> None:
    """The wavelet gives whole shifts exactly."""
    inverse = torch.linalg.inv(shift(each(2, 2), each(-1, 2)))
    torch.testing.assert_close(gather(picture(), inverse), resample(picture(), inverse), atol=1e-5, rtol=0)
