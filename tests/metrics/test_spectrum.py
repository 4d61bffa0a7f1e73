"""Radially averaged power spectrum: analytic images, known damage, real images."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.datasets import load_dataset
from medzoo.metrics import Case, View
from medzoo.metrics.spectrum import METRIC, frequencies, measure, radial_spectra, spectrum_gap
from tests.tools.paths import SHARED

DATA = SHARED / "data"


def noise(seed: int, n: int = 60, size: int = 32, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (n, channels, size, size))


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur through the Fourier transform, periodic at the borders."""
    fy, fx = np.fft.fftfreq(images.shape[2])[:, None], np.fft.rfftfreq(images.shape[3])
    damping = np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    return np.fft.irfft2(np.fft.rfft2(images) * damping, s=images.shape[2:])


def textures(seed: int, n: int = 30, size: int = 64, smooth: float = 0.8) -> np.ndarray:
    """uint8 images with the falling spectrum of photographs."""
    images = blurred(noise(seed, n, size, 3), smooth)
    return np.rint(128 + 40 * images / images.std()).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("frequency", [3, 10, 25])
def test_a_wave_has_its_power_at_its_frequency(frequency: int) -> None:
    x = np.arange(64) / 64
    for wave in (np.sin(2 * np.pi * frequency * x), np.sin(2 * np.pi * frequency * x)[:, None]):
        power = radial_spectra(np.broadcast_to(wave, (2, 3, 64, 64)))[0]
        assert power.argmax() + 1 == frequency
        assert power[frequency - 3 : frequency + 2].sum() > 0.99 * power.sum()  # the window spreads it over neighbours
    assert frequencies(64, 64)[frequency - 1] == frequency / 64


def test_equal_frequency_in_pixels_is_one_band_of_images_that_are_not_square() -> None:
    x = np.arange(96)
    along = radial_spectra(np.broadcast_to(np.sin(2 * np.pi * x / 8), (1, 1, 48, 96)))[0]
    across = radial_spectra(np.broadcast_to(np.sin(2 * np.pi * x[:48] / 8)[:, None], (1, 1, 48, 96)))[0]
    assert along.shape == (25,) and frequencies(48, 96)[along.argmax()] == 1 / 8
    assert along.argmax() == across.argmax()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 33), (20, 40)])
def test_white_noise_has_its_variance_in_every_band(height: int, width: int) -> None:
    images = np.random.default_rng(0).normal(0, 3, (600, 1, height, width))
    power = radial_spectra(images).mean(0)
    np.testing.assert_allclose(power[1:], 9, rtol=0.1)  # in the first the mean is taken off
    np.testing.assert_allclose(radial_spectra(images + 5).mean(0), power)


def test_equals_the_whole_transform_summed_ring_by_ring() -> None:
    images = noise(1, 3, 24, 2)[..., :17]
    window = np.outer(np.hanning(26)[1:-1], np.hanning(19)[1:-1])
    grey = images.mean(1)
    power = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2 / (window**2).sum()
    radius = np.rint(17 * np.hypot(np.fft.fftfreq(24)[:, None], np.fft.fftfreq(17)))
    rings = [radius == r for r in range(1, 9)] + [radius > 8]
    expected = np.stack([power[:, ring].mean(1) for ring in rings], 1)
    np.testing.assert_allclose(radial_spectra(images), expected, rtol=1e-10)


def test_neither_order_nor_blocks_matter() -> None:
    images = textures(0, 7, 32)
    found = radial_spectra(images)
    for block in (1, 2500):
        np.testing.assert_allclose(radial_spectra(images, block=block), found, rtol=1e-12)
    np.testing.assert_allclose(radial_spectra(images[::-1]), found[::-1], rtol=1e-12)
    other = textures(1, 9, 32)
    assert spectrum_gap(images, other) == pytest.approx(spectrum_gap(images[::-1], other[::-1]), rel=1e-12)


def test_the_gap_is_in_decades_of_power() -> None:
    images = noise(0, 4)
    assert spectrum_gap(images, images) == (0, 0)
    assert spectrum_gap(images, 10 * images) == pytest.approx((2, 2))


def test_flat_images_are_a_finite_gap() -> None:
    images = noise(0, 10)
    flat = np.full_like(images, 7)
    mean, _ = spectrum_gap(images, flat)  # 400 against a thousandth
    assert mean == pytest.approx(np.log10(400 / 1e-3), rel=0.1)
    assert spectrum_gap(flat, flat) == (0, 0)


def test_blur_takes_more_from_higher_bands_and_more_blur_takes_more() -> None:
    images = noise(0, 40, 64)
    clear = np.log10(radial_spectra(images).mean(0))
    lost = [clear - np.log10(radial_spectra(blurred(images, sigma)).mean(0)) for sigma in (0.3, 0.6, 0.9)]
    for one in lost:
        assert (np.diff(one[::4]) > 0).all()  # every fourth: neighbours differ by chance
    assert (np.diff(lost, axis=0)[:, 8:] > 0).all()
    # A Gaussian takes exp(-(2 pi f sigma)^2) of the power.
    expected = (2 * np.pi * frequencies(64, 64) * 0.6) ** 2 * np.log10(np.e)
    np.testing.assert_allclose(lost[1][4:-1], expected[4:-1], atol=0.02)


@pytest.mark.parametrize("kind", ["blur", "noise"])
def test_the_gap_grows_with_damage(kind: str) -> None:
    real, other = textures(0), textures(1)
    rng = np.random.default_rng(2)
    gaps = [spectrum_gap(real, other)]
    for strength in (0.5, 0.8, 1.1):
        if kind == "blur":
            damaged = blurred(other.astype(float), strength)
        else:
            damaged = other + rng.normal(0, 15 * strength, other.shape)
        gaps.append(spectrum_gap(real, np.rint(damaged).clip(0, 255).astype(np.uint8)))
    means, uppers = np.array(gaps).T
    assert means[0] < 0.05
    assert (np.diff(means) > 0.05).all() and (np.diff(uppers) > 0.05).all()


def test_nearest_upsampling_shows_at_high_frequencies() -> None:
    real = textures(0, smooth=1.5)
    small = textures(1, smooth=1.5).reshape(30, 3, 32, 2, 32, 2).mean((3, 5))
    blocky = np.rint(small.repeat(2, 2).repeat(2, 3)).astype(np.uint8)
    mean, upper = spectrum_gap(real, blocky)
    assert upper > 1.5 * mean > 0.3


def test_a_faint_chessboard_shows_in_the_corners_alone() -> None:
    board = (-1) ** np.add.outer(np.arange(64), np.arange(64))
    real, fake = textures(0), textures(1)
    gap = measure(Case(View(fake), View(real)))["spectrum_gap"].detail["gap"]
    marked = measure(Case(View((fake + 4 * board).clip(0, 255).astype(np.uint8)), View(real)))
    with_board = np.array(marked["spectrum_gap"].detail["gap"])
    assert with_board[-1] > gap[-1] + 0.5
    np.testing.assert_allclose(with_board[:-1], gap[:-1], atol=0.1)
    assert frequencies(64, 64)[-1] > 0.5


def test_the_metric_gives_scores_with_intervals_and_curves() -> None:
    real, fake = textures(0), np.rint(blurred(textures(1).astype(float), 1)).astype(np.uint8)
    found = measure(Case(View(fake), View(real)))
    assert set(found) == {scale.name for scale in METRIC.scales}
    assert (found["spectrum_gap"].value, found["spectrum_gap_high"].value) == spectrum_gap(real, fake)
    for score in found.values():
        assert 0 < score.low < score.value < score.high
    detail = found["spectrum_gap"].detail
    assert {len(curve) for curve in detail.values()} == {33}
    for low, middle, high in zip(detail["real_low"], detail["real"], detail["real_high"], strict=True):
        assert low < middle < high
    np.testing.assert_allclose(detail["gap"], np.abs(np.subtract(detail["fake"], detail["real"])))
    assert measure(Case(View(fake), View(real))) == found
    assert measure(Case(View(fake), View(real), seed=1))["spectrum_gap"].low != found["spectrum_gap"].low


def test_the_interval_holds_the_gap_of_other_images_as_often_as_it_says() -> None:
    real = textures(0, 100)
    hits = 0
    truth = spectrum_gap(real, blurred(textures(1, 150).astype(float), 0.5))[0]
    for seed in range(2, 22):
        score = measure(Case(View(blurred(textures(seed, 20).astype(float), 0.5)), View(real)))["spectrum_gap"]
        hits += score.low <= truth <= score.high
    assert hits >= 15


def test_wrong_images_are_refused() -> None:
    images = noise(0, 4)
    with pytest.raises(ValueError, match=r"\[32, 32\] pixels, fake \[16, 16\]"):
        spectrum_gap(images, images[..., :16, :16])
    with pytest.raises(ValueError, match=r"n at least 1, found \[0, 1, 32, 32\]"):
        spectrum_gap(images, images[:0])
    with pytest.raises(ValueError, match=r"found \[4, 32, 32\]"):
        radial_spectra(images[:, 0])
    with pytest.raises(ValueError, match="7 x 32 pixels are too small"):
        radial_spectra(images[..., :7, :])
    images[2, 0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="image 2 holds numbers that are not finite"):
        radial_spectra(images)


def test_real_polyps_are_nearer_to_others_than_to_blurred_ones() -> None:
    name = "polyp_hyperkvasir_seg"
    if not (DATA / name).is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    images = load_dataset(name, root=DATA, split="val", size=64).images
    half = len(images) // 2
    floor, floor_high = spectrum_gap(images[:half], images[half:])
    blur, blur_high = spectrum_gap(images[:half], blurred(images[half:].astype(float), 1))
    assert floor < 0.2 < 1 < blur and floor_high < 0.3 < blur_high
