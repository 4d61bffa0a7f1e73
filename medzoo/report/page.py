"""The report as one HTML file that needs nothing else: no script, no request, nothing from elsewhere.

A content security policy in the page forbids both, so that a text which slipped through unescaped could do nothing.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from medzoo.metrics import Group
from medzoo.report import bars, charts, gallery, protocol, remarks, tables
from medzoo.report.board import Board, Column, Result, Row, build
from medzoo.report.pictures import LARGEST, Pictures

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


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
    first = results[0]["benchmark"] if results else {}
    title = str(first.get("title") or first.get("name") or "Benchmark of generators")
    sections = [
        ("leaderboard", "Leaderboard", _leaderboard(board)),
        ("warnings", "Warnings", _list(remarks.warnings(board, results, failed))),
        ("reading", "How to read this", _reading()),
        ("samples", "Samples", _samples(board, pictures)),
        *((group.name, group.title, _group(board, group, pictures)) for group in board.groups),
        ("protocol", "Protocol", protocol.section(board, results)),
    ]
    there = [(name, words, content) for name, words, content in sections if content]
    links = "".join(f'<li><a href="#{escape(name)}">{escape(words)}</a></li>' for name, words, _ in there)
    body = "".join(
        f'<section id="{escape(name)}" aria-labelledby="{escape(name)}-h">'
        f'<h2 id="{escape(name)}-h">{escape(words)}</h2>{content}</section>'
        for name, words, content in there
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>"
        f'<header><p class="made">medzoo bench</p><h1>{escape(title)}</h1><p class="honest">{remarks.HONEST}</p>'
        f"{_facts(board, results)}{_about(first)}{_patients(board, pictures)}</header>"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav><main>{body}</main>'
        f"<footer>{_download(results)}</footer></body></html>\n"
    )


def _about(setting: Mapping[str, Any]) -> str:
    return f'<p class="about">{escape(str(setting["notes"]))}</p>' if setting.get("notes") else ""


def _facts(board: Board, results: Sequence[Result]) -> str:
    """What was compared with what, at a glance."""
    if not results:
        return '<p class="quiet">No results.</p>'
    setting, data = results[0]["benchmark"], results[0]["data"]
    facts = [
        ("Data", setting.get("dataset")),
        ("Held-out real images", (data.get("real") or {}).get("n")),
        ("Images of each generator", setting.get("n")),
        ("Seeds", protocol.said(setting.get("seeds"))),
        ("Features", protocol.said(setting.get("features"))),
        ("Generators", len(board.contenders)),
    ]
    rows = "".join(
        f"<div><dt>{what}</dt><dd>{tables.breakable(str(value))}</dd></div>"
        for what, value in facts
        if value is not None
    )
    return f'<dl class="glance">{rows}</dl>'


def _leaderboard(board: Board) -> str:
    columns = board.headline()
    if not columns:
        return ""
    lead = next((column for column in columns if column.arrow), columns[0])
    order = f"Best {lead.title} first; 95 % intervals below the values. {remarks.MARKS}"
    return f'{tables.scores(board, columns, "Leaderboard", grouped=True)}<p class="quiet">{escape(order)}</p>'


def _reading() -> str:
    return (
        f"<p>{escape(remarks.GROUND)}</p><p>{escape(remarks.ARROWS)} Below every table stands what its scores "
        f"measure, and what the reference points have.</p><p>{escape(remarks.DISAGREE)}</p>"
    )


def _samples(board: Board, pictures: Pictures | None) -> str:
    rows = gallery.strips(board, pictures) if pictures else ""
    if not rows or pictures is None:
        return ""
    same = "Picture i of every generator was made with the same seed and index; none was chosen."
    return f'<p class="quiet">{same} Shown at {LARGEST} pixels at most, as JPEG where that is smaller.</p>{rows}'


def _patients(board: Board, pictures: Pictures | None) -> str:
    if not gallery.shows_patients(board, pictures):
        return ""
    return (
        '<p class="patients"><strong>This page shows images of real people.</strong> They are marked as real. Mind the '
        'licence of the data (see <a href="#protocol">Protocol</a>) before passing this page on.</p>'
    )


def _group(board: Board, group: Group, pictures: Pictures | None) -> str:
    columns = board.of(group.name)
    question = f'<p class="question">{escape(group.question)}</p>' if group.question else ""
    drawn = {
        "coverage": lambda: [charts.precision_recall(board)],
        "frequency": lambda: [charts.spectrum(board)],
        "usefulness": lambda: [*bars.usefulness(board), charts.fidelity_usefulness(board)],
    }.get(group.name, list)()
    plots = [f'<div class="chart">{chart}</div>' for chart in drawn if chart]
    more = ""
    if group.name == "memorisation":
        more = _neighbours(board, pictures)
    elif group.name == "usefulness":
        more = _list(bars.gains(board))
        more += "".join(f"<p>{escape(words)}</p>" for words in (remarks.DISAGREE, remarks.agreement(board)) if words)
    elif group.name == "cost" and (machine := remarks.cost_machine(board.contenders)):
        more = f"<p>{escape(machine)}</p>"
    meanings = _meanings(board, columns)
    if len(plots) == 1:  # one chart leaves room beside it
        below = f'<div class="beside">{plots[0]}<div>{more}{meanings}</div></div>'
    else:
        below = (f'<div class="charts">{"".join(plots)}</div>' if plots else "") + more + meanings
    return f"{question}{tables.scores(board, columns, group.title, grouped=False)}{below}"


def _meanings(board: Board, columns: Sequence[Column]) -> str:
    """What each score measures, with its reference points."""
    rows = []
    for i, column in enumerate(columns):
        if any(earlier.key[0] == column.key[0] for earlier in columns[:i]):
            continue  # the same score in another extractor
        points = ""
        for other in columns:
            if other.key[0] == column.key[0]:
                extractor = f"{other.key[1]}: " if board.several and other.key[1] else ""
                points += (
                    f'<span class="points">{escape(extractor + tables.minus(remarks.reading(board, other)))}</span>'
                )
        name = f"{column.title} {column.arrow}".strip()
        rows.append(f"<div><dt>{escape(name)}</dt><dd>{escape(column.about)} {points}</dd></div>")
    return f'<dl class="meanings">{"".join(rows)}</dl>'


def _neighbours(board: Board, pictures: Pictures | None) -> str:
    """Histograms of distances and closest pairs of each contender."""
    blocks = []
    for row in board.rows:
        drawn = "".join(f'<div class="chart">{chart}</div>' for chart in _histograms(row))
        beside = gallery.pairs(board, row, pictures)
        if drawn or beside:
            both = f'<div class="near"><div>{drawn}</div><div>{beside}</div></div>'
            content = both if drawn and beside else f'<div class="charts">{drawn}</div>' if drawn else beside
            blocks.append(f'<div class="row"><h3>{tables.name(row)}</h3>{content}</div>')
    return "".join(blocks)


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


def _list(words: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in words)}</ul>" if words else ""


def _download(results: Sequence[Result]) -> str:
    text = json.dumps(_plain(list(results)), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    data = base64.b64encode(text.encode()).decode()
    name = escape(str(results[0]["benchmark"].get("name") or "results") if results else "results")
    return (
        f'<p><a download="{name}.json" href="data:application/json;base64,{data}">All numbers as JSON</a> '
        "(with every digit, seed and setting; inside this file).</p>"
    )


def _plain(value: Any) -> Any:
    """JSON has no nan: null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _style() -> str:
    return (Path(__file__).parent / "style" / "page.css").read_text(encoding="utf-8")
