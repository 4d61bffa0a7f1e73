"""Pictures of the page for the templates: strips with the same seeds, and nearest neighbours side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.report.board import Board, Row
from medzoo.report.numbers import short
from medzoo.report.pictures import LARGEST, Pair, Pictures, Strip, data_link, outline
from medzoo.report.tables import name

_SYNTHETIC, _REAL, _CHANGED = "Synthetic image", "Real image of a patient", "Real image of a patient, changed"
_KINDS = {
    "model": (_SYNTHETIC, "synthetic"),
    "folder": ("Given as synthetic", "given as synthetic"),
    "reference": (_CHANGED, "real, changed"),
}
_MOST_PAIRS = 6
_OF_REFERENCE = 4  # pictures of a reference point


def samples(board: Board, pictures: Pictures | None) -> dict[str, Any] | None:
    """A row of pictures for each contender that has some, the real ones first; None where there are none."""
    if pictures is None:
        return None
    rows = []
    if pictures.real is not None and len(pictures.real.images):
        title = {"marker": "", "name": "Real images", "pill": "real", "kind": "real, held out"}
        rows.append(title | _strip(pictures.real, _REAL, "real image"))
    rows += [_of_row(row, strip) for row in board.contenders if (strip := pictures.strips.get(row.id)) is not None]
    changed = [row for row in board.references if row.id in pictures.strips and row.role != "floor"]
    if not rows and not changed:
        return None
    same = "Picture i of every generator was made with the same seed and index; none was chosen."
    return {
        "about": f"{same} Shown at {LARGEST} pixels at most, as JPEG where that is smaller.",
        "masked": any(one is not None and one.masks is not None for one in [*pictures.strips.values(), pictures.real]),
        "rows": rows,
        "changed": [_of_row(row, _first(pictures.strips[row.id], _OF_REFERENCE)) for row in changed],
    }


def pairs(row: Row, pictures: Pictures | None) -> dict[str, Any] | None:
    """The closest pairs of a contender; None where no pictures are given."""
    closest = (pictures.pairs.get(row.id) or ()) if pictures else ()
    if not closest or pictures is None:
        return None
    space = f", distance in {pictures.space}" if pictures.space else ""
    return {
        "about": f"Closest pairs, nearest first{space}; left: synthetic, right: training image",
        "pairs": [_pair(i, pair, row) for i, pair in enumerate(closest[:_MOST_PAIRS])],
    }


def shows_patients(board: Board, pictures: Pictures | None) -> bool:
    """Whether there are real images among the pictures (blurred ones are real, too)."""
    if pictures is None:
        return False
    changed = any(row.id in pictures.strips for row in board.references)
    return changed or pictures.real is not None or any(pictures.pairs.values())


def _of_row(row: Row, strip: Strip) -> dict[str, Any]:
    words, kind = _KINDS[row.kind]
    title = name(row) | {"pill": kind.split(",")[0], "kind": kind}
    return title | _strip(strip, words, f"{kind} image of {row.label}")


def _first(strip: Strip, count: int) -> Strip:
    return Strip(strip.images[:count], None if strip.masks is None else strip.masks[:count])


def _strip(strip: Strip, words: str, alt: str) -> dict[str, Any]:
    masks: Sequence[NDArray[np.uint8] | None]
    masks = [None] * len(strip.images) if strip.masks is None else [mask[0] for mask in strip.masks]
    drawn = [
        _picture(image, mask, words, f"{alt}, number {i + 1}")
        for i, (image, mask) in enumerate(zip(strip.images, masks, strict=True))
    ]
    return {"many": max(len(strip.images), 4), "pictures": drawn}


def _picture(image: NDArray[np.uint8], mask: NDArray[np.uint8] | None, words: str, alt: str) -> dict[str, Any]:
    link, width, height = data_link(image, words)
    about, path, empty = "", None, False
    if mask is not None:
        path, empty = outline(mask), not mask.any()
        about = ", mask outlined" if path else ", empty mask" if empty else ", mask on all of it"
    high, wide = (0, 0) if mask is None else mask.shape
    return {
        "link": link, "width": width, "height": height, "alt": alt + about, "small": max(width, height) < LARGEST // 2,
        "outline": path, "empty": empty, "high": high, "wide": wide,
    }  # fmt: skip


def _pair(i: int, pair: Pair, row: Row) -> dict[str, Any]:
    return {
        "fake": _picture(pair.fake, None, _SYNTHETIC, f"synthetic image of {row.label}, pair {i + 1}"),
        "real": _picture(pair.training, None, _REAL, f"training image nearest to it, pair {i + 1}"),
        "caption": f"{short(float(pair.distance))}{', mirrored' if pair.mirrored else ''}",
    }
