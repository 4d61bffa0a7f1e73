"""The sizes that images came in, beside the one that they are brought to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from medzoo.datasets import Images

_SQUARE = 1.02  # ratio of the sides up to which nobody sees that a picture was squeezed to a square


def sizes(images: Images) -> dict[str, Any] | None:
    """How images came, as results record it; None where nobody knows.

    ``smallest`` and ``largest`` are [width, height], ``enlarged`` counts those with a side below that of ``images``,
    ``different`` the sizes, ``squeezed`` the images that are no squares, of ``n``.
    """
    return _counted(images.sizes, images.images.shape[-1]) if images.sizes else None


def of_model(sides: Iterable[int] | None, size: int, n: int) -> dict[str, Any] | None:
    """The same of a model, whose images all have one size (``sides``: height, width); None where nobody knows it."""
    stated = () if sides is None else tuple(sides)
    return _counted([(stated[0], stated[1])] * n, size) if len(stated) == 2 else None


def _counted(found: Sequence[tuple[int, int]], size: int) -> dict[str, Any]:
    ordered = sorted(found, key=lambda one: (min(one), max(one)))
    return {
        "n": len(found),
        "smallest": [ordered[0][1], ordered[0][0]],
        "largest": [ordered[-1][1], ordered[-1][0]],
        "different": len(set(found)),
        "enlarged": sum(min(one) < size for one in found),
        "squeezed": sum(max(one) > _SQUARE * min(one) for one in found),
    }
