"""What masks look like (how large, how many pieces), and whether they lie on something in their image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MaskStatistics:
    """Numbers over a set of binary masks, one channel each.

    Attributes:
        area_mean: mean share of the image that is foreground.
        area_quantiles: 10th, 50th and 90th percentile of that share.
        empty: share of masks without a foreground pixel.
        components_mean: mean number of 4-connected pieces of the masks that are not empty; nan if all are.
        single: share of the masks that are not empty with exactly one piece; nan if all are.
    """

    area_mean: float
    area_quantiles: tuple[float, float, float]
    empty: float
    components_mean: float
    single: float


def mask_statistics(masks: NDArray[Any]) -> MaskStatistics:
    """Statistics of ``masks`` [n, 1, H, W] (0 is background).

    Raises:
        ValueError: another shape, or no mask.
    """
    if masks.ndim != 4 or masks.shape[1] != 1 or not len(masks):
        raise ValueError(f"masks must be [n, 1, H, W] with n at least 1, found {list(masks.shape)}")
    areas = (masks != 0).mean((1, 2, 3))
    pieces = np.array([count_components(mask[0]) for mask in masks if mask.any()])
    low, median, high = (float(value) for value in np.quantile(areas, [0.1, 0.5, 0.9]))
    return MaskStatistics(
        area_mean=float(areas.mean()),
        area_quantiles=(low, median, high),
        empty=float((areas == 0).mean()),
        components_mean=float(pieces.mean()) if len(pieces) else float("nan"),
        single=float((pieces == 1).mean()) if len(pieces) else float("nan"),
    )


def count_components(mask: NDArray[Any]) -> int:
    """Number of 4-connected pieces of a mask [H, W]: runs of each row, joined where runs of two rows touch."""
    parents: list[int] = []
    above: list[tuple[int, int, int]] = []  # begin, end, run number
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask != 0
    edges = np.diff(padded, axis=1)
    for row in edges:
        here = []
        for begin, end in zip(np.flatnonzero(row == 1), np.flatnonzero(row == -1), strict=True):
            run = len(parents)
            parents.append(run)
            for other_begin, other_end, other in above:
                if begin < other_end and other_begin < end:
                    parents[_root(parents, other)] = _root(parents, run)
            here.append((int(begin), int(end), run))
        above = here
    return sum(parent == run for run, parent in enumerate(parents))


def boundary_contrast(images: NDArray[Any], masks: NDArray[Any]) -> float:
    """How much more an image changes along the outline of its mask than elsewhere.

    The mean gradient magnitude on the pixels where the mask changes, divided by that of the whole image, averaged
    over images: about 1 where masks have nothing to do with their images (and more where outlines prefer busy
    regions, so compare with the same masks shuffled). Masks without an outline are left out.

    Args:
        images: [n, C, H, W], any scale.
        masks: [n, 1, H, W], 0 is background.

    Returns:
        The mean ratio; nan if no mask has an outline.
    """
    ratios = []
    for image, mask in zip(images, masks, strict=True):
        change = _gradient(image.astype(np.float32)).mean(0)
        outline = _gradient((mask != 0).astype(np.float32))[0] > 0
        if outline.any() and change.mean() > 0:
            ratios.append(float(change[outline].mean() / change.mean()))
    return float(np.mean(ratios)) if ratios else float("nan")


def _gradient(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude of the central differences [C, H, W]."""
    down, right = np.gradient(image, axis=(1, 2))
    magnitude: NDArray[np.float32] = np.hypot(down, right)
    return magnitude


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = run = parents[parents[run]]
    return run
