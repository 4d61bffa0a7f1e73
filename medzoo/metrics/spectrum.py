"""Radially averaged power spectrum, and how far generated images are from real ones in it.

Generators with upsampling leave traces at high frequencies (Durall et al., CVPR 2020; Schwarz et al., NeurIPS 2021),
and blurred ones lack them; feature distances barely see either.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, around

SMALLEST = 8  # pixels of the shorter side: four bands and the corners
BLOCK = 1 << 21  # pixels transformed at once: memory does not grow with the number of images
FLOOR = 1e-3  # power taken as no power: a hundredth of what rounding to whole grey levels adds

Bands = NDArray[np.float64]


def measure(case: Case) -> Mapping[str, Score]:
    """Both gaps with bootstrap intervals over the images of both sets, and the curves of a plot.

    Raises:
        ValueError: sets that ``spectrum_gap`` refuses.
    """
    real, fake = _both(case.real.images, case.fake.images)
    gap = _gap(real.mean(0), fake.mean(0))
    draws = _draws(real, fake, case.repeats, case.seed)
    single = _log(real)
    low, high = np.quantile(single, [0.1, 0.9], axis=0)
    detail = {
        "frequencies": frequencies(*case.real.images.shape[2:]).tolist(),
        "real": _log(real.mean(0)).tolist(),
        "fake": _log(fake.mean(0)).tolist(),
        "gap": gap.tolist(),
        "real_low": low.tolist(),
        "real_high": high.tolist(),
    }
    return {
        "spectrum_gap": _score(gap, draws, detail),
        "spectrum_gap_high": _score(_upper(gap), _upper(draws), None),
    }


def spectrum_gap(real: NDArray[Any], fake: NDArray[Any]) -> tuple[float, float]:
    """(mean, mean of the upper half) of |log10 power of fake - log10 power of real| over the bands.

    >>> noise = np.random.default_rng(0).normal(128, 10, (4, 1, 16, 16))
    >>> gap, upper_half = spectrum_gap(noise, 128 + 10 * (noise - 128))  # a hundred times the power: two decades
    >>> round(gap, 6), round(upper_half, 6)
    (2.0, 2.0)

    0.3 means a factor of two in power.

    Args:
        real: [n, C, H, W], 0..255.
        fake: [m, C', H, W], 0..255.

    Raises:
        ValueError: no image, another shape, different or very small height or width, numbers that are not finite.
    """
    powers = (spectra.mean(0) for spectra in _both(real, fake))
    gap = _gap(*powers)
    return float(gap.mean()), float(_upper(gap).mean())


def radial_spectra(images: NDArray[Any], *, block: int = BLOCK) -> Bands:
    """Mean power of each image in each band: the rings of whole-number radius 1..min(H, W) // 2, then the corners.

    >>> radial_spectra(np.zeros((2, 3, 16, 16))).shape
    (2, 9)

    Channels are averaged to grey and the mean is taken off; a Hann window hides the jump at the borders. Power is
    divided by the energy of the window: white noise of standard deviation s has s^2 in each band.

    Args:
        images: [n, C, H, W], any scale.
        block: pixels transformed at once.

    Returns:
        float64 [n, min(H, W) // 2 + 1]. ``frequencies`` has the frequency of each band.

    Raises:
        ValueError: no image, another shape, a side of less than 8 pixels, numbers that are not finite.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [n, C, H, W] with n at least 1, found {list(images.shape)}")
    n, _, height, width = images.shape
    order, starts, weights, _ = _rings(height, width)
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    window /= np.sqrt(np.sum(window**2))
    spectra = np.empty((n, len(starts)))
    step = max(1, block // (height * width))
    for first in range(0, n, step):
        grey = images[first : first + step].mean(1, dtype=np.float64)
        grey -= grey.mean((1, 2), keepdims=True)
        waves = np.fft.rfft2(grey * window).reshape(len(grey), -1)[:, order]
        power = waves.real**2 + waves.imag**2
        spectra[first : first + step] = np.add.reduceat(power * weights, starts, axis=1)
    if not np.isfinite(spectra).all():
        bad = int(np.flatnonzero(~np.isfinite(spectra).all(1))[0])
        raise ValueError(f"image {bad} holds numbers that are not finite")
    return spectra


def frequencies(height: int, width: int) -> Bands:
    """Frequency of each band of ``radial_spectra`` in cycles a pixel; the last is the mean over the corners.

    >>> frequencies(8, 8)[:-1]
    array([0.125, 0.25 , 0.375, 0.5  ])

    0.5 is the highest along a row or column; only diagonal waves, such as a chessboard, lie in the corners above it.
    """
    return _rings(height, width)[3]


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Bands, Bands]:
    """How the flattened half spectrum of ``rfft2`` is summed to bands, and the frequencies of the bands.

    Returns:
        The coefficients sorted by band (without those of no band), where each band starts among them, the weight of
        each (the weights of a band add up to 1), the frequencies.
    """
    shorter = min(height, width)
    if shorter < SMALLEST:
        raise ValueError(f"images of {height} x {width} pixels are too small: {SMALLEST} are needed")
    # In cycles a pixel, times the shorter side: equal radius means equal frequency where height and width differ.
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]).ravel()
    band = np.minimum(np.rint(distance * shorter).astype(np.int64), shorter // 2 + 1)
    # The half spectrum stands for the whole: all columns but the first and (for even widths) the last count twice.
    twice = np.full((height, width // 2 + 1), 2.0)
    twice[:, 0] = 1
    if width % 2 == 0:
        twice[:, -1] = 1
    order = np.argsort(band, kind="stable")
    order = order[band[order] > 0]
    starts = np.searchsorted(band[order], np.arange(1, shorter // 2 + 2))
    weights = twice.ravel()[order]
    weights /= np.repeat(np.add.reduceat(weights, starts), np.diff(np.append(starts, len(order))))
    middle = np.arange(1, shorter // 2 + 2) / shorter
    middle[-1] = np.sum(weights[starts[-1] :] * distance[order[starts[-1] :]])
    return order, starts, weights, middle


def _both(real: NDArray[Any], fake: NDArray[Any]) -> tuple[Bands, Bands]:
    if real.shape[2:] != fake.shape[2:]:
        raise ValueError(f"real images are {list(real.shape[2:])} pixels, fake {list(fake.shape[2:])}")
    return radial_spectra(real), radial_spectra(fake)


def _log(power: Bands) -> Bands:
    decades: Bands = np.log10(np.maximum(power, FLOOR))
    return decades


def _gap(real: Bands, fake: Bands) -> Bands:
    """Absolute difference in decades of two mean powers [..., bands]."""
    decades: Bands = np.abs(_log(fake) - _log(real))
    return decades


def _upper(gap: Bands) -> Bands:
    return gap[..., gap.shape[-1] // 2 :]


def _draws(real: Bands, fake: Bands, repeats: int, seed: int) -> Bands:
    """Gaps [repeats, bands] of images drawn with replacement."""
    rng = np.random.default_rng(seed)
    means = []
    for spectra in (real, fake):
        n = len(spectra)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=repeats)
        means.append(counts @ spectra / n)
    return _gap(*means)


def _score(gap: Bands, draws: Bands, detail: Mapping[str, Any] | None) -> Score:
    value = float(gap.mean())
    low, high = around(value, draws.mean(1))
    return Score(value, max(low, 0.0), high, detail=detail)


METRIC = Metric(
    name="spectrum",
    group="frequency",
    scales=(
        Scale(
            "spectrum_gap",
            "Spectrum gap",
            "lower",
            "Mean |log10 ratio| of the radially averaged power to that of real images: 0.3 is a factor of two "
            "(after Durall et al., CVPR 2020).",
        ),
        Scale(
            "spectrum_gap_high",
            "Spectrum gap, high",
            "lower",
            "The same over the upper half of the frequencies, where upsampling leaves its traces "
            "(Schwarz et al., NeurIPS 2021).",
        ),
    ),
    measure=measure,
)
