"""What every adapter gives, one picture at a time, and how it becomes Images of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets.images import Images
from medzoo.datasets.protocol import Protocol, squeeze, squeeze_mask
from medzoo.errors import DatasetError
from medzoo.imagefiles import ReadingWarning

MOST_CLASSES = 2**31  # labels are below
_DARK = 26  # a tenth of white
MOST_BYTES = 2**34  # of all images of the size that was asked for


@dataclass(frozen=True, eq=False)
class Item:
    """One picture as it was read.

    Attributes:
        name: of the image, without suffix.
        where: the file, for messages.
        pixels: uint8 [H, W] or [H, W, 3].
        mask: bool [H, W], or None.
        label: number or name of its class, or None.
        group: what it shares with images that must not be parted from it, or None.
    """

    name: str
    where: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None
    label: int | str | None = None
    group: str | None = None


def gather(
    items: Iterable[Item], protocol: Protocol, where: str, *, minimum: int = 1, classes: Sequence[str] | None = None
) -> Images:
    """Squeeze the pictures as they come; only the small ones are kept.

    Args:
        where: what messages call the whole.
        minimum: fewest images that make sense to the caller.
        classes: names of the labels 0, 1, ...; None takes the names found, sorted.

    Raises:
        DatasetError: too few or too many, mixed channels, masks or labels of some images only.
    """
    found: list[Item] = []
    images, masks, size = [], [], 0
    sizes: list[tuple[int, int]] = []
    for item in items:
        images.append(squeeze(item.pixels, protocol))
        sizes.append((item.pixels.shape[0], item.pixels.shape[1]))
        size += images[-1].nbytes
        if size > MOST_BYTES:
            raise DatasetError(f"{where}: more than {MOST_BYTES:,} bytes of pixels; take a smaller size, or fewer")
        if item.mask is not None:
            if item.mask.shape != item.pixels.shape[:2]:
                raise DatasetError(
                    f"{item.where}: mask of {_size(item.mask)} pixels for an image of {_size(item.pixels)}"
                )
            masks.append(squeeze_mask(item.mask, protocol.size))
        found.append(_light(item))
        _check_alike(found, images, masks)
    if len(images) < max(1, minimum):
        raise DatasetError(f"{where}: at least {max(1, minimum)} images are needed, found {len(images)}; add images")
    labels, names = _numbered(found, classes)
    groups = None if any(one.group is None for one in found) else tuple(one.group or "" for one in found)
    return Images(
        np.stack(images),
        np.stack(masks) if masks else None,
        tuple(one.name for one in found),
        labels,
        names,
        groups,
        tuple(sizes),
    )


def warn_if_dark(images: Images, where: str) -> None:
    """Say so where a whole set is black to the eye, which is what numbers in the wrong window look like."""
    brightest = int(images.images.max(initial=0))
    if len(images) and brightest < _DARK:
        warnings.warn(
            f"{where}: nearly black: the brightest pixel of {len(images)} images is {brightest} of 255; if their "
            "numbers use a part of their range, state which become black and white (--window LOW HIGH)",
            ReadingWarning,
            stacklevel=2,
        )


def _light(item: Item) -> Item:
    """Without its pixels."""
    return Item(item.name, item.where, np.zeros((0, 0), np.uint8), None, item.label, item.group)


def _size(pixels: NDArray[np.generic]) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]


def _check_alike(found: list[Item], images: list[NDArray[np.uint8]], masks: list[NDArray[np.uint8]]) -> None:
    """The last one against those before."""
    if len(images[-1]) != len(images[0]):
        raise DatasetError(
            f"{found[-1].where}: {len(images[-1])} channel(s), but {found[0].where} has {len(images[0])}; "
            "choose one with channels='RGB' or channels='L' (medzoo train: --channels RGB or --channels L)"
        )
    if len(masks) not in (0, len(images)):
        raise DatasetError(f"{found[-1].where}: no mask, while others have one; every image needs one")


def _numbered(
    found: list[Item], classes: Sequence[str] | None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """Labels int64 [n] and the names of their classes."""
    missing = [one for one in found if one.label is None]
    if len(missing) == len(found):
        return None, None
    if missing:
        raise DatasetError(f"{missing[0].where}: no label, while others have one; every image needs one")
    # Folders "1", "2", "3" of classes ("1", "2", "3") are names, not the second class and those after it.
    named = classes is not None and all(isinstance(one.label, str) and one.label in classes for one in found)
    labels = None if named else _all_numbers(found)
    if labels is not None:
        most = len(classes) - 1 if classes else None
        for one, label in zip(found, labels, strict=True):
            if not 0 <= label < MOST_CLASSES or (most is not None and label > most):
                raise DatasetError(f"{one.where}: label {label}; expected 0 to {'...' if most is None else most}")
        return np.array(labels, np.int64), None if classes is None else tuple(classes)
    names = tuple(classes) if classes else tuple(sorted({str(one.label) for one in found}))
    number = {name: i for i, name in enumerate(names)}
    for one in found:
        if str(one.label) not in number:
            raise DatasetError(f"{one.where}: label '{one.label}' is unknown; expected {', '.join(names)}")
    return np.array([number[str(one.label)] for one in found], np.int64), names


def _all_numbers(found: list[Item]) -> list[int] | None:
    """The labels as numbers, where all are (text in a table may be one); None for names."""
    try:
        return [int(one.label) for one in found if one.label is not None]
    except ValueError:
        return None
