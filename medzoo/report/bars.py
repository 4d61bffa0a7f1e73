"""Bars of usefulness: networks trained on synthetic images, alone and beside real ones, and tested on real ones.

A task is a score of synthetic images alone ("seg_dice") with those of its other training sets ("seg_dice_1x", "_2x",
"_real" for real images alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.report.board import Board, Cell, Column, Row
from medzoo.report.numbers import number, shown
from medzoo.report.svg import WIDTH, Frame, Scale, around, colour, marker

_REAL = "_real"
_TOP, _BELOW = 40.0, 44.0  # free above and below the bars
_LEFT, _RIGHT = 108.0, WIDTH - 56
_NAME, _LINE, _GAP = 24.0, 22.0, 8.0  # heights: of a contender's name, a bar, the room between contenders


def usefulness(board: Board) -> list[str]:
    """A chart for each task."""
    return [chart for base in tasks(board) if (chart := _chart(board, base))]


def gains(board: Board) -> list[str]:
    """What synthetic images add to real ones, in sentences: the difference on the same held-out images."""
    sentences = []
    for base in tasks(board):
        for column in columns_of(board, base)[1:]:
            for row in board.contenders:
                known = gain(row, column)
                if known is None:
                    continue
                _, low, high = known
                verdict = "helps" if low > 0 else "harms" if high < 0 else "no difference that can be told from chance"
                change, begin, end = (f"{value:+.3f}".replace("-", "−") for value in known)
                what = f"{row.label}, {title_of(column)}, {share_of(column, base)}"
                sentences.append(f"{what}: {change} ({begin} to {end}) over real images alone; {verdict}.")
    return sentences


def gain(row: Row, column: Column) -> tuple[float, float, float] | None:
    """(difference to real images alone, its low and high end) on the same held-out images; None where not measured."""
    detail = _detail(row, column)
    found = [number(detail.get(key)) for key in ("gain", "gain_low", "gain_high")]
    known = [value for value in found if value is not None]
    return (known[0], known[1], known[2]) if len(known) == 3 else None


def tasks(board: Board) -> list[str]:
    """Beginnings of the names of scores of usefulness, one for each task ("seg_dice")."""
    names = {column.key[0] for column in board.of("usefulness")}
    ordered = dict.fromkeys(column.key[0] for column in board.of("usefulness"))
    return [name for name in ordered if any(f"{name}{end}" in names for end in (_REAL, "_0.5x", "_1x", "_2x"))]


def columns_of(board: Board, base: str) -> list[Column]:
    """Synthetic images alone, then by rising share of synthetic ones; real ones alone are no bar."""
    those = [column for column in board.of("usefulness") if column.key[0] == base or _ratio(column, base)]
    return sorted(those, key=lambda column: _ratio(column, base) or 0)


def _chart(board: Board, base: str) -> str:
    columns = columns_of(board, base)
    rows = [row for row in board.contenders if any(row.cell(column).value is not None for column in columns)]
    if not rows:
        return ""
    real = real_alone(board, columns[0], base)
    cells = [real, *(row.cell(column) for row in rows for column in columns)]
    ends = [value for cell in cells for value in (cell.value, cell.low, cell.high) if value is not None]
    top = 1.0 if min(ends) >= 0 and max(ends) <= 1 else around(ends, True)[1]
    bottom = _TOP + 4 + len(rows) * (_NAME + _LINE * len(columns) + _GAP)
    frame = Frame(Scale(0, top, _LEFT, _RIGHT), Scale(0, 1, bottom, _TOP), WIDTH, bottom + _BELOW)
    for tick in frame.x.ticks():
        frame.add(f'<path class="grid" d="M{frame.x(tick):.1f} {_TOP:g}V{bottom:.1f}"/>')
        frame.text(frame.x(tick), bottom + 15, f"{tick:g}", "tick", "middle")
    frame.text((_LEFT + _RIGHT) / 2, bottom + 35, f"{title_of(columns[0])} on held-out real images", "title", "middle")
    _line(frame, real, columns[0], bottom)
    y = _TOP + 4
    for row in rows:
        frame.add(marker(10, y + 12, row.place))
        frame.text(22, y + 16, row.label, f"name {colour(row.place)}")
        y += _NAME
        for column in columns:
            _bar(frame, row, column, share_of(column, base), y)
            y += _LINE
        y += _GAP
    alone = shown(real.value, columns[0].places, columns[0].percent)
    return frame.done(
        f"useful-{base.replace('_', '-')}",
        f"{title_of(columns[0])} of networks trained on synthetic images and tested on real ones",
        f"For each generator: synthetic images alone, then with real ones. Real images alone: {alone}.",
    )


def real_alone(board: Board, alone: Column, base: str) -> Cell:
    """Real images alone: their own score, or the reference point that gives training images as synthetic ones."""
    own = [row.cells.get((f"{base}{_REAL}", alone.key[1])) for row in board.rows]
    floor = [row.cell(alone) for row in board.references if row.role == "floor"]
    return next((cell for cell in [*own, *floor] if cell is not None and cell.value is not None), Cell(None))


def _line(frame: Frame, real: Cell, column: Column, bottom: float) -> None:
    if real.value is None:
        return
    at = frame.x(real.value)
    if real.low is not None and real.high is not None:
        left, wide = frame.x(real.low), frame.x(real.high) - frame.x(real.low)
        frame.add(f'<rect class="band" x="{left:.1f}" y="{_TOP:g}" width="{wide:.1f}" height="{bottom - _TOP:.1f}"/>')
    frame.add(f'<path class="curve real" d="M{at:.1f} {_TOP - 6:g}V{bottom:.1f}"/>')
    words = f"real images alone {shown(real.value, column.places, column.percent)}"
    half = 3.5 * len(words)
    frame.text(min(max(at, half + 4), WIDTH - half - 4), 26, words, "name ref", "middle")


def _bar(frame: Frame, row: Row, column: Column, words: str, y: float) -> None:
    cell, x = row.cell(column), frame.x
    frame.text(_LEFT - 8, y + 12, words, "tick", "end")
    frame.text(WIDTH - 4, y + 12, shown(cell.value, column.places, column.percent), "value", "end")
    if cell.value is None:
        return
    place = f'x="{_LEFT:g}" y="{y + 1:.1f}" width="{max(x(cell.value) - _LEFT, 0.5):.1f}" height="14"'
    frame.add(f'<rect class="bar {colour(row.place)}" {place} rx="1"/>')
    if cell.low is not None and cell.high is not None:
        ends = f"M{x(cell.low):.1f} {y + 8:.1f}H{x(cell.high):.1f}"
        caps = "".join(f"M{x(end):.1f} {y + 5:.1f}v6" for end in (cell.low, cell.high))
        frame.add(f'<path class="whisker bar" d="{ends}{caps}"/>')


def _ratio(column: Column, base: str) -> float | None:
    """Synthetic images for each real one: 2 of "seg_dice_2x" for "seg_dice"."""
    name = column.key[0]
    try:
        return float(name.removeprefix(f"{base}_")[:-1]) if name.startswith(f"{base}_") and name.endswith("x") else None
    except ValueError:
        return None


def share_of(column: Column, base: str) -> str:
    """ "real + 1×", or "synthetic alone"."""
    ratio = _ratio(column, base)
    return "synthetic alone" if ratio is None else f"real + {ratio:g}×"


def title_of(column: Column) -> str:
    """ "Segmentation Dice" of "Segmentation Dice, real + 1x"."""
    return column.title.split(",")[0]


def _detail(row: Row, column: Column) -> Mapping[str, Any]:
    scores = row.result["scores"] if row.result else ()
    detail = next(
        (score.get("detail") for score in scores if (score["name"], score.get("features")) == column.key), None
    )
    return detail if isinstance(detail, Mapping) else {}
