"""Results as a flat table, one row a score (CSV, pandas), and files of a report written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.errors import ResultError, pip_install
from medzoo.files import whole
from medzoo.report.board import Result

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "benchmark", "contender", "kind", "revision", "score", "title", "group", "features", "better", "value", "low",
    "high", "error", "real", "seeds", "n", "n_real", "note",
)  # fmt: skip
"""``real``: the same score of the reference point ``real``; ``n``, ``n_real``: generated and held-out images."""


def rows(results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    """One row for each score of each contender and reference point; every digit, None where there is no number."""
    for result in results:
        who, data = result["contender"], result["data"]
        floor = {(one["name"], one.get("features")): one.get("value") for one in result["references"].get("real", ())}
        for score in result["scores"]:
            yield {
                "benchmark": result["benchmark"].get("name"), "contender": who["id"], "kind": who["kind"],
                "revision": who["revision"], "score": score["name"], "title": score["title"], "group": score["group"],
                "features": score.get("features"), "better": score["better"], "value": score["value"],
                "low": score["low"], "high": score["high"], "error": score.get("error"),
                "real": floor.get((score["name"], score.get("features"))), "seeds": len(score.get("seeds") or ()),
                "n": (data.get("fake") or {}).get("n"), "n_real": (data.get("real") or {}).get("n"),
                "note": score.get("note"),
            }  # fmt: skip


def csv_text(results: Sequence[Result]) -> str:
    """The rows as CSV."""
    return as_csv(COLUMNS, rows(results))


def as_csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a header. Text that a spreadsheet would take for a formula begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


def dataframe(results: Sequence[Result]) -> pandas.DataFrame:
    """The rows as a pandas DataFrame. Raises ResultError: pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise ResultError(f"a DataFrame needs pandas; type: {pip_install('medzoo[table]')}") from None
    return pandas.DataFrame(list(rows(results)), columns=list(COLUMNS))


def write(path: Path, content: str | bytes, *, folders: bool = False) -> Path:
    """Write a file of a report, whole or not at all; ``folders``: make those it is to lie in. Raises ResultError."""
    with whole.disk_errors(path, ResultError, denied="choose another place"):
        if folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(path, content.encode() if isinstance(content, str) else content)
    return path


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
