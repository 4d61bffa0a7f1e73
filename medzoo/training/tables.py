"""``log.csv`` and ``heldout.csv``: numbers under a header, separated by commas, with ``step`` first."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from medzoo.errors import TrainingError
from medzoo.files.reading import read_bytes
from medzoo.files.whole import appending, write_bytes


def read_table(path: Path) -> list[dict[str, float]]:
    """The rows of a table; none where there is no file. A last line that was cut off is left out.

    Raises TrainingError: it is not as this program wrote it.
    """
    header, lines = _lines(path)
    return [dict(zip(header, _numbers(path, at, line, len(header)), strict=True)) for at, line in enumerate(lines, 2)]


def add_row(path: Path, row: Mapping[str, float | int]) -> None:
    """Add one line, beneath a header if it is the first. Raises OSError."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    with appending(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            writer.writeheader()
        writer.writerow({key: value if isinstance(value, int) else f"{value:.6g}" for key, value in row.items()})
        rest = memoryview(text.getvalue().encode())
        while rest:
            rest = rest[file.write(rest) :]


def forget_after(path: Path, step: int) -> None:
    """Drop the lines that a resumed run will write again, and one that was cut off. Raises OSError, TrainingError."""
    if not path.exists():
        return
    header, lines = _lines(path)
    kept = [line for at, line in enumerate(lines, 2) if _numbers(path, at, line, len(header))[0] <= step]
    write_bytes(path, "".join(f"{line}\n" for line in ([",".join(header)] if header else []) + kept).encode())


def _lines(path: Path) -> tuple[list[str], list[str]]:
    """The names of the columns, and the whole lines beneath them; nothing where there is no file or no whole line."""
    try:
        content = read_bytes(path)
        *lines, _ = content.decode("utf-8").split("\n")
    except FileNotFoundError:
        return [], []
    except UnicodeDecodeError:
        raise _damaged(path, "it is no UTF-8 text") from None
    except OSError as error:
        raise _damaged(path, str(error)) from None
    if not lines:
        return [], []
    header, *rows = lines
    names = header.split(",")
    if names[0] != "step" or len(set(names)) < len(names) or not header.isprintable():
        raise _damaged(path, f"line 1: expected names of columns, 'step' first, found '{header[:80]}'")
    return names, rows


def _numbers(path: Path, at: int, line: str, columns: int) -> list[float]:
    try:
        numbers = [float(number) for number in line.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != columns or line != line.strip():
        raise _damaged(path, f"line {at}: expected {columns} numbers and commas between them, found '{line[:80]}'")
    return numbers


def _damaged(path: Path, why: str) -> TrainingError:
    return TrainingError(
        f"{path}: not a table that this program wrote ({why}); restore it from a copy, or delete it: the run goes on "
        "without the lines that it has"
    )
