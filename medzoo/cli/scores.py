"""The table of scores on the page of ``medzoo info``: this model, real images in the same run, and what that says.

Read from stored results of ``medzoo bench``, of the revision of the model that the entry states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medzoo import catalog, results
from medzoo.cli.table import Grid
from medzoo.errors import ResultError

if TYPE_CHECKING:
    from medzoo.entry import Entry
    from medzoo.results import ReferenceScore, Result, ScoreRecord

SAME = "no clear difference"
_HEADER = ("SCORE", "MODEL", "REAL", "VERDICT")


def measured(entry: Entry, own: Path | None = None, *, full: bool = False) -> list[str | Grid]:
    """A heading and a table for each benchmark that has a result of the entry.

    Args:
        own: folder of results beside those that came along.
        full: every score, not one or two of each group.
    """
    parts: list[str | Grid] = []
    for result in _found(entry, own):
        rows = [_row(result, score) for score in _chosen(result, full)]
        if rows:
            data, made = result.data, result.benchmark
            counts = [part.get("n") for part in (data.get("fake"), data.get("real")) if isinstance(part, dict)]
            of = f": {counts[0]} samples against {counts[1]} real images" if len(counts) == 2 else ""
            parts += [f"{made.get('title') or made.get('name')}{of}", Grid(_HEADER, rows, whole=3)]
    return parts


def verdict(score: ScoreRecord, real: ReferenceScore | None) -> str:
    """Whether a model does better or worse than real images, by their intervals: in plain words.

    Where a score of usefulness states what the samples change (``gain``), that decides, for it compares in pairs.
    """
    gain = score.detail if isinstance(score.detail, dict) else {}
    low, high = gain.get("gain_low"), gain.get("gain_high")
    if isinstance(low, int | float) and isinstance(high, int | float):
        return "better" if low > 0 else "worse" if high < 0 else SAME
    if real is None or score.value is None or real.value is None:
        return "-"
    mine, theirs = _interval(score), _interval(real)
    if mine[0] <= theirs[1] and theirs[0] <= mine[1]:
        return SAME
    above = score.value > real.value
    if score.better == "neither":
        return "higher than real" if above else "lower than real"
    return "better" if above == (score.better == "higher") else "worse"


def _interval(score: ScoreRecord | ReferenceScore) -> tuple[float, float]:
    value = score.value or 0.0
    return (value if score.low is None else score.low, value if score.high is None else score.high)


def _found(entry: Entry, own: Path | None) -> Iterator[Result]:
    """Results of this revision, one for each benchmark, those that came along first."""
    seen = set()
    for folder in results.folders(own, catalog.folders()):
        for path in sorted((folder / entry.model_id / entry.revision).glob("*.json")):
            try:
                result = results.read(path)
            except ResultError:  # medzoo bench and medzoo rank say what is wrong with it
                continue
            if result is not None and path.stem not in seen:
                seen.add(path.stem)
                yield result


def _chosen(result: Result, full: bool) -> Iterator[ScoreRecord]:
    from medzoo.metrics import GROUPS

    for group in GROUPS:
        scores = [score for score in result.scores if score.group == group.name and score.value is not None]
        if full:
            yield from scores
        elif group.name != "cost":
            names = [name for name in group.first if any(score.name == name for score in scores)]
            yield from (_first(scores, name) for name in names[: group.headline])


def _first(scores: Iterable[ScoreRecord], name: str) -> ScoreRecord:
    return next(score for score in scores if score.name == name)


def _row(result: Result, score: ScoreRecord) -> list[str]:
    from medzoo.report.board import titled

    real = next(
        (
            point
            for point in result.references.get("real", ())
            if (point.name, point.features) == (_counterpart(score.name), score.features)
        ),
        None,
    )
    shown = "-" if real is None else _shown(real.value, score.percent)
    return [
        titled(score.name, score.title, score.group),
        _shown(score.value, score.percent),
        shown,
        verdict(score, real),
    ]


def _counterpart(name: str) -> str:
    """What real images are measured by: those beside which synthetic ones were added are the same, without them."""
    stem, _, times = name.rpartition("_")
    return stem if times.endswith("x") and times[:1].isdigit() else name


def _shown(value: float | None, percent: bool) -> str:
    from medzoo.report.numbers import short

    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if percent else short(value)
