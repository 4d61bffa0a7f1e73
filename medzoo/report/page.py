"""The report as one HTML file that needs nothing else: no script, no request, nothing from elsewhere.

A content security policy in the page forbids both, so that a text which slipped through unescaped could do nothing.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.metrics import Group
from medzoo.report import about, bars, charts, gallery, matrix, protocol, remarks, tables, verdict
from medzoo.report.board import Board, Column, Result, Row, build
from medzoo.report.numbers import number
from medzoo.report.pictures import Pictures
from medzoo.report.rendering import markup, render

_BEFORE = (
    ("verdict", "Verdict"), ("leaderboard", "Leaderboard"), ("differences", "Differences"), ("warnings", "Warnings"),
    ("reading", "How to read this"), ("samples", "Samples"),
)  # fmt: skip
"""Sections before those of the groups of scores."""


def html_page(
    results: Sequence[Result], pictures: Pictures | None = None, failed: Mapping[str, str] | None = None
) -> str:
    """The page of the results of one benchmark (dicts, as their JSON files hold them).

    Args:
        results: of one benchmark, reference points among them or not.
        pictures: to show beside the numbers.
        failed: contender -> why nothing of it could be measured.
    """
    board = build(results)
    parts: dict[str, Any] = {
        "verdict": verdicts(board),
        "leaderboard": leaderboard(board),
        "differences": matrix.matrices(board),
        "warnings": remarks.grouped(board, results, failed),
        "reading": [
            remarks.GROUND,
            f"{remarks.ARROWS} Below every table stands what its scores measure, and what the reference points have.",
            remarks.DISAGREE,
        ],
        "samples": gallery.samples(board, pictures),
        "groups": [_group(board, group, pictures) for group in board.groups],
        "protocol": protocol.section(board, results) if results else None,
    }
    contents = [(name, words) for name, words in _BEFORE if parts[name]]
    contents += [(group.name, group.title) for group in board.groups]
    contents += [("protocol", "Protocol")] if results else []
    return render(
        "page.html", **parts, title=about.title(results), notes=about.notes(results), honest=remarks.HONEST,
        glance=_glance(board, results), patients=gallery.shows_patients(board, pictures), contents=contents,
        order=_order(board), differences_about=matrix.ABOUT, download=_download(results),
    )  # fmt: skip


def html_index(title: str, benchmarks: Sequence[tuple[Sequence[Result], str]]) -> str:
    """A page of several benchmarks, each with its verdicts and its first table.

    Args:
        benchmarks: the results of each, and the file of its own page.
    """
    shown = []
    for results, page in benchmarks:
        board = build(results)
        setting = results[0]["benchmark"]
        shown.append({
            "name": f"benchmark-{setting.get('name')}", "title": about.title(results), "notes": about.notes(results),
            "page": page, "verdicts": verdicts(board), "leaderboard": leaderboard(board, links=False),
        })  # fmt: skip
    contents = [(one["name"], one["title"]) for one in shown]
    return render("site.html", title=title, honest=remarks.HONEST, contents=contents, benchmarks=shown)


def verdicts(board: Board) -> list[dict[str, Any]]:
    """The sentences about each contender, for the template."""
    return [tables.name(row) | {"sentences": verdict.of_row(board, row)} for row in board.contenders]


def leaderboard(board: Board, links: bool = True) -> dict[str, Any] | None:
    """The first table, for the template; None where nothing was measured."""
    columns = board.headline()
    return tables.scores(board, columns, "Leaderboard", grouped=True, links=links) if columns else None


def _glance(board: Board, results: Sequence[Result]) -> list[tuple[str, str]]:
    """What was compared with what, at a glance."""
    if not results:
        return []
    setting, data = results[0]["benchmark"], results[0]["data"]
    image = setting.get("image") or {}
    facts = [
        ("Data", setting.get("dataset")),
        ("Held-out real images", (data.get("real") or {}).get("n")),
        ("Images of each generator", _count(board) or setting.get("n")),
        ("Size", f"{image['size']} px" if image.get("size") else None),
        ("Seeds", protocol.said(setting.get("seeds"))),
        ("Features", protocol.said(setting.get("features"))),
        ("Generators", len(board.contenders)),
    ]
    return [(what, str(value)) for what, value in facts if value is not None]


def _count(board: Board) -> str:
    """How many images the contenders had: "300", or "300 to 712"."""
    found = [((row.result or {}).get("data") or {}).get("fake") or {} for row in board.contenders]
    counts = sorted({int(n) for one in found if (n := number(one.get("n"))) is not None})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else ""


def _order(board: Board) -> str:
    columns = board.headline()
    lead = next((column for column in columns if column.arrow), columns[0]) if columns else None
    return f"Best {lead.title} first; 95 % intervals below the values. {remarks.MARKS}" if lead else ""


def _group(board: Board, group: Group, pictures: Pictures | None) -> dict[str, Any]:
    columns = board.of(group.name)
    drawn = {
        "coverage": lambda: [charts.precision_recall(board)],
        "frequency": lambda: [charts.spectrum(board)],
        "usefulness": lambda: [*bars.usefulness(board), charts.fidelity_usefulness(board)],
    }.get(group.name, list)()
    said = []
    if group.name == "usefulness":
        said = [remarks.DISAGREE, remarks.agreement(board)]
    elif group.name == "cost":
        said = [remarks.cost_machine(board.contenders)]
    return {
        "name": group.name, "title": group.title, "question": group.question,
        "table": tables.scores(board, columns, group.title, grouped=False),
        "charts": [markup(chart) for chart in drawn if chart],
        "gains": bars.gains(board) if group.name == "usefulness" else [],
        "remarks": [words for words in said if words],
        "near": _neighbours(board, pictures) if group.name == "memorisation" else [],
        "meanings": _meanings(board, columns),
    }  # fmt: skip


def _meanings(board: Board, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """What each score measures, with its reference points."""
    rows = []
    for i, column in enumerate(columns):
        if any(earlier.key[0] == column.key[0] for earlier in columns[:i]):
            continue  # the same score in another extractor
        points = []
        for other in columns:
            if other.key[0] == column.key[0]:
                extractor = f"{other.key[1]}: " if board.several and other.key[1] else ""
                points.append(extractor + remarks.reading(board, other))
        rows.append({"name": f"{column.title} {column.arrow}".strip(), "about": column.about, "points": points})
    return rows


def _neighbours(board: Board, pictures: Pictures | None) -> list[dict[str, Any]]:
    """Histograms of distances and closest pairs of each contender."""
    rows = []
    for row in board.rows:
        drawn, near = [markup(chart) for chart in _histograms(row)], gallery.pairs(row, pictures)
        if drawn or near:
            rows.append(tables.name(row) | {"charts": drawn, "pairs": near})
    return rows


def _histograms(row: Row) -> list[str]:
    if row.result is None or row.place < 0:
        return []
    drawn = []
    for i, score in enumerate(row.result["scores"]):
        detail = score.get("detail")
        if score["group"] == "memorisation" and isinstance(detail, Mapping):
            space = detail.get("space")
            unit = f"{score['features']} features" if space != "pixels" and score.get("features") else "pixels"
            if chart := charts.distances(row, detail, f"distances-{row.place}-{i}", unit):
                drawn.append(chart)
    return drawn


def _download(results: Sequence[Result]) -> dict[str, str]:
    """All numbers, as a link that holds them."""
    text = json.dumps(_plain(list(results)), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = base64.b64encode(text.encode()).decode()
    name = str(results[0]["benchmark"].get("name") or "results") if results else "results"
    return {"name": name, "link": f"data:application/json;base64,{data}"}


def _plain(value: Any) -> Any:
    """JSON has no nan: null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
