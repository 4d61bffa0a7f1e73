"""Entries ordered by a score: best first, whichever way the score runs.

``rank`` takes the scores that entries state, as others published them: their names alone say which way is better.
``rank_results`` takes those that ``medzoo bench`` measured, each of which states its direction (``Scale.better``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from medzoo.catalog import RawEntry
from medzoo.errors import MedzooError

if TYPE_CHECKING:
    from medzoo.results import Result, ScoreRecord

Direction = Literal["lower", "higher", "nearest 0.5", "nearest to real"]

# For scores that others published: the last word of a metric's name that is in one of these says which way is better.
# Scores measured here never come to these lists, since their ``Scale`` says it.
_LOWER = {"FID", "KID", "FD", "MMD", "MSE", "MAE", "RMSE", "LPIPS", "NIQE", "LOSS"}
_HIGHER = {
    "RATIO",
    "IOU",
    "DICE",
    "F1",
    "AUC",
    "AUPRC",
    "ACCURACY",
    "SENSITIVITY",
    "SPECIFICITY",
    "PRECISION",
    "RECALL",
    "DENSITY",
    "COVERAGE",
    "SSIM",
    "PSNR",
    "IS",
}


@dataclass(frozen=True)
class Row:
    """One score; ``origin`` says whether others published it (``reported``), it was run here (``verified``), or it is
    a row of a benchmark: of a ``model``, a ``folder`` of images, or a ``reference`` point made of real ones."""

    model_id: str
    value: float
    origin: Literal["reported", "verified", "model", "folder", "reference"]
    protocol: str | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Ranking:
    """Scores of one metric, best first, and the ids of the entries that have none."""

    metric: str
    better: Direction
    rows: tuple[Row, ...]
    without: tuple[str, ...]


def rank(raw_entries: Sequence[RawEntry], metric: str) -> Ranking:
    """Order entries by a metric.

    Args:
        raw_entries: the entries.
        metric: its name in upper or lower case, or the end of a name where one metric alone has it ("IoU" for SEG_IOU).

    Raises:
        MedzooError: no entry has the metric, or the name means several; the message lists those known.
    """
    scores = [(raw.path.stem, name, row) for raw in raw_entries for name, row in _scores(raw.path.stem, raw.fields)]
    ids = [raw.path.stem for raw in raw_entries]
    name = _meant(metric, sorted({name for _, name, _ in scores}))
    better = direction(name)
    rows = sorted((row for _, other, row in scores if other == name), key=lambda row: _order(row.value, better))
    having = {row.model_id for row in rows}
    return Ranking(name, better, tuple(rows), tuple(model_id for model_id in ids if model_id not in having))


def rank_results(results: Sequence[Result], metric: str, features: str | None = None) -> Ranking:
    """Order the rows of a benchmark by a score, its reference points among them.

    Args:
        results: of one benchmark.
        metric: name of a score, such as ``kid``.
        features: the extractor it was measured in; None where there is only one.

    Raises:
        MedzooError: nobody has the score, or it was measured in several extractors; the message lists them.
    """
    wanted = metric.strip().lower().replace("-", "_").replace(" ", "_")
    having = [(result, score) for result in results for score in result.scores if score.name == wanted]
    if not having:
        known = sorted({score.name for result in results for score in result.scores})
        raise MedzooError(f"no result has a score named '{metric}'; there are: {', '.join(known) or 'none at all'}")
    kinds = sorted({str(score.features) for _, score in having})
    if features is None and len(kinds) > 1:
        raise MedzooError(f"{wanted} was measured in several features; choose one with --features: {', '.join(kinds)}")
    having = [(result, score) for result, score in having if features is None or score.features == features]
    if not having:
        raise MedzooError(f"{wanted} was not measured in features '{features}'; it was in: {', '.join(kinds)}")
    better, aim = _direction_of(having)
    rows = [
        Row(result.contender.id, score.value, result.contender.kind, score.note, score.low, score.high)
        for result, score in having
        if score.value is not None
    ]
    rows.sort(key=lambda row: abs(row.value - aim) if better == "nearest to real" else _order(row.value, better))
    measured = {row.model_id for row in rows}
    return Ranking(
        wanted,
        better,
        tuple(rows),
        tuple(result.contender.id for result in results if result.contender.id not in measured),
    )


def _direction_of(having: Sequence[tuple[Result, ScoreRecord]]) -> tuple[Direction, float]:
    """Which way a score is better, and the value of real images that one without a better way aims at."""
    better = having[0][1].better
    if better != "neither":
        return better, 0.0
    for result, score in having:
        aims = [score.value] if result.contender.id == "real" else []
        aims += [
            point.value
            for point in result.references.get("real", ())
            if (point.name, point.features) == (score.name, score.features)
        ]
        for aim in aims:
            if aim is not None:
                return "nearest to real", aim
    raise MedzooError(f"{having[0][1].name} has no better way, and the value of real images, its aim, was not measured")


def direction(metric: str) -> Direction:
    """Which way a published metric is better, by the words of its name.

    >>> direction("SEG_IOU"), direction("FID_RADIMAGENET")
    ('higher', 'lower')

    Raises:
        MedzooError: no word of its name says it.
    """
    parts = metric.upper().split("_")
    if parts[0] == "TURING":  # how often a person tells real from synthetic
        return "nearest 0.5"
    for part in reversed(parts):
        if part in _LOWER:
            return "lower"
        if part in _HIGHER:
            return "higher"
    raise MedzooError(f"nobody has said whether a high or a low {metric} is better; see medzoo info for its values")


def _scores(model_id: str, fields: Mapping[str, Any]) -> Iterable[tuple[str, Row]]:
    for score in fields["reported"]:
        yield str(score["metric"]).upper(), Row(model_id, score["value"], "reported", score["protocol"])
    for check in fields["verified"]:
        if check.get("metric") is not None and check.get("value") is not None:
            how = f"{check['how']} ({check['when']})"
            yield str(check["metric"]).upper(), Row(model_id, check["value"], "verified", how)


def _meant(metric: str, known: list[str]) -> str:
    wanted = metric.strip().upper().replace("-", "_").replace(" ", "_")
    if wanted in known:
        return wanted
    ending = [name for name in known if name.endswith("_" + wanted)]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise MedzooError(f"'{metric}' means several metrics: {', '.join(ending)}; type one of them")
    raise MedzooError(f"no entry has a score named '{metric}'; there are: {', '.join(known) or 'none at all'}")


def _order(value: float, better: Direction) -> float:
    return {"lower": value, "higher": -value, "nearest 0.5": abs(value - 0.5)}[better]
