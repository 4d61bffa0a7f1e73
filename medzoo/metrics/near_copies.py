"""Near copies of training images, by pixels: the same whatever extractor a benchmark takes.

Images are averaged down to 32 x 32, which takes out noise and compression, with each channel's mean and the whole
image's contrast taken out, which takes out exposure. Each training image also counts mirrored, since generators are
trained with mirroring. No score finds a part of an image pasted elsewhere; copies moved by 3 % of the width are beyond
most.

Near copies follow Carlini et al. (Extracting training data from diffusion models, USENIX Security 2023): the distance
to the nearest training image is less than half of the mean distance to the 50 nearest. That needs no held-out images,
one of which, itself a duplicate, would make "nearer than any held-out image" blind. Of 150 training images at 128
pixels of each of three sets (colonoscopy, chest X-ray, microscopy) it finds all that were copied, mirrored, brightened,
compressed (JPEG, quality 30) or blurred by 2 pixels, and 98.7 to 100 % of those with noise of 0.05; of 350 held-out
images it accuses 1, the neighbouring slice of a training image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.imagefiles.areas import area_weights
from medzoo.metrics._base import Case, Metric, Scale, Score
from medzoo.metrics._nearness import Nearest, closest_pairs, share_interval, share_nearer
from medzoo.metrics._search import BLOCK, nearest

SIDE = 32
NEIGHBOURS, CLOSE = 50, 0.5  # of near copies, as published


def measure(case: Case, block: int = BLOCK) -> Mapping[str, Score]:
    """Scores of a case with training images; ``block``: rows searched at once."""
    if case.training is None or len(case.training) < 2:
        raise ValueError("near copies need at least 2 training images to compare with")
    pixels, *others = (small_pixels(view.images) for view in (case.training, case.fake, case.real))
    fake, heldout = (nearest_pixels(view, pixels, block=block) for view in others)
    return {
        "near_copies": _copies(case, fake, heldout),
        "nearer_than_5_pixels": share_nearer(case, fake, heldout, 5, "pixels"),
    }


def nearest_pixels(queries: NDArray[Any], training: NDArray[Any], *, block: int = BLOCK) -> Nearest:
    """Of ``small_pixels`` ``queries`` [n, C, h, w] among ``training`` [t, C, h, w] and their mirror images.

    An image's mirror image is the same image: both count once among the 50, with the smaller distance.
    """
    flat, plain, mirror = levelled(queries), levelled(training), levelled(training[..., ::-1])
    k = min(NEIGHBOURS, len(training))
    straight, turned = nearest(flat, plain, k, block=block), nearest(flat, mirror, k, block=block)
    distances = np.concatenate([straight.distances, turned.distances], 1)
    indices = np.concatenate([straight.indices, turned.indices], 1)
    mirrored = np.broadcast_to(np.arange(2 * k) >= k, distances.shape)
    # By image and then by distance: of an image that appears both ways the second is the farther one.
    order = np.lexsort((mirrored, distances, indices))
    distances, indices, mirrored = (np.take_along_axis(x, order, 1) for x in (distances, indices, mirrored))
    distances[:, 1:][indices[:, 1:] == indices[:, :-1]] = np.inf
    order = np.lexsort((indices, distances))[:, :k]
    distances, indices, mirrored = (np.take_along_axis(x, order, 1) for x in (distances, indices, mirrored))
    mean = distances.mean(1)
    # Nothing but copies around: as near as can be.
    ratios = np.divide(distances[:, 0], mean, out=np.zeros(len(mean)), where=mean > 0)
    return Nearest(distances[:, 0], indices[:, 0], mirrored[:, 0], ratios)


def small_pixels(images: NDArray[Any], side: int = SIDE) -> NDArray[np.float32]:
    """Images [n, C, H, W] (uint8 or 0..1) averaged down to at most ``side`` x ``side``, float32 [n, C, h, w] in [0, 1].

    Where a pixel lies on the border of two averages it counts in both by its parts. Smaller images stay as they are.

    >>> small_pixels(np.array([[[[0, 255], [255, 255]]]], np.uint8), 1)
    array([[[[0.75]]]], dtype=float32)

    Raises:
        ValueError: not four axes, or none of one.
    """
    if images.ndim != 4 or not images.size:
        raise ValueError(f"images must be [n, C, H, W] and not empty, found {list(images.shape)}")
    rows, columns = (area_weights(length, min(side, length)) for length in images.shape[2:])
    if images.dtype == np.uint8:
        rows = rows / 255
    out = np.empty((*images.shape[:2], len(rows), len(columns)), np.float32)
    for start in range(0, len(images), 64):
        out[start : start + 64] = rows @ images[start : start + 64].astype(np.float64) @ columns.T
    return out


def levelled(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images [n, C, h, w] in [0, 1] as vectors [n, C h w] of length 1, each channel's mean taken off.

    >>> levelled(np.array([[[[0.0, 1.0]]]])).round(4)
    array([[-0.7071,  0.7071]], dtype=float32)

    So brightness and contrast do not matter. Contrast below one grey level is not raised to the length 1: it is noise.
    """
    flat = images - images.mean((2, 3), keepdims=True, dtype=np.float64)
    flat = flat.reshape(len(images), -1)
    length = np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.sqrt(flat.shape[1]) / 255)
    out: NDArray[np.float32] = (flat / length).astype(np.float32)
    return out


def _copies(case: Case, fake: Nearest, heldout: Nearest) -> Score:
    near = fake.ratios < CLOSE
    also = heldout.ratios < CLOSE
    notes = []
    if also.any():
        notes.append(f"so are {int(also.sum())} of {len(also)} held-out real images: they resemble training images")
    if case.training is not None and len(case.training) < NEIGHBOURS:
        notes.append(f"judged by all {len(case.training)} training images instead of the {NEIGHBOURS} nearest")
    detail = {"space": "pixels", "pairs": closest_pairs(fake, fake.ratios), "heldout": float(also.mean())}
    value = float(near.mean())
    bounds = share_interval(value, near.sum(keepdims=True), len(near), np.random.default_rng(case.seed))
    return Score(value, *bounds, note="; ".join(notes) or None, detail=detail)


METRIC = Metric(
    name="near_copies",
    group="memorisation",
    scales=(
        Scale(
            "near_copies",
            "Near copies",
            "lower",
            "Share less than half as far, in pixels, from one training image as from the nearest 50 (Carlini 2023).",
            percent=True,
        ),
        Scale(
            "nearer_than_5_pixels",
            "Nearer than 5 %, pixels",
            "lower",
            "Share nearer to a training image, in pixels, than all but 5 % of new real images are: 0.05 is expected.",
            percent=True,
        ),
    ),
    measure=measure,
    needs=("training",),
    floor="heldout",
    references=("real", "copies", "blur"),
)
