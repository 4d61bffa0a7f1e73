"""The answer of a benchmark in three sentences for each model or folder: what it is better than, what it is useful
for, and whether it repeats training images. The same words in the terminal, on the page, in Markdown and in JSON.

Nothing is claimed that an interval does not hold: what overlaps "cannot be said". Usefulness at several shares of
synthetic images is corrected for their number (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report import bars
from medzoo.report.board import Board, Cell, Column, Result, Row, build, cell_text
from medzoo.report.numbers import number, signed
from medzoo.results.differences import ALPHA, holm, t_quantile, t_tail

_LOOKS = ("kid", "fd_infinity", "fd", "cmmd", "spectrum_gap")  # the score that says how alike images look, first found
_COPIES = ("near_copies", "nearer_than_1", "nearer_than_5_pixels", "nearer_than_5")
_REAL = "real images"


def verdicts(results: Sequence[Result]) -> dict[str, list[str]]:
    """Id of each model or folder -> its three sentences, best first."""
    board = build(results)
    return {row.id: of_row(board, row) for row in board.contenders}


def of_row(board: Board, row: Row) -> list[str]:
    """The three sentences about one model or folder."""
    return [_looks(board, row), _useful(board, row), _copies(board, row)]


def _looks(board: Board, row: Row) -> str:
    column = _measured(board, row, _LOOKS)
    if column is None:
        return "How alike it looks cannot be said: no distance to real images was measured."
    own = row.cell(column)
    said = f"{column.title} {_inside(column, own)}"
    better, worse, level = [], [], []
    for point in board.references:
        other = point.cell(column)
        if point.role == "memorising" or other.value is None:
            continue
        words = _REAL if point.role == "floor" else f"{_REAL} with {_damage(point)}"
        if own.low is None or own.high is None or other.low is None or other.high is None:
            level.append(words)
        elif _beats(column, own, other):
            better.append(words)
        elif _beats(column, other, own):
            worse.append(words)
        else:
            level.append(words)
    if not (better or worse or level):
        return f"How alike it looks cannot be said: {said}, and no reference row to read it against."
    parts = [f"better than {_listed(better)}"] if better else []
    parts += [f"worse than {_listed(worse)}"] if worse else []
    parts += [f"cannot be told apart from {_listed(level)}"] if level else []
    return f"Looks ({said}): {'; '.join(parts)}."


def _measured(board: Board, row: Row, names: Sequence[str]) -> Column | None:
    """The column of the first of these scores that the row has."""
    columns = [column for name in names if (column := board.find(name)) is not None]
    return next((column for column in columns if row.cell(column).value is not None), None)


def _beats(column: Column, one: Cell, other: Cell) -> bool:
    """Whether all of one interval is better than all of another."""
    assert None not in (one.low, one.high, other.low, other.high)
    worst = max(column.badness(one.low), column.badness(one.high))  # type: ignore[arg-type]
    return worst < min(column.badness(other.low), column.badness(other.high))  # type: ignore[arg-type]


def _damage(point: Row) -> str:
    """ "blur of 2 px" of "blur_2px"."""
    kind, _, strength = point.id.partition("_")
    return f"{kind} of {strength.replace('px', ' px')}" if strength else point.label


def _useful(board: Board, row: Row) -> str:
    tasks: dict[str, str] = {}  # one score of each kind of network: "clf" of "clf_auc"
    for task in bars.tasks(board):
        if any(row.cell(column).value is not None for column in bars.columns_of(board, task)):
            tasks.setdefault(task.partition("_")[0], task)
    if not tasks:
        return f"Usefulness was not measured: {_why_not(row)}."
    return " ".join(_of_task(board, row, task) for task in tasks.values())


def _of_task(board: Board, row: Row, task: str) -> str:
    columns = bars.columns_of(board, task)
    gains = [(column, *known) for column in columns[1:] if (known := bars.gain(row, column)) is not None]
    title = bars.title_of(columns[0])
    alone = row.cell(columns[0])
    real = bars.real_alone(board, columns[0], task)
    instead = ""
    if alone.value is not None and real.value is not None:
        instead = (
            f" Synthetic images alone give {cell_text(columns[0], alone)}, "
            f"real ones alone {cell_text(columns[0], real)}."
        )
    if not gains:
        return f"Useful for {title}? Beside real images it was not measured.{instead}"
    p = holm([_p(gain, low, high) for _, gain, low, high in gains])
    certain = [(column, gain) for (column, gain, _, _), q in zip(gains, p, strict=True) if q < ALPHA]
    helps = [_at(column, task, gain) for column, gain in certain if gain > 0]
    harms = [_at(column, task, gain) for column, gain in certain if gain < 0]
    if not helps and not harms:
        column, gain, low, high = max(gains, key=lambda one: one[1])
        at = ", ".join(bars.share_of(column, task) for column, *_ in gains)
        most = f"at most {_signed(gain)}, {_signed(low)} to {_signed(high)}"
        return f"Useful for {title}? Cannot be said: no difference beside real images at {at} ({most}).{instead}"
    parts = [f"helps beside real images at {_listed(helps)}"] if helps else []
    parts += [f"harms at {_listed(harms)}"] if harms else []
    return f"Useful for {title}: {', '.join(parts)}.{instead}"


def _at(column: Column, task: str, gain: float) -> str:
    return f"{bars.share_of(column, task)} ({_signed(gain)})"


def _signed(value: float) -> str:
    return signed(value, 3).replace("-", "−")


def _p(gain: float, low: float, high: float) -> float:
    error = (high - low) / 2 / t_quantile(math.inf)
    return t_tail(abs(gain) / error, math.inf) if error > 0 else (1.0 if gain == 0 else 0.0)


def _copies(board: Board, row: Row) -> str:
    column = _measured(board, row, _COPIES)
    if column is None:
        known = ((row.result or {}).get("data") or {}).get("training") is not None
        why = "the scores of memorisation were not measured" if known else "no training images were named (--training)"
        return f"Copies cannot be said: {why}."
    own = row.cell(column)
    floor = next((point.cell(column) for point in board.references if point.role == "floor"), Cell(None))
    said = cell_text(column, own)
    expected = f", where new real images have {cell_text(column, floor)}" if floor.value is not None else ""
    n = number((((row.result or {}).get("data") or {}).get("fake") or {}).get("n"))
    if own.value == 0:
        among = f" among {n:.0f} images" if n else ""
        most = f"; a share of up to {_top(column, own)} would not show" if own.high else ""
        return f"Copies of training images: none found{among}{most}."
    if own.low is None or floor.high is None:
        return f"Copies of training images cannot be said: {column.title} {said}, with nothing to read it against."
    if own.low > floor.high:
        return f"Copies of training images: yes, {column.title} {said}{expected}."
    return f"Copies of training images: no more than chance gives, {column.title} {said}{expected}."


def _top(column: Column, cell: Cell) -> str:
    return cell_text(column, Cell(cell.high))


def _why_not(row: Row) -> str:
    result: Mapping[str, Any] = row.result or {}
    for name, why in (result.get("failed") or {}).items():
        if name in ("segmentation", "classification"):
            return str(why)
    stated = (result.get("benchmark") or {}).get("metrics") or ()
    if {"segmentation", "classification"} & set(stated):
        return "it trains networks, which this run left out"
    return "it takes training images with masks or labels"


def _listed(words: Sequence[str]) -> str:
    """ "a, b and c"; what begins alike is said once: "real images, and those with blur of 2px and noise of 0.2"."""
    start = f"{_REAL} with "
    if words[0] == _REAL and len(words) > 1:
        return f"{_REAL}, and those with {_listed([one.removeprefix(start) for one in words[1:]])}"
    begun = [one.removeprefix(start) if i else one for i, one in enumerate(words)]
    return begun[0] if len(begun) == 1 else f"{', '.join(begun[:-1])} and {begun[-1]}"


def _inside(column: Column, cell: Cell) -> str:
    """A value with its interval, to stand in parentheses."""
    return cell_text(column, cell).replace(" (", ", ").removesuffix(")")
