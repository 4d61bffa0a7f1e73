"""Masks as files hold them -> True and False. Numbered classes and objects are refused: half of them would vanish."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError

_FLAT = 1e-3  # least share of the pixels that are neither black nor white and equal all their neighbours
_ADVICE = "expected 0 and 1, or 0 and 255 (write one class, or one object, against the rest: (labels == 2) * 255)"


def foreground(pixels: NDArray[Any], where: object) -> NDArray[np.bool_]:
    """A mask as bool [H, W].

    0 is background. In a picture of 0..255, 128 and more is foreground; of 0 and 1, 1 is; of floats in [0, 1], a half
    and more; of 0 and one number above 255, that number. Edges may be smooth (JPEG, resized masks).

    Args:
        pixels: bool, whole numbers or floats [H, W].
        where: the file, for messages.

    Raises ImageFileError: numbers that are not finite or below 0; another range, such as that of numbered classes; or
    areas that are neither black nor white.
    """
    if pixels.dtype.kind == "b" or not pixels.size:
        return np.asarray(pixels, bool)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise ImageFileError(f"{where}: holds numbers that are not finite (NaN or infinity); repair or remove it")
        if pixels.max() > 1 and (pixels == np.rint(pixels)).all():
            pixels = pixels.astype(np.int64)  # labels that went through a float file
    least, top = pixels.min(), pixels.max()
    if least < 0:
        raise ImageFileError(f"{where}: a mask with values down to {least}; {_ADVICE}")
    if pixels.dtype.kind == "f":
        if top > 1:
            raise ImageFileError(f"{where}: a mask with values up to {top:g}; {_ADVICE}")
        _refuse_levels(pixels, where)
        return np.asarray(pixels >= 0.5)
    if top > 255:
        if not ((pixels == 0) | (pixels == top)).all():
            raise ImageFileError(f"{where}: a mask with values up to {top}; {_ADVICE}")
        return np.asarray(pixels == top)
    if 1 < top < 128:
        raise ImageFileError(f"{where}: a mask with values up to {top}; {_ADVICE}")
    if top > 1:
        _refuse_levels(pixels, where)
    return np.asarray(pixels >= (1 if top == 1 else 128))


def _refuse_levels(pixels: NDArray[Any], where: object) -> None:
    """Smooth edges have many values and no areas of one of them; labels have areas."""
    inner, white = pixels[1:-1, 1:-1], float(pixels.max())
    middle = (inner > 0.1 * white) & (inner < 0.9 * white)
    if not middle.any():
        return
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            middle &= pixels[down : down + inner.shape[0], right : right + inner.shape[1]] == inner
    if middle.sum() > max(3, _FLAT * inner.size):
        value = np.unique(inner[middle])[0]
        raise ImageFileError(f"{where}: a mask with areas of the value {value:g}, neither black nor white; {_ADVICE}")
