"""What masks look like (size, pieces, shape, place), beside real ones, and whether they lie on something to see.

Each statistic is one number a mask; ``medzoo.metrics._shapes`` says how pixels are counted. With several mask
channels each is taken by itself, and the numbers are averaged over the channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.metrics._base import Case, Metric, Scale, Score, View, around
from medzoo.metrics._shapes import contrasts, count_components, hull_areas, perimeters, touches_border

Numbers = NDArray[np.float64]

# What one standard deviation of the real masks is at least, where they hardly differ: 0.1 is that of a share of 1 %.
SPREADS = {
    "area": 0.001,
    "empty": 0.1,
    "components": 0.1,
    "single": 0.1,
    "solidity": 0.01,
    "compactness": 0.01,
    "border": 0.1,
}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SHUFFLES = 3
BLOCK = 1 << 22  # pixels looked at together: memory does not grow with the number of images


def measure(case: Case) -> Mapping[str, Score]:
    """Each statistic of the generated masks beside that of the real ones, contrast along outlines, and one distance.

    Raises:
        ValueError: masks or images that ``mask_statistics`` or ``contrasts`` refuse, different sizes or numbers
            of mask channels.
    """
    fake_masks, real_masks = _masks(case.fake, "fake"), _masks(case.real, "real")
    if fake_masks.shape[1:] != real_masks.shape[1:]:
        raise ValueError(f"real masks are {list(real_masks.shape[1:])}, fake {list(fake_masks.shape[1:])}")
    fake, real = mask_statistics(fake_masks), mask_statistics(real_masks)
    channels = fake_masks.shape[1]
    return {
        "mask_gap": _gap_score(fake, real, case, _note(channels)),
        **{f"mask_{name}": _score(fake[name], real[name], case, channels) for name in fake},
        "mask_contrast": _contrast_score(case, fake_masks, real_masks),
    }


def mask_statistics(masks: NDArray[Any]) -> dict[str, Numbers]:
    """One number a mask, [n, K] by name, of ``masks`` [n, K, H, W] (0 is background).

    >>> found = mask_statistics(np.eye(2)[None, None])
    >>> {name: found[name].item() for name in ("area", "components", "solidity")}
    {'area': 0.5, 'components': 2.0, 'solidity': 0.6666666666666666}

    ``area``: share of the image that is foreground. ``empty``: 1 without foreground, else 0.
    Of masks that are not empty, nan otherwise: ``components``: number of 4-connected pieces. ``single``: 1 with one
    piece, else 0. ``solidity``: area divided by that of its convex hull; 1 for convex masks without holes, less for
    jagged, bent or several ones. ``compactness``: 4 pi area / perimeter^2, at most 1; 1 for a disc, less for long or
    ragged ones. ``border``: 1 with a foreground pixel at the image border, else 0.

    Raises:
        ValueError: another shape, or no mask.
    """
    if masks.ndim != 4 or 0 in masks.shape:
        raise ValueError(f"masks must be [n, K, H, W] with n and K at least 1, found {list(masks.shape)}")
    flat = masks.reshape(-1, *masks.shape[2:])
    step = max(1, BLOCK // flat[0].size)
    parts = [_of_block(flat[i : i + step]) for i in range(0, len(flat), step)]
    return {name: np.concatenate([part[name] for part in parts]).reshape(masks.shape[:2]) for name in SPREADS}


def mask_gap(real: NDArray[Any], fake: NDArray[Any]) -> float:
    """How far the statistics of ``fake`` masks [m, K, H, W] are from those of ``real`` ones [n, K, H, W].

    >>> masks = np.ones((3, 1, 8, 8), np.uint8)
    >>> mask_gap(masks, masks)
    0.0

    For each statistic the 1-Wasserstein distance between its distributions (how far its values would have to be
    moved), in standard deviations of the real values; then the mean over statistics and channels. 0 for equal sets. A
    statistic that one of the sets does not have (all masks empty) is left out.

    Raises:
        ValueError: not masks, or of different sizes or channels.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"real masks are {list(real.shape[1:])}, fake {list(fake.shape[1:])}")
    return float(_mean(_distances(mask_statistics(fake), mask_statistics(real))))


def wasserstein(first: NDArray[Any], second: NDArray[Any]) -> float:
    """1-Wasserstein distance between two sets of numbers [n], [m]: the area between their distribution functions.

    >>> wasserstein(np.array([0.0, 0.0]), np.array([1.0, 3.0]))
    2.0
    """
    values = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(a), values[:-1], side="right") / len(a) for a in (first, second)]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(values)))


def _of_block(masks: NDArray[Any]) -> dict[str, Numbers]:
    areas = np.count_nonzero(masks, axis=(1, 2)).astype(np.float64)
    empty = areas == 0
    pieces = count_components(masks).astype(np.float64)
    with np.errstate(invalid="ignore"):  # empty masks, set to nan below
        statistics = {
            "area": areas / masks[0].size,
            "empty": empty.astype(np.float64),
            "components": pieces,
            "single": (pieces == 1).astype(np.float64),
            "solidity": areas / hull_areas(masks),
            "compactness": np.minimum(4 * np.pi * areas / perimeters(masks) ** 2, 1),
            "border": touches_border(masks).astype(np.float64),
        }
    for name in statistics.keys() - {"area", "empty"}:
        statistics[name][empty] = np.nan
    return statistics


def _distances(fake: Mapping[str, Numbers], real: Mapping[str, Numbers]) -> Numbers:
    """Distance of each statistic, averaged over channels, in real standard deviations; nan where a set has none."""
    distances = []
    for name, smallest in SPREADS.items():
        channels = []
        for fakes, reals in zip(fake[name].T, real[name].T, strict=True):
            fakes, reals = fakes[~np.isnan(fakes)], reals[~np.isnan(reals)]
            known = len(fakes) and len(reals)
            channels.append(wasserstein(fakes, reals) / max(float(reals.std()), smallest) if known else np.nan)
        distances.append(_mean(np.array(channels)))
    return np.array(distances)


def _gap_score(fake: Mapping[str, Numbers], real: Mapping[str, Numbers], case: Case, note: str | None) -> Score:
    distances = _distances(fake, real)
    value = float(_mean(distances))
    rng = np.random.default_rng(case.seed)
    draws = [_mean(_distances(_resampled(fake, rng), _resampled(real, rng))) for _ in range(case.repeats)]
    low, high = around(value, np.array(draws))
    statistics = {
        name: {
            "fake": float(_mean(fake[name])),
            "real": float(_mean(real[name])),
            "fake_quantiles": _quantiles(fake[name]),
            "real_quantiles": _quantiles(real[name]),
            "distance": float(distance),
        }
        for name, distance in zip(SPREADS, distances, strict=True)
    }
    return Score(value, max(low, 0.0), high, note=note, detail={"quantiles": list(QUANTILES), "statistics": statistics})


def _score(fake: Numbers, real: Numbers, case: Case, channels: int) -> Score:
    value, aim = float(_mean(fake)), float(_mean(real))
    low, high = around(value, _means(fake, _counts(len(fake), case)))
    real_low, real_high = around(aim, _means(real, _counts(len(real), case)))
    note = _note(channels, "all generated masks are empty" if np.isnan(value) else None, _aim(aim))
    return Score(value, low, high, note=note, detail={"real": aim, "real_low": real_low, "real_high": real_high})


def _contrast_score(case: Case, fake: NDArray[Any], real: NDArray[Any]) -> Score:
    value, low, high, own, shuffled = _relative_contrast(case.fake.images, fake, case)
    aim, real_low, real_high, *_ = _relative_contrast(case.real.images, real, case)
    why = "one image, or no mask with an outline: nothing to shuffle" if np.isnan(value) else None
    detail = {"own": own, "shuffled": shuffled, "real": aim, "real_low": real_low, "real_high": real_high}
    return Score(value, low, high, note=_note(fake.shape[1], why, _aim(aim)), detail=detail)


def _relative_contrast(
    images: NDArray[Any], masks: NDArray[Any], case: Case
) -> tuple[float, float, float, float, float]:
    """(value, low, high, own, shuffled): contrast with the own masks divided by that with masks of other images."""
    n = len(images)
    order = np.random.default_rng(case.seed).permutation(n)
    others = []
    for shift in range(1, min(SHUFFLES, n - 1) + 1):  # each image gets the mask of another one
        partner = np.empty(n, np.int64)
        partner[order] = np.roll(order, shift)
        others.append(partner)
    ratios = contrasts(images, masks, [np.arange(n), *others])
    own, shuffled = ratios[0], _mean(ratios[1:], axis=0)
    counts = _counts(n, case)
    value = float(_ratio(_mean(own), _mean(shuffled)))
    low, high = around(value, _ratio(_means(own, counts), _means(shuffled, counts)))
    return value, low, high, float(_mean(own)), float(_mean(shuffled))


def _masks(view: View, name: str) -> NDArray[np.uint8]:
    if view.masks is None:
        raise ValueError(f"the {name} images have no masks")
    return view.masks


def _mean(values: Numbers, axis: int | None = None) -> Numbers:
    """Mean of the numbers that are not nan; nan without any. Of [n, K] statistics the mean of the channels' means."""
    if axis is None and values.ndim == 2:
        return _mean(_mean(values, 0))
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis), known.sum(axis))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Numbers:
    """Quotient of two arrays; nan where ``below`` is not above 0."""
    result: Numbers = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=result, where=np.asarray(below) > 0)
    return result


def _counts(n: int, case: Case) -> NDArray[np.int64]:
    """How often each of n images is drawn, [repeats, n]."""
    return np.random.default_rng(case.seed).multinomial(n, np.full(n, 1 / n), size=case.repeats)


def _means(values: Numbers, counts: NDArray[np.int64]) -> Numbers:
    """Means [repeats] over resampled images, averaged over the channels of ``values`` [n, K]."""
    known = ~np.isnan(values)
    return _mean(_ratio(counts @ np.where(known, values, 0), counts @ known.astype(np.float64)), 1)


def _resampled(statistics: Mapping[str, Numbers], rng: np.random.Generator) -> dict[str, Numbers]:
    n = len(statistics["area"])
    rows = rng.integers(n, size=n)
    return {name: values[rows] for name, values in statistics.items()}


def _quantiles(values: Numbers) -> list[float]:
    """Averaged over the channels that have any."""
    channels = [channel[~np.isnan(channel)] for channel in values.T]
    quantiles = [np.quantile(channel, QUANTILES) for channel in channels if len(channel)]
    return list(map(float, np.mean(quantiles, axis=0))) if quantiles else [float("nan")] * len(QUANTILES)


def _aim(value: float) -> str:
    return f"real {value:.3g}" if np.isfinite(value) else "real masks have none"


def _note(channels: int, *words: str | None) -> str | None:
    parts = [word for word in words if word]
    if channels > 1:
        parts.append(f"mean over {channels} mask channels")
    return "; ".join(parts) or None


METRIC = Metric(
    name="masks",
    group="masks",
    scales=(
        Scale(
            "mask_gap",
            "Mask gap",
            "lower",
            "Distance of the distributions of the statistics below from the real ones (1-Wasserstein, in standard "
            "deviations of the real masks), averaged over the statistics.",
        ),
        Scale("mask_area", "Mask area", "neither", "Mean share of the image that is foreground.", percent=True),
        Scale("mask_empty", "Empty masks", "neither", "Share of masks without a foreground pixel.", percent=True),
        Scale("mask_components", "Pieces", "neither", "Mean number of 4-connected pieces of masks that are not empty."),
        Scale(
            "mask_single",
            "One piece",
            "neither",
            "Share of masks that are one piece, of those not empty.",
            percent=True,
        ),
        Scale(
            "mask_solidity",
            "Solidity",
            "neither",
            "Mean of area / area of the convex hull: 1 is convex, less is jagged, bent or in pieces.",
        ),
        Scale(
            "mask_compactness",
            "Compactness",
            "neither",
            "Mean of 4 pi area / perimeter^2: 1 is a disc, less is long, ragged or in pieces.",
        ),
        Scale(
            "mask_border",
            "At the border",
            "neither",
            "Share of masks that touch the border of the image, of those not empty.",
            percent=True,
        ),
        Scale(
            "mask_contrast",
            "Outline contrast",
            "neither",
            "Change of the image along the outline of its mask against elsewhere, divided by the same with masks of "
            "other images: 1 where masks have nothing to do with their images.",
        ),
    ),
    measure=measure,
    needs=("masks",),
    references=("real",),  # blur and noise leave masks as they are
)
