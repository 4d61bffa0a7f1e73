"""Black and white of a whole set of pictures of more than 8 bits, decided by all their numbers together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import DatasetError
from medzoo.imagefiles import ReadingWarning, tone
from medzoo.imagefiles._picture import Picture
from medzoo.imagefiles.tone import Window

if TYPE_CHECKING:
    from medzoo.datasets.gathering import Item

Made = TypeVar("Made")
_SAMPLE = 4096  # numbers of a picture that count, where they are not of 16 bits


def windowed(
    items: Callable[[Window | Measure | None], Iterator[Item]], use: Callable[[Iterator[Item]], Made], where: str
) -> Made:
    """What ``use`` makes of the items; where they need a window, one that the numbers of the whole set decide."""
    try:
        return use(items(None))
    except NeedsWindow:
        window = measured(items, where)
    return use(items(window))


def measured(items: Callable[[Window | Measure | None], Iterator[Item]], where: str) -> Window | None:
    """Black and white of a set of pictures of more than 8 bits, said in a warning where percentiles decide."""
    measure = Measure()
    for _ in items(measure):
        pass
    window = measure.window()
    if window is not None:
        words = "pixels of more than 8 bits that use a part of their range"
        text = tone.notice(window, words) if measure.in_part else f"16-bit pixels: {window[1]:g} became white"
        warnings.warn(f"{where}: {text}", ReadingWarning, stacklevel=2)
    return window


class Usual(tuple[float, float]):
    """A window that nobody stated: it is for the pictures that need one, and no others.

    ``of_range``: windows of DICOM files by the range of their numbers.
    """

    of_range: Mapping[Window, Window] = {}


class NeedsWindow(DatasetError):
    """Pixels of more than 8 bits, of which nobody has said which become black and white."""


class Measure:
    """Stands for a window while the numbers of a whole set are looked at, which then decide it."""

    def __init__(self) -> None:
        self._counts = np.zeros(65536, np.int64)
        self._others: list[NDArray[np.float64]] = []
        self._used, self._full, self._endless = 0.0, (0.0, 0.0), False

    def add(self, picture: Picture) -> None:
        pixels = picture.pixels
        self._used = max(self._used, picture.used)
        if picture.full is not None:
            self._full = max(self._full, picture.full, key=lambda ends: ends[1] - ends[0])
        else:
            self._endless = True  # 32 bits: nobody uses them all
        if pixels.dtype == np.uint16:
            self._counts += np.bincount(pixels.ravel(), minlength=65536)
        else:
            self._others.append(pixels.ravel()[:: max(1, pixels.size // _SAMPLE)].astype(np.float64))

    @property
    def in_part(self) -> bool:
        """Whether percentiles decide."""
        return self._endless or 0 < self._used < tone.USED

    def window(self) -> Window | None:
        """Black and white of the set, by the rules of ``medzoo.imagefiles.tone``; None where no number was deep."""
        if not self._counts.any() and not self._others:
            return None
        if not self.in_part:
            return Usual(self._full)
        some = [np.repeat(np.arange(65536.0), _thinned(self._counts)), *self._others]
        low, high = tone.percentiles(np.concatenate(some))
        return Usual((low, high if low < high else low + 1))


class Sides(Measure):
    """Stands for a window while only the sizes of pictures are looked at: of a picture file its head is enough."""

    def add(self, picture: Picture) -> None:
        pass


def _thinned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most some millions of numbers with the same percentiles."""
    most = 2**22
    return counts if counts.sum() <= most else np.ceil(counts * (most / counts.sum())).astype(np.int64)
