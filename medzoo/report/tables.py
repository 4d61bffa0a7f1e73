"""Tables of scores for the templates: what stands in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from medzoo.metrics import group_of
from medzoo.report.board import Board, Cell, Column, Row
from medzoo.report.numbers import shown, span
from medzoo.report.rendering import markup
from medzoo.report.svg import marker

_MARKS = {"best": ("★", "best"), "level": ("☆", "interval meets that of the best")}
_ROLES = {
    "floor": "the floor",
    "known-bad": "known to be bad",
    "memorising": "known to memorise",
    "reference": "reference point",
}


def scores(board: Board, columns: Sequence[Column], caption: str, grouped: bool, links: bool = True) -> dict[str, Any]:
    """Contenders and reference points against ``columns``; ``grouped`` puts the names of groups above them, with
    ``links`` to their sections."""
    rows = [row for row in board.rows if any(column.key in row.cells for column in columns)]
    firsts = [i > 0 and column.group != columns[i - 1].group for i, column in enumerate(columns)]
    runs = [(group, len(list(those))) for group, those in groupby(columns, key=lambda column: column.group)]
    return {
        "caption": caption,
        "groups": [(group if links else "", group_of(group).title, count) for group, count in runs] if grouped else [],
        "columns": [_heading(board, column, first) for column, first in zip(columns, firsts, strict=True)],
        "contenders": [_row(row, columns, firsts) for row in rows if row.place >= 0],
        "references": [_row(row, columns, firsts) for row in rows if row.place < 0],
    }


def name(row: Row) -> dict[str, Any]:
    """Marker and id of a row."""
    return {"marker": markup(marker(7, 7, row.place)), "name": row.id if row.place >= 0 else row.label}


def _heading(board: Board, column: Column, first: bool) -> dict[str, Any]:
    extractor = column.key[1] if board.several else None
    return {
        "title": column.title, "arrow": column.arrow, "direction": column.direction, "about": column.about,
        "extractor": extractor, "first": first,
    }  # fmt: skip


def _row(row: Row, columns: Sequence[Column], firsts: Sequence[bool]) -> dict[str, Any]:
    return name(row) | {
        "role": row.role,
        "pill": row.kind if row.kind == "folder" else "",
        "below": _ROLES[row.role] if row.place < 0 else "",
        "cells": [_cell(column, row.cell(column), first) for column, first in zip(columns, firsts, strict=True)],
    }


def _cell(column: Column, cell: Cell, first: bool) -> dict[str, Any]:
    sign, words = _MARKS.get(cell.mark, ("", ""))
    return {
        "kinds": " ".join(kind for kind in ("first" if first else "", cell.mark) if kind),
        "value": None if cell.value is None else shown(cell.value, column.places, column.percent),
        "note": cell.note,
        "sign": sign,
        "words": words,
        "interval": span(cell.low, cell.high, column.places, column.percent),
    }
