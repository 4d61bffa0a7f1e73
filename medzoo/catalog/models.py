"""A list of entries that shows itself as a table, in a notebook with a sample of each model where one is there."""

from __future__ import annotations

import shutil
from typing import SupportsIndex, overload

from medzoo import cards
from medzoo.entry import Entry
from medzoo.text import one_line

SHOWN = 20  # rows; more do not fit a screen
_HEADS = ("ID", "MAKES", "TAKES", "LICENCE", "TITLE")


class Models(list[Entry]):
    """Entries, in an order: a list in all but how it is shown."""

    def __repr__(self) -> str:
        if not self:
            return "no models"
        rows = [_HEADS, *(_row(entry) for entry in self[:SHOWN])]
        wide = [max(len(row[k]) for row in rows) for k in range(len(_HEADS) - 1)]
        most = max(80, shutil.get_terminal_size((120, 24)).columns)
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], wide, strict=True)), row[-1]])
            for row in rows
        ]
        return "\n".join([*(one_line(line, most=most) for line in lines), self._count()])

    def _repr_html_(self) -> str:
        rows = [_row(entry) for entry in self]
        return cards.table(_HEADS, rows, [entry.model_id for entry in self], f"{len(self)} models")

    @overload
    def __getitem__(self, which: SupportsIndex) -> Entry: ...
    @overload
    def __getitem__(self, which: slice) -> Models: ...
    def __getitem__(self, which: SupportsIndex | slice) -> Entry | Models:
        found = super().__getitem__(which)
        return Models(found) if isinstance(found, list) else found

    def _count(self) -> str:
        more = len(self) - SHOWN
        return f"{len(self)} models{f', the last {more} not shown' if more > 0 else ''}"


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.model_id,
        cards.made(entry.output),
        entry.condition.kind if entry.condition else "-",
        one_line(entry.license.weights or "not stated", most=20),
        one_line(entry.title),
    )
