"""Radially averaged power spectrum, and how far generated images are from real ones in it.

Generators with upsampling leave traces at high frequencies (Durall et al., CVPR 2020), and blurred ones lack them;
feature distances barely see either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def radial_spectrum(images: NDArray[Any]) -> NDArray[np.float64]:
    """Mean power at each whole-number frequency 1..min(H, W) // 2 (cycles an image) of [n, C, H, W] images.

    Channels are averaged to grey and the mean is taken off; a Hann window hides the jump at the borders.

    Returns:
        float64 [min(H, W) // 2].
    """
    grey = images.mean(1, dtype=np.float64)
    grey -= grey.mean((1, 2), keepdims=True)
    height, width = grey.shape[1:]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    total = np.zeros((height, width))
    for one in grey:  # one at a time: the memory of a thousand complex images is not needed
        total += np.abs(np.fft.fft2(one * window)) ** 2
    highest = min(height, width) // 2
    # Frequencies of the longer side are scaled so that equal radius means equal cycles a pixel.
    rows = np.fft.fftfreq(height)[:, None] * min(height, width)
    columns = np.fft.fftfreq(width)[None, :] * min(height, width)
    radius = np.rint(np.hypot(rows, columns)).astype(int)
    sums = np.bincount(radius.ravel(), (total / len(grey)).ravel())
    counts = np.bincount(radius.ravel())
    power: NDArray[np.float64] = (sums / np.maximum(counts, 1))[1 : highest + 1]
    return power


def spectrum_gap(real: NDArray[Any], fake: NDArray[Any]) -> tuple[float, float]:
    """(mean, mean of the upper half) of |log10 power of fake - log10 power of real| over frequencies.

    0.3 means a factor of two in power. Both sets must be of one scale (both 0..1 or both 0..255) and size.

    Raises:
        ValueError: different height or width.
    """
    if real.shape[2:] != fake.shape[2:]:
        raise ValueError(f"real images are {list(real.shape[2:])} pixels, fake {list(fake.shape[2:])}")
    tiny = np.finfo(np.float64).tiny
    gap = np.abs(np.log10(radial_spectrum(fake) + tiny) - np.log10(radial_spectrum(real) + tiny))
    return float(gap.mean()), float(gap[len(gap) // 2 :].mean())
