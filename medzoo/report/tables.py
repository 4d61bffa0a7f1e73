"""Tables of scores as HTML. Every text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby

from medzoo.metrics import group_of
from medzoo.report.board import Board, Cell, Column, Row
from medzoo.report.numbers import shown, span
from medzoo.report.svg import marker

_MARKS = {"best": ("★", "best"), "level": ("☆", "interval meets that of the best")}
_ROLES = {
    "floor": "the floor",
    "known-bad": "known to be bad",
    "memorising": "known to memorise",
    "reference": "reference point",
}


def minus(text: str) -> str:
    """Negative numbers as they are printed: with a minus sign as wide as a plus."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def scores(board: Board, columns: Sequence[Column], caption: str, grouped: bool) -> str:
    """Contenders and reference points against ``columns``; ``grouped`` puts the names of groups above them."""
    rows = [row for row in board.rows if any(column.key in row.cells for column in columns)]
    contenders, references = [row for row in rows if row.place >= 0], [row for row in rows if row.place < 0]
    body = f"<tbody>{''.join(_row(row, columns, grouped) for row in contenders)}</tbody>"
    if references:
        body += (
            f'<tbody class="references"><tr class="divider"><th colspan="{len(columns) + 1}" scope="rowgroup">'
            "<span>Reference points, made of real images</span></th></tr>"
            f"{''.join(_row(row, columns, grouped) for row in references)}</tbody>"
        )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="scores"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead>{_head(board, columns, grouped)}</thead>{body}</table></div>"
    )


def name(row: Row) -> str:
    """Marker and id of a row, which may break behind its underscores."""
    key = f'<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{marker(7, 7, row.place)}</svg>'
    words = row.id if row.place >= 0 else row.label
    return f'{key}<span class="id">{breakable(words)}</span>'


def breakable(words: str) -> str:
    return escape(words).replace("_", "_<wbr>")


def _head(board: Board, columns: Sequence[Column], grouped: bool) -> str:
    deep = ' rowspan="2"' if grouped else ""
    corner = f'<th scope="col" class="who"{deep}>Generator</th>'
    titles = "".join(_title(board, column, first) for column, first in zip(columns, _firsts(columns), strict=True))
    if not grouped:
        return f"<tr>{corner}{titles}</tr>"
    runs = [(group, len(list(those))) for group, those in groupby(columns, key=lambda column: column.group)]
    groups = "".join(
        f'<th scope="colgroup" colspan="{count}" class="first">'
        f'<a href="#{escape(group)}">{escape(group_of(group).title)}</a></th>'
        for group, count in runs
    )
    return f'<tr class="groups">{corner}{groups}</tr><tr>{titles}</tr>'


def _title(board: Board, column: Column, first: bool) -> str:
    extractor = f'<span class="sub">{breakable(column.key[1])}</span>' if board.several and column.key[1] else ""
    arrow = f'&nbsp;<span aria-hidden="true" class="arrow">{column.arrow}</span>' if column.arrow else ""
    kind = ' class="first"' if first else ""
    return (
        f'<th scope="col"{kind} title="{escape(column.about)}">{escape(column.title)}{arrow}'
        f'<span class="unseen"> ({column.direction})</span>{extractor}</th>'
    )


def _row(row: Row, columns: Sequence[Column], brief: bool) -> str:
    pill = f'<span class="pill {escape(row.kind)}">{escape(row.kind)}</span>' if row.kind == "folder" else ""
    about = _ROLES[row.role] if row.place < 0 else ""
    below = f'<span class="sub">{escape(about)}</span>' if about else ""
    cells = "".join(
        _cell(column, row.cell(column), first, brief) for column, first in zip(columns, _firsts(columns), strict=True)
    )
    return f'<tr class="{escape(row.role)}"><th scope="row" class="who">{name(row)}{pill}{below}</th>{cells}</tr>'


def _cell(column: Column, cell: Cell, first: bool, brief: bool) -> str:
    kinds = " ".join(kind for kind in ("first" if first else "", cell.mark) if kind)
    opening = f'<td class="{kinds}">' if kinds else "<td>"
    if cell.value is None:
        note = (
            "" if not cell.note else _unseen(cell.note) if brief else f'<span class="note">{escape(cell.note)}</span>'
        )
        return f'{opening}<span class="v">–</span>{note}</td>'
    sign, words = _MARKS.get(cell.mark, ("", ""))
    star = f'<span class="star" aria-hidden="true">{sign}</span>' if sign else ""
    marked = f'<span class="unseen"> ({words})</span>' if words else ""
    around = span(cell.low, cell.high, column.places, column.percent)
    interval = f'<span class="sub">{minus(around)}</span>' if around else ""
    value = minus(shown(cell.value, column.places, column.percent))
    return f'{opening}{star}<span class="v">{value}</span>{marked}{interval}</td>'


def _unseen(words: str) -> str:
    return f'<span class="unseen"> ({escape(words)})</span>'


def _firsts(columns: Sequence[Column]) -> list[bool]:
    """Which columns begin a group."""
    return [i > 0 and column.group != columns[i - 1].group for i, column in enumerate(columns)]
