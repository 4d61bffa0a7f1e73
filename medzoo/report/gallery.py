"""Pictures of the page: strips with the same seeds, and nearest neighbours side by side. Every text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

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


def strips(board: Board, pictures: Pictures) -> str:
    """A row of pictures for each contender that has some, the real ones first."""
    rows = []
    if pictures.real is not None and len(pictures.real.images):
        title = '<h3><span class="id">Real images</span> <span class="pill real">real, held out</span></h3>'
        rows.append(_strip(title, pictures.real, _REAL, "real image"))
    rows += [_of_row(row, strip) for row in board.contenders if (strip := pictures.strips.get(row.id)) is not None]
    changed = [row for row in board.references if row.id in pictures.strips and row.role != "floor"]
    if changed:
        points = "".join(_of_row(row, _first(pictures.strips[row.id], _OF_REFERENCE)) for row in changed)
        rows.append(f'<h3>Reference points</h3><div class="points-of-reference">{points}</div>')
    if not rows:
        return ""
    masked = any(strip.masks is not None for strip in [*pictures.strips.values(), pictures.real] if strip is not None)
    switch = (
        '<p><label class="switch"><input type="checkbox" id="outlines" checked> outlines of masks</label></p>'
        if masked
        else ""
    )
    return f"{switch}{''.join(rows)}"


def pairs(board: Board, row: Row, pictures: Pictures | None) -> str:
    """The closest pairs of a contender, "" where no pictures are given."""
    closest = (pictures.pairs.get(row.id) or ()) if pictures else ()
    if not closest or pictures is None:
        return ""
    space = f", distance in {pictures.space}" if pictures.space else ""
    shown = closest[:_MOST_PAIRS]
    words = f"Closest pairs, nearest first{space}; left: synthetic, right: training image"
    figures = "".join(_pair(i, pair, row) for i, pair in enumerate(shown))
    return f'<p class="quiet">{escape(words)}</p><div class="pairs">{figures}</div>'


def shows_patients(board: Board, pictures: Pictures | None) -> bool:
    """Whether there are real images among the pictures (blurred ones are real, too)."""
    if pictures is None:
        return False
    changed = any(row.id in pictures.strips for row in board.references)
    return changed or pictures.real is not None or any(pictures.pairs.values())


def _of_row(row: Row, strip: Strip) -> str:
    words, kind = _KINDS[row.kind]
    title = f'<h3>{name(row)} <span class="pill {kind.split(",")[0]}">{kind}</span></h3>'
    return _strip(title, strip, words, f"{kind} image of {row.label}")


def _first(strip: Strip, count: int) -> Strip:
    return Strip(strip.images[:count], None if strip.masks is None else strip.masks[:count])


def _strip(title: str, strip: Strip, words: str, alt: str) -> str:
    masks: Sequence[NDArray[np.uint8] | None]
    masks = [None] * len(strip.images) if strip.masks is None else [mask[0] for mask in strip.masks]
    figures = "".join(
        f"<li>{_picture(image, mask, words, f'{alt}, number {i + 1}')}</li>"
        for i, (image, mask) in enumerate(zip(strip.images, masks, strict=True))
    )
    return f'<div class="row">{title}<ul class="strip" style="--many:{max(len(strip.images), 4)}">{figures}</ul></div>'


def _picture(image: NDArray[np.uint8], mask: NDArray[np.uint8] | None, words: str, alt: str) -> str:
    link, width, height = data_link(image, words)
    about, line = "", ""
    if mask is not None:
        path = outline(mask)
        about = ", mask outlined" if path else ", empty mask" if not mask.any() else ", mask on all of it"
        empty = "" if mask.any() else '<span class="nomask">no mask</span>'
        high, wide = mask.shape
        line = f'<svg class="outline" viewBox="0 0 {wide} {high}" aria-hidden="true"><path d="{path}"/></svg>{empty}'
    small = ' class="pixels"' if max(width, height) < LARGEST // 2 else ""
    return (
        f'<span class="picture"><img src="{link}" width="{width}" height="{height}" loading="lazy" '
        f'alt="{escape(alt + about)}"{small}>{line if mask is not None else ""}</span>'
    )


def _pair(i: int, pair: Pair, row: Row) -> str:
    fake = _picture(pair.fake, None, _SYNTHETIC, f"synthetic image of {row.label}, pair {i + 1}")
    real = _picture(pair.training, None, _REAL, f"training image nearest to it, pair {i + 1}")
    mirrored = ", mirrored" if pair.mirrored else ""
    return f"<figure>{fake}{real}<figcaption>{short(float(pair.distance))}{mirrored}</figcaption></figure>"
