"""Tables: aligned columns in a terminal, tabs in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from medzoo.files.streams import is_terminal
from medzoo.text import LONGEST, one_line

_WIDEST = 16  # of a column in the middle; ids are never cut


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as text: aligned and cut to the terminal or, in a pipe, complete, separated by tabs and without a header.

    A cell stays one cell on one line, whatever an entry or a file says in it.
    """
    rows = [[one_line(cell, most=LONGEST) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        return "\n".join("\t".join(row) for row in rows)
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for column, name in enumerate(header):
        if name != "ID" and 0 < column < len(header) - 1:
            widths[column] = min(widths[column], _WIDEST)
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(room, 20))
    return "\n".join("  ".join(map(_fit, line, widths)).rstrip() for line in lines)


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"
