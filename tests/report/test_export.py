"""CSV, DataFrame and figures of a report, and files that are written whole."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from medzoo import report
from medzoo.errors import ResultError
from tests.tools.report_case import edit, results


def test_csv_has_every_score_with_every_digit() -> None:
    rows = results()
    edit(rows[-4], "kid", value=0.123456789012345, note="=cmd|' /C calc'!A0")
    found = list(csv.DictReader(io.StringIO(report.csv_text(rows))))
    assert len(found) == sum(len(row["scores"]) for row in rows) and tuple(found[0]) == report.COLUMNS
    kid = next(one for one in found if one["score"] == "kid" and one["contender"].startswith("10001"))
    assert float(kid["value"]) == 0.123456789012345 and float(kid["real"]) == -0.0002 and kid["n"] == "712"
    assert kid["note"].startswith("'=")  # a spreadsheet would run it


def test_dataframe_is_the_same_table() -> None:
    pytest.importorskip("pandas")
    frame = report.dataframe(results())
    assert tuple(frame.columns) == report.COLUMNS
    kid = frame[(frame.score == "kid") & (frame.kind == "model")]
    assert kid.value.tolist() == [0.0868, 0.1514, 0.0812]


def test_figures_are_svg_and_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = report.write_figures(results(), tmp_path / "figures")
    names = ("scores", "precision_recall", "spectrum", "usefulness")
    assert [path.name for path in written] == [f"{name}.{kind}" for name in names for kind in ("svg", "png")]
    assert all(path.read_bytes()[:4] in (b"<?xm", b"\x89PNG") for path in written)
    again = report.write_figures(results(), tmp_path / "again")
    assert [one.read_bytes() for one in written if one.suffix == ".svg"] == [
        one.read_bytes() for one in again if one.suffix == ".svg"
    ]
    assert report.write_figures([], tmp_path / "none") == []


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="cannot be written"):
        report.write(tmp_path / "nowhere" / "page.html", "x")
    page = report.write(tmp_path / "page.html", "x")
    assert page.read_text() == "x" and [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_several_benchmarks_are_one_page() -> None:
    one, other = results(), results(2)
    for row in other:
        row["benchmark"] |= {"name": "other", "title": "Other <b>images</b>"}
    page = report.html_index("All", [(one, "a.html"), (other, "b.html")])
    assert 'href="a.html"' in page and 'id="benchmark-other"' in page and "&lt;b&gt;images" in page
    assert "do not compare them" in page
