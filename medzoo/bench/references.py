"""Reference points: what scores mean, measured on real images that are as good as can be, or bad in a known way.

real          the floor: training images given as if they had been generated (see ``Metric.floor``)
blur_<x>px    the same, blurred by a Gaussian of x pixels
noise_<x>     the same, with Gaussian noise of standard deviation x (of a range of 1)
copies        training images, a little brighter and with a trace of noise: what a generator makes that memorises
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Degrade = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
NOISES = (0.05, 0.2)


def references(size: int) -> dict[str, tuple[str, Degrade]]:
    """Id -> (title, what makes the images uint8 [n, C, H, W] of it), for images of ``size`` pixels a side."""
    blurs = (round(size / 64, 2), round(size / 32, 2))
    points: dict[str, tuple[str, Degrade]] = {"real": ("real images", lambda images: images)}
    for sigma in blurs:
        points[f"blur_{sigma:g}px"] = (f"real, blurred by {sigma:g} px", lambda images, s=sigma: blur(images, s))  # type: ignore[misc]
    for std in NOISES:
        points[f"noise_{std:g}"] = (f"real, noise of {std:g}", lambda images, s=std: noisy(images, s))  # type: ignore[misc]
    points["copies"] = ("copies of training images", lambda images: noisy(images, 0.001, brighter=1.02))
    return points


def blur(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Gaussian blur of images uint8 [n, C, H, W], 0..255, by ``sigma`` pixels: cut at 3 sigma, mirrored at the borders.

    >>> blur(np.array([[[[0, 0, 255, 0, 0]]]], np.uint8), 0.5)
    array([[[[  0,  27, 201,  27,   0]]]], dtype=uint8)
    """
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    out = np.empty_like(images)
    for i, image in enumerate(images):
        result = image.astype(np.float32)
        for axis in (1, 2):
            padding = [(reach, reach) if other == axis else (0, 0) for other in range(3)]
            windows = np.lib.stride_tricks.sliding_window_view(
                np.pad(result, padding, mode="symmetric"), len(weights), axis
            )
            result = windows @ weights
        out[i] = np.rint(result).clip(0, 255)
    return out


def noisy(images: NDArray[np.uint8], std: float, *, brighter: float = 1.0) -> NDArray[np.uint8]:
    """Images uint8 [n, C, H, W], 0..255, times ``brighter``, with Gaussian noise of ``std`` (of a range of 1).

    The noise is the same for the same number of images of one shape.
    """
    rng = np.random.Generator(np.random.Philox(0))
    out = np.empty_like(images)
    for i, image in enumerate(images):
        changed = brighter * image + rng.normal(0, 255 * std, image.shape)
        out[i] = np.rint(changed).clip(0, 255)
    return out
