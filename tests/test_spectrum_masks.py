"""Metrics of images and masks alone: power spectrum, mask statistics."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.metrics.masks import boundary_contrast, count_components, mask_statistics
from medzoo.metrics.spectrum import radial_spectrum, spectrum_gap


@pytest.mark.parametrize("frequency", [3, 10, 25])
def test_a_wave_has_its_power_at_its_frequency(frequency: int) -> None:
    x = np.arange(64) / 64
    wave = np.broadcast_to(np.sin(2 * np.pi * frequency * x), (2, 3, 64, 64))
    power = radial_spectrum(wave)
    assert power.shape == (32,)
    assert power.argmax() + 1 == frequency
    assert power[frequency - 3 : frequency + 2].sum() > 0.99 * power.sum()  # the window spreads it over neighbours


def test_white_noise_is_flat_and_brightness_does_not_count() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 1, 32, 32))
    power = radial_spectrum(noise)
    assert power[1:].max() / power[1:].min() < 1.3
    np.testing.assert_allclose(radial_spectrum(noise + 5), power)


def test_the_gap_is_in_decades_of_power() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 3, 32, 32))
    assert spectrum_gap(noise, noise) == (0, 0)
    assert spectrum_gap(noise, 10 * noise) == pytest.approx((2, 2))
    blurred = (noise + np.roll(noise, 1, 3)) / 2
    mean, upper = spectrum_gap(noise, blurred)
    assert upper > mean > 0
    with pytest.raises(ValueError, match=r"\[32, 32\] pixels, fake \[16, 16\]"):
        spectrum_gap(noise, noise[..., :16, :16])


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [
        (["....", "...."], 0),
        (["####", "####"], 1),
        (["#..#", "#..#", "####"], 1),  # joined at the bottom
        (["####", "#..#", "#..#"], 1),
        (["#.#.", ".#.#"], 4),  # corners do not touch
        (["#.#.#", "#.#.#", "#####", ".....", "##.##"], 3),
        (["#####", "....#", "###.#", "#...#", "#####"], 1),  # a spiral
    ],
)
def test_pieces_are_counted(rows: list[str], pieces: int) -> None:
    assert count_components(np.array([[cell == "#" for cell in row] for row in rows])) == pieces


def test_statistics_of_known_masks() -> None:
    masks = np.zeros((4, 1, 10, 10), np.uint8)
    masks[1, 0, :5] = 1
    masks[2, 0, 0, 0] = masks[2, 0, 9, 9] = 1
    masks[3] = 1
    found = mask_statistics(masks)
    assert found.area_mean == pytest.approx((0 + 0.5 + 0.02 + 1) / 4)
    assert found.area_quantiles[1] == pytest.approx(0.26)
    assert found.empty == 0.25
    assert found.components_mean == pytest.approx(4 / 3) and found.single == pytest.approx(2 / 3)
    nothing = mask_statistics(masks[:1])
    assert nothing.empty == 1 and np.isnan(nothing.components_mean)
    with pytest.raises(ValueError, match=r"found \[4, 10, 10\]"):
        mask_statistics(masks[:, 0])


def test_outlines_on_edges_stand_out() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.05, (12, 3, 32, 32))
    masks = np.zeros((12, 1, 32, 32), np.uint8)
    for i in range(12):
        top, left = rng.integers(2, 20, 2)
        masks[i, 0, top : top + 8, left : left + 8] = 1
    images += masks
    assert boundary_contrast(images, masks) > 3
    assert boundary_contrast(images, np.roll(masks, 1, 0)) < 2
    assert np.isnan(boundary_contrast(images, np.zeros_like(masks)))
