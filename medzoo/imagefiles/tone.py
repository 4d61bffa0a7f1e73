"""Which numbers become black and white: one rule for every reader.

1. A window that the caller states.
2. The window that a DICOM file states.
3. Unsigned numbers of up to 8 bits: 0 and the largest of the bits stored.
4. Unsigned numbers of 9 to 16 bits whose largest is at least half of what they could hold: likewise. Those that use a
   smaller part of the range, as 12 bits in 16 do: their percentiles 0.1 and 99.9, with a ``ReadingWarning``.
5. All others (signed, floats, look-up tables): the least and the largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.imagefiles._picture import Picture

Window = tuple[float, float]
PERCENTILES = (0.1, 99.9)
USED = 0.5  # of the range: numbers whose largest is below use a part of it


def ends(picture: Picture, window: Window | None = None) -> tuple[Window, bool]:
    """Black and white of a picture, in the units of the file, and whether percentiles decided them (rule 4)."""
    window = window or picture.window
    if window is not None:
        return window, False
    pixels = picture.pixels
    if picture.full is None:
        return (float(pixels.min()), float(pixels.max())), False
    if picture.used >= USED or not picture.used:  # nothing but zeros is black
        return picture.full, False
    return percentiles(pixels), True


def percentiles(pixels: NDArray[Any]) -> Window:
    low, high = (float(value) for value in np.percentile(pixels, PERCENTILES))
    return (low, high) if low < high else (float(pixels.min()), float(pixels.max()))


def notice(window: Window, what: str = "pixels of more than 8 bits that use a part of their range") -> str:
    """In words, what percentiles decided."""
    low, high = window
    return (
        f"{what}: {low:g} became black and {high:g} white (percentiles {PERCENTILES[0]} and {PERCENTILES[1]}); "
        f"to choose, state a window (--window {low:g} {high:g})"
    )
