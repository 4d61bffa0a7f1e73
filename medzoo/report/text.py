"""The report as Markdown, and its first table for the terminal: the same numbers as on the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from medzoo.report import bars, protocol, remarks
from medzoo.report.board import Board, Column, Result, Row, build, cell_text, heading
from medzoo.text import as_markdown

_SIGNS = {"best": "★ ", "level": "☆ ", "": ""}


def markdown(results: Sequence[Result], failed: Mapping[str, str] | None = None) -> str:
    """Leaderboard, warnings, how to read them, all scores by group, protocol; see ``html_page`` for the arguments."""
    board = build(results)
    first = results[0]["benchmark"] if results else {}
    title = str(first.get("title") or first.get("name") or "Benchmark of generators")
    lines = [f"# {as_markdown(title)}", "", f"*{remarks.HONEST}*", ""]
    if not results:
        return "\n".join([*lines, "No results.", ""])
    if first.get("notes"):
        lines += [as_markdown(str(first["notes"])), ""]
    if board.columns:
        lines += ["## Leaderboard", "", *_table(board, board.headline()), "", remarks.MARKS, ""]
    if limits := remarks.warnings(board, results, failed):
        lines += ["## Warnings", "", *(f"- {as_markdown(words)}" for words in limits), ""]
    lines += ["## How to read this", "", remarks.GROUND, "", remarks.ARROWS, "", remarks.DISAGREE, ""]
    if verdict := remarks.agreement(board):
        lines += [as_markdown(verdict), ""]
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
    """(header, rows) of the first table, contenders best first, then reference points; without intervals."""
    board = build(results)
    columns = board.headline()
    header = ["ID", *(heading(board, column) for column in columns)]
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
