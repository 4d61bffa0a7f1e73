"""Nearest training image of each generated one: does the generator repeat what it has seen?

A distance alone says nothing, so it is read against the distances of held-out real images to the same training
images. If more generated than held-out images lie very near to a training image, the generator copies; if 5 % of
them lie below the 5th percentile of the held-out distances, it is no nearer than new real images are. The held-out
images come from the same hospital, sometimes the same patient, so this is a mild standard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 512  # rows of either side compared at once: memory does not grow with the number of images


@dataclass(frozen=True)
class NearestTraining:
    """How near generated images come to training images.

    Attributes:
        median_fake: median distance of a generated image to its nearest training image.
        median_heldout: the same of held-out real images.
        nearer_than_1: share of generated images below the 1st percentile of the held-out distances, of which new
            real images would have 0.01; ``nearer_than_5`` likewise of the 5th. A percentile below 100 / (m + 1) of
            m held-out images is the smallest distance itself, below which new real images have 1 / (m + 1).
        smallest_fake: smallest distance of a generated image, ``smallest_heldout`` of a held-out one.
        pairs: (generated, training, distance) of the closest pairs, nearest first; each generated image once.
    """

    median_fake: float
    median_heldout: float
    nearer_than_1: float
    nearer_than_5: float
    smallest_fake: float
    smallest_heldout: float
    pairs: tuple[tuple[int, int, float], ...]


def nearest_training(
    fake: NDArray[Any], heldout: NDArray[Any], training: NDArray[Any], *, pairs: int = 8
) -> NearestTraining:
    """Compare the distances of ``fake`` [n, d] and ``heldout`` [m, d] to their nearest of ``training`` [t, d].

    The vectors are features, or ``small_pixels`` of the images; the distance is Euclidean.

    Raises:
        ValueError: an empty set or different widths.
    """
    distances, indices = nearest(fake, training)
    reference, _ = nearest(heldout, training)
    # Weibull's rule, rank / (m + 1), is the one under which a new value lies below the quantile q with probability q.
    low_1, low_5 = np.quantile(reference, [0.01, 0.05], method="weibull")
    closest = np.argsort(distances, kind="stable")[:pairs]
    return NearestTraining(
        median_fake=float(np.median(distances)),
        median_heldout=float(np.median(reference)),
        nearer_than_1=float((distances < low_1).mean()),
        nearer_than_5=float((distances < low_5).mean()),
        smallest_fake=float(distances.min()),
        smallest_heldout=float(reference.min()),
        pairs=tuple((int(i), int(indices[i]), float(distances[i])) for i in closest),
    )


def nearest(queries: NDArray[Any], training: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Euclidean distance [n] to the nearest row of ``training`` [t, d], and its index [n], for ``queries`` [n, d]."""
    if queries.ndim != 2 or training.ndim != 2 or queries.shape[1] != training.shape[1]:
        raise ValueError(f"vectors must be [n, d] and [t, d], found {list(queries.shape)} and {list(training.shape)}")
    if not len(queries) or not len(training):
        raise ValueError(f"nothing to compare: {len(queries)} queries, {len(training)} training vectors")
    indices = np.zeros(len(queries), np.int64)
    distances = np.full(len(queries), np.inf)
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        block = queries[rows].astype(np.float64)
        for first in range(0, len(training), BLOCK):
            reference = training[first : first + BLOCK].astype(np.float64)
            found = (np.einsum("td,td->t", reference, reference) - 2 * block @ reference.T).argmin(1)
            # The difference itself: expanding the square would lose the small distances that matter here.
            distance = np.linalg.norm(block - reference[found], axis=1)
            indices[rows] = np.where(distance < distances[rows], found + first, indices[rows])
            distances[rows] = np.minimum(distance, distances[rows])
    return distances, indices


def small_pixels(images: NDArray[Any], side: int = 32) -> NDArray[np.float32]:
    """Images [n, C, H, W] (uint8 or 0..1) averaged down to ``side`` x ``side``, in [0, 1], as vectors [n, C side^2].

    Raises:
        ValueError: height or width is not a multiple of ``side``.
    """
    n, channels, height, width = images.shape
    if height % side or width % side:
        raise ValueError(f"images of {height} x {width} pixels cannot be averaged down to {side} x {side}")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    blocks = images.reshape(n, channels, side, height // side, side, width // side)
    small: NDArray[np.float32] = (blocks.mean((3, 5), dtype=np.float64) / scale).reshape(n, -1).astype(np.float32)
    return small
