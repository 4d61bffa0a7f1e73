"""Tables and pages: laid out by rich in a terminal, plain, complete and without escape codes in a pipe.

Text of entries and files is never read as markup: a cell says what it says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medzoo.files.streams import is_terminal
from medzoo.text import LONGEST, one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_LABELS = 14  # width of the column of a page that names its sections
_HANGING = 2  # by how much the second line of a paragraph is indented
_LONGEST_SHOWN = 1_000  # characters of a cell in a terminal, where a folded one takes a line each 80
_STYLES = {"here": "green", "better": "green", "worse": "red", "passed": "green", "failed": "bold red"}


@dataclass(frozen=True)
class Grid:
    """A table, of which one column (``whole``, by its place) is never folded; the others make room."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    whole: int = 0


class Typed(str):
    """A line of a page that people copy and type."""


Section = tuple[str, Sequence[str | Grid]]
"""A name, and its paragraphs and tables."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as text under a header: folded to the width of the terminal or, in a pipe, separated by tabs.

    Ids, or where there are none the first column, stay whole, for they are what is typed next. A cell stays one cell,
    whatever an entry or a file says in it.
    """
    if not is_terminal(sys.stdout):
        return "\n".join("\t".join(one_line(cell, most=LONGEST) for cell in row) for row in (header, *rows))
    return _rendered([_grid(Grid(header, rows, whole=header.index("ID") if "ID" in header else 0))])


def page(title: Sequence[str], sections: Iterable[Section], footer: str) -> str:
    """Sections beside their names, under a title: wrapped to the terminal, in a pipe a line for each paragraph."""
    kept = [(name, parts) for name, parts in sections if parts]
    if not is_terminal(sys.stdout):
        lines = [one_line(line, most=LONGEST) for line in title]
        body = [line for name, parts in kept for line in _plain_section(name, parts)]
        return "\n".join([*lines, "", *body, "", footer])
    from rich.text import Text

    console = _console()
    shown: list[RenderableType] = [Text(one_line(line, most=_LONGEST_SHOWN), "bold" if i == 0 else "")
                                   for i, line in enumerate(title)]  # fmt: skip
    shown.append(Text())
    for name, parts in kept:
        for i, part in enumerate(parts):
            label = f"{one_line(name) if i == 0 else '':{_LABELS}}"
            shown.append(_labelled(label, part) if isinstance(part, Grid) else _paragraph(label, part, console))
    return _rendered([*shown, Text(), Text(footer, style="dim")])


def width() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    return _console().width if is_terminal(sys.stdout) else None


def _plain_section(name: str, parts: Iterable[str | Grid]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        lines += [one_line(part, most=LONGEST)] if isinstance(part, str) else _aligned(part)
    return [f"{name if i == 0 else '':{_LABELS}}{line}" for i, line in enumerate(lines)]


def _aligned(grid: Grid) -> list[str]:
    lines = [[one_line(cell, most=LONGEST) for cell in row] for row in (grid.header, *grid.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(grid.header))]
    return ["  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip() for line in lines]


def _grid(grid: Grid) -> Table:
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, name in enumerate(grid.header):
        shown.add_column(Text(one_line(name)), no_wrap=column == grid.whole, overflow="fold")
    for row in grid.rows:
        cells = [one_line(cell, most=_LONGEST_SHOWN) for cell in row]
        shown.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    return shown


def _labelled(label: str, grid: Grid) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    beside = Table.grid(padding=0)
    beside.add_column(width=_LABELS, no_wrap=True)
    beside.add_row(Text(label, style="bold"), _grid(grid))
    return beside


def _paragraph(label: str, text: str, console: Console) -> RenderableType:
    """A paragraph folded under itself; what is to be typed stays one line, so that it can be copied."""
    from rich.text import Text

    shown = one_line(text, most=LONGEST)
    out = Text(label, style="bold")
    if isinstance(text, Typed):
        return out.append(shown, style="not bold")
    indent = len(shown) - len(shown.lstrip(" "))
    room = max(console.width - _LABELS - indent - _HANGING, 20)
    for i, line in enumerate(Text(shown.lstrip(" ")).wrap(console, room)):
        out.append("\n" + " " * (_LABELS + indent + _HANGING) if i else " " * indent, style="not bold")
        out.append(line.plain.rstrip(), style="not bold")
    return out


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _rendered(parts: Iterable[RenderableType]) -> str:
    from rich.text import Text

    console = _console()
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text))
    return "\n".join(line.rstrip(" ") for line in captured.get().rstrip("\n").split("\n"))
