"""Making pixels fewer by averaging areas, exactly: a pixel on the border of two areas counts in both by its parts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def area_weights(length: int, parts: int) -> NDArray[np.float64]:
    """Matrix [parts, length], read-only, that averages a line of ``length`` pixels over equal parts of it.

    >>> area_weights(3, 2)
    array([[0.66666667, 0.33333333, 0.        ],
           [0.        , 0.33333333, 0.66666667]])
    """
    edges = np.arange(parts + 1) * (length / parts)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float64] = covered.clip(0) * (parts / length)
    weights.flags.writeable = False
    return weights
