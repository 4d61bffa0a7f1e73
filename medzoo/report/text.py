"""The report as Markdown, and its first table for the terminal: the same numbers as on the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report import about, bars, matrix, protocol, remarks, verdict
from medzoo.report.board import Board, Column, Result, Row, build, cell_text, heading
from medzoo.text import as_markdown

_SIGNS = {"best": "★ ", "level": "☆ ", "": ""}


def markdown(results: Sequence[Result], failed: Mapping[str, str] | None = None, *, level: int = 1) -> str:
    """Verdict, leaderboard, differences, warnings, how to read them, all scores by group, protocol.

    Args:
        results, failed: as for ``html_page``.
        level: of the first heading.
    """
    text = _markdown(results, failed)
    return re.sub(r"^(#+ )", "#" * (level - 1) + r"\1", text, flags=re.MULTILINE)


def _markdown(results: Sequence[Result], failed: Mapping[str, str] | None) -> str:
    board = build(results)
    lines = [f"# {as_markdown(about.title(results))}", "", f"*{remarks.HONEST}*", ""]
    if not results:
        return "\n".join([*lines, "No results.", ""])
    if notes := about.notes(results):
        lines += [as_markdown(notes), ""]
    if board.contenders:
        lines += ["## Verdict", ""]
    for row in board.contenders:
        lines += [f"- {code(row.id)}", *(f"    - {as_markdown(words)}" for words in verdict.of_row(board, row))]
    lines += [""] if board.contenders else []
    if board.columns:
        lines += ["## Leaderboard", "", *_table(board, board.headline()), "", remarks.MARKS, ""]
    if tables := matrix.matrices(board):
        lines += [
            "## Differences",
            "",
            as_markdown(matrix.ABOUT),
            "",
            *(line for one in tables for line in _matrix(one)),
        ]
    if limits := remarks.grouped(board, results, failed):
        lines += ["## Warnings", ""]
        for limit in limits:
            lines += [f"- {as_markdown(limit['words'])}", *(f"    - {as_markdown(words)}" for words in limit["more"])]
        lines += [""]
    lines += ["## How to read this", "", remarks.GROUND, "", remarks.ARROWS, "", remarks.DISAGREE, ""]
    if relation := remarks.agreement(board):
        lines += [as_markdown(relation), ""]
    for group in board.groups:
        columns = board.of(group.name)
        lines += [f"## {as_markdown(group.title)}", ""]
        lines += [group.question, ""] if group.question else []
        lines += [*_table(board, columns), "", *_meanings(board, columns), ""]
        if group.name == "usefulness" and (added := bars.gains(board)):
            lines += [*(f"- {as_markdown(words)}" for words in added), ""]
        if group.name == "cost" and (machine := remarks.cost_machine(board.contenders)):
            lines += [as_markdown(machine), ""]
    lines += ["## Protocol", "", *_facts(protocol.settings(results)), ""]
    for row in board.contenders:
        lines += [f"### {code(row.id)}", "", *_facts(protocol.contender(row, results)), ""]
    return "\n".join(lines)


def summary_table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the first table, contenders best first, then reference points; without intervals.

    Headings are short enough for a terminal; ``legend`` says what they mean.
    """
    board = build(results)
    columns = board.headline()
    header = ["ID", *(_short(board, column) for column in columns)]
    rows = [
        [
            row.id,
            *(
                _SIGNS[row.cell(column).mark] + cell_text(column, row.cell(column), interval=False)
                for column in columns
            ),
        ]
        for row in board.rows
        if any(column.key in row.cells for column in columns)
    ]
    return header, rows


def legend(results: Sequence[Result]) -> list[str]:
    """What the headings and signs of ``summary_table`` mean, in lines."""
    board = build(results)
    named = [
        f"{_SHORT[column.key[0]]}: {column.title}"
        for column in board.headline()
        if _SHORT.get(column.key[0], column.title) != column.title
    ]
    marked = any(cell.mark for row in board.contenders for cell in row.cells.values())
    signs = ["↓ lower is better, ↑ higher is better" + (", ★ best, ☆ may be as good" if marked else "")]
    return ["; ".join([*named, *signs])] if board.columns else []


_SHORT = {
    "fd": "FD", "fd_infinity": "FD∞", "near_copies": "Copies", "nearer_than_5": "Near 5 %", "authenticity": "Authentic",
    "spectrum_gap": "Spectrum", "mask_agreement": "Masks agree", "mask_empty": "Empty masks", "seg_dice": "Dice synth",
    "seg_dice_1x": "Dice real+1×", "clf_auc": "AUC synth", "clf_auc_1x": "AUC real+1×", "first_image_s": "1st image, s",
}  # fmt: skip
"""Headings of a terminal, of scores whose titles are long."""


def _short(board: Board, column: Column) -> str:
    if column.key[0] not in _SHORT:
        return heading(board, column)
    extractor = f" ({column.key[1]})" if board.several and column.key[1] else ""
    return f"{_SHORT[column.key[0]]}{extractor} {column.arrow}".rstrip()


def _matrix(table: Mapping[str, Any]) -> list[str]:
    """One score's differences; what can be told from chance in bold."""
    lines = [
        f"### {as_markdown(table['title'])}", "",
        f"| A − B | {' | '.join(as_markdown(name) for name in table['names'])} |",
        f"|---|{'---:|' * len(table['names'])}",
    ]  # fmt: skip
    for row in table["rows"]:
        cells = []
        for cell in row["cells"]:
            known = "" if cell is None else "; ".join(words for words in (cell["interval"], cell["p"]) if words)
            text = "" if cell is None else as_markdown(f"{cell['value']} ({known})" if known else cell["value"])
            cells.append(f"**{text}**" if cell is not None and cell["kind"] else text)
        lines.append(f"| {as_markdown(row['name'])} | {' | '.join(cells)} |")
    return [*lines, ""]


def code(words: str) -> str:
    """An id in code type; what code type cannot hold is shown as plain text."""
    return f"`{words}`" if re.fullmatch(r"[\w.+@ -]+", words) else as_markdown(words)


def _table(board: Board, columns: Sequence[Column]) -> list[str]:
    lines = [
        f"| | {' | '.join(as_markdown(heading(board, column)) for column in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for row in board.rows:
        if any(column.key in row.cells for column in columns):
            lines.append(f"| {_name(row)} | {' | '.join(_cell(row, column) for column in columns)} |")
    return lines


def _name(row: Row) -> str:
    return code(row.id) if row.place >= 0 else f"*{as_markdown(row.label)}*"


def _cell(row: Row, column: Column) -> str:
    cell = row.cell(column)
    text = cell_text(column, cell)
    value, _, interval = text.partition(" (")
    value = f"**{value}**" if cell.mark == "best" else value
    return f"{_SIGNS[cell.mark]}{value}{' (' + interval if interval else ''}"


def _meanings(board: Board, columns: Sequence[Column]) -> list[str]:
    return [
        f"- **{as_markdown(heading(board, column))}**: "
        f"{as_markdown(column.about)} {as_markdown(remarks.reading(board, column))}"
        for column in columns
    ]


def _facts(rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    return [
        "| | |",
        "|---|---|",
        *(f"| {as_markdown(what.replace('_', ' '))} | {as_markdown(value)} |" for what, value in rows),
    ]
