"""Differences of every two contenders, "A - B", of the first scores of a report."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from medzoo.errors import ResultError
from medzoo.report.board import Board, Column, Key, Result, Row
from medzoo.report.numbers import p_value, signed, span
from medzoo.results.differences import ALPHA, Difference, corrected, differences

ABOUT = (
    "A (row) less B (column), with its 95 % interval. p is corrected for all differences of this section (Holm); those "
    f"below {ALPHA:g} are in bold, no other can be told from chance. “unpaired”: by the intervals of each alone, "
    "which is less sensitive than the same halves of the same images."
)
MOST = 12  # contenders, beyond which a matrix cannot be read


def matrices(board: Board) -> list[dict[str, Any]]:
    """One for each of the first scores; none for a single contender, or where the differences are not known."""
    rows = [row for row in board.contenders if row.result is not None][:MOST]
    columns = [column for column in board.headline() if column.better in ("lower", "higher")]
    found = _differences(rows, columns)
    tables = []
    for column in columns:
        if any(key[2] == column.key and one.p is not None for key, one in found.items()):
            tables.append(_table(column, rows, found))
    return tables


_Key = tuple[int, int, Key]


def _differences(rows: list[Row], columns: list[Column]) -> dict[_Key, Difference]:
    """(place of A, place of B, score) -> difference, A before B, corrected together."""
    found: dict[_Key, Difference] = {}
    wanted = {column.key for column in columns}
    shown = [_only(row, wanted) for row in rows]
    for a, b in combinations(range(len(rows)), 2):
        try:
            known = differences(shown[a], shown[b], correct=False)
        except (ResultError, KeyError):
            continue
        found |= {(a, b, (d.name, d.features)): d for d in known}
    return dict(zip(found, corrected(list(found.values())), strict=True))


def _only(row: Row, wanted: Container[Key]) -> Result:
    """The result of a row with the scores that are wanted alone: the others need not be compared."""
    assert row.result is not None
    scores = [score for score in row.result["scores"] if (score["name"], score.get("features")) in wanted]
    return {**row.result, "scores": scores}


def _table(column: Column, rows: list[Row], found: Mapping[_Key, Difference]) -> dict[str, Any]:
    def cell(a: int, b: int) -> dict[str, str] | None:
        known = found.get((min(a, b), max(a, b), column.key))
        if known is None:
            return None
        if a > b:
            low, high = known.low, known.high
            known = replace(known, a=known.b, b=known.a, low=None if high is None else -high,
                            high=None if low is None else -low)  # fmt: skip
        p = "" if known.p is None else f"p {p_value(known.p)}"
        return {
            "value": signed(known.value, column.places, column.percent),
            "interval": span(known.low, known.high, column.places, column.percent),
            "p": p + ("" if known.paired or not p else ", unpaired"),
            "kind": {"A": "best", "B": "worse"}.get(known.winner, ""),
        }

    body = [{"name": row.label, "cells": [cell(i, j) for j in range(len(rows))]} for i, row in enumerate(rows)]
    return {
        "title": column.title, "arrow": column.arrow, "names": [row.label for row in rows], "rows": body,
    }  # fmt: skip
