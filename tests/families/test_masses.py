"""Random masks: filled outlines against areas known in closed form, and what every drawn mask keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medzoo.families.pix2pix import masses
from medzoo.randomness import Noise


def numbers(n: int, seed: int = 0) -> torch.Tensor:
    return Noise(seed, range(n)).uniform((masses.MASS_NUMBERS,))


class TestFillOutline:
    def test_a_rectangle_is_its_pixels(self) -> None:
        corners = torch.tensor([[[2.0, 3.0], [2.0, 9.0], [6.0, 9.0], [6.0, 3.0]]])
        expected = np.zeros((8, 12))
        expected[2:6, 3:9] = 1
        assert np.array_equal(masses.fill_outline(corners, (8, 12))[0, 0], expected)
        assert np.array_equal(masses.fill_outline(corners.flip(1), (8, 12))[0, 0], expected)  # the other way round

    def test_a_triangle_is_the_pixels_whose_centres_it_holds(self) -> None:
        corners = torch.tensor([[[0.0, 0.0], [0.0, 6.0], [6.0, 0.0]]])
        y, x = np.mgrid[:6, :6] + 0.5
        assert np.array_equal(masses.fill_outline(corners + 1e-4, (6, 6))[0, 0], y + x < 6.0002)

    def test_a_circle_has_its_area(self) -> None:
        angle = torch.arange(360) * (2 * math.pi / 360)
        circle = torch.stack([60 + 40.3 * angle.sin(), 70 + 40.3 * angle.cos()], 1)[None]
        assert masses.fill_outline(circle, (128, 140)).sum().item() == pytest.approx(math.pi * 40.3**2, rel=5e-3)

    def test_what_lies_outside_the_image_is_cut(self) -> None:
        corners = torch.tensor([[[-5.0, -5.0], [-5.0, 50.0], [3.0, 50.0], [3.0, -5.0]]])
        mask = masses.fill_outline(corners, (6, 7))[0, 0]
        assert mask[:3].min() == 1 and mask[3:].max() == 0

    def test_where_a_curve_laps_itself_there_is_no_hole(self) -> None:
        twice = torch.tensor([[1.0, 1.0], [1.0, 5.0], [5.0, 5.0], [5.0, 1.0]]).repeat(2, 1)[None]
        assert masses.fill_outline(twice, (6, 6)).sum() == 16


def test_bezier_pieces_pass_through_the_points_and_round_a_square() -> None:
    square = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]])
    # Quarter circles of radius sqrt 2 have their inner control points at 0.5523 radius = 0.3905 of the chord.
    curve = masses.bezier(square, torch.tensor([0.5523 / math.sqrt(2)]))[0]
    assert torch.allclose(curve[:: masses.OUTLINE // 4], square[0])
    assert (curve.norm(dim=1) - math.sqrt(2)).abs().max() < 1e-3


class TestMasses:
    def test_each_is_decided_by_its_own_numbers(self) -> None:
        drawn = numbers(12)
        masks = masses.masses(drawn, (64, 80))
        assert masks.shape == (12, 1, 64, 80) and masks.dtype == torch.float32
        assert set(masks.unique().tolist()) == {0.0, 1.0}
        for i in (0, 5, 11):
            alone = masses.masses(drawn[i : i + 1], (64, 80))[0]
            assert (alone != masks[i]).float().mean() < 0.001  # pixels whose centre lies on the outline
        assert len({mask.numpy().tobytes() for mask in masks}) == 12
        assert masses.masses(drawn[:0], (64, 80)).shape == (0, 1, 64, 80)

    def test_sizes_and_places(self) -> None:
        """A few percent of the image and more, in one piece around its middle."""
        masks = masses.masses(numbers(200), (256, 256))[:, 0]
        share = masks.mean((1, 2))
        assert share.min() > 0.01 and share.max() < 0.4
        rows, columns = masks.amax(2), masks.amax(1)
        assert rows[:, :20].max() == 0 and rows[:, -20:].max() == 0
        assert columns[:, :20].max() == 0 and columns[:, -20:].max() == 0
        for used in (rows, columns):
            assert ((used.diff(dim=1).abs().sum(1)) == 2).all()  # no gap

    def test_ovals_bulge_everywhere_and_lobulated_masses_do_not(self) -> None:
        drawn = numbers(300)
        oval = drawn[:, 0] < 0.5
        assert 0.4 < oval.float().mean() < 0.6
        dents = _dents(masses.masses(drawn, (64, 64))[:, 0])
        assert dents[oval].median() < 0.01 and dents[~oval].median() > 0.05
        assert (dents[oval] > 0.1).float().mean() < 0.05

    def test_a_larger_image_has_the_same_shape(self) -> None:
        drawn = numbers(6)
        large = masses.masses(drawn, (256, 256))
        small = masses.masses(drawn, (64, 64))
        assert (torch.nn.functional.avg_pool2d(large, 4) - small).abs().mean() < 0.02


def test_texture_has_two_levels_and_stays_in_range() -> None:
    mask = masses.masses(numbers(3), (128, 128))
    image = masses.fill_texture(mask, Noise(1, range(3)).uniform((1, 128, 128)))
    assert image.shape == mask.shape and image.min() >= 0 and image.max() <= 1
    for one, where in zip(image, mask.bool(), strict=True):
        assert one[where].mean().item() == pytest.approx(masses.MASS, abs=0.01)
        assert one[~where].mean().item() == pytest.approx(masses.TISSUE, abs=0.005)
        assert one[where].std() > 0.01


def _dents(masks: torch.Tensor) -> torch.Tensor:
    """Share of the convex hull that each mask [n, h, w] leaves out; the hull from its reach in 48 directions."""
    angle = torch.arange(48) * (2 * math.pi / 48)
    y, x = torch.meshgrid(torch.arange(masks.shape[1]), torch.arange(masks.shape[2]), indexing="ij")
    along = y * angle.sin()[:, None, None] + x * angle.cos()[:, None, None]
    hulls = [(along <= along[:, mask > 0].amax(1)[:, None, None] + 1e-3).all(0) for mask in masks]
    return torch.stack([1 - mask.sum() / hull.sum() for mask, hull in zip(masks, hulls, strict=True)])
