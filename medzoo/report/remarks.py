"""What a reader has to know beside the numbers, in plain sentences (no markup)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report import sizes
from medzoo.report.board import Board, Column, Result, Row
from medzoo.report.charts import trade
from medzoo.report.numbers import number, shown

HONEST = "Synthetic images for research. Nothing here claims clinical use."
_AIM = re.compile(r"real -?[\d.]+(e[+-]?\d+)?")
OF_SCORES = "Some scores have limits of their own, most of them for few images (docs/benchmarks.md, Warnings)."
FEW = 1000  # held-out images below which intervals are wide enough to say so

MARKS = (
    "★ marks the best of the models and folders in a column, ☆ one whose 95 % interval meets that of the best: such "
    "a difference may be chance. Reference points take no part."
)
GROUND = (
    "A number says little alone, so reference points were measured in the same run. “real” is the floor: real images "
    "given as if they had been generated, which no generator is expected to beat. “blur” and “noise” are real images "
    "made worse: a generator beside them is bad. “copies” are training images hardly changed: near perfect by every "
    "distance, and caught only by the scores of memorisation."
)
ARROWS = (
    "An arrow says which way is better: ↓ lower, ↑ higher, ≈ nearer to real. Intervals hold 95 % of what drawing the "
    "images anew would give; they do not know of another training of the generator."
)
DISAGREE = (
    "Looking like real images and being useful are different things: in the literature the two disagree (a model "
    "with an FID of 81.7 gave the best accuracy), so both are shown."
)


def grouped(board: Board, results: Sequence[Result], failed: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """What limits these numbers: few images, what could not be measured, what should not be compared.

    Each as ``words``, with ``more`` beneath: what is about single scores is put away.
    """
    rows: list[dict[str, Any]] = [{"words": words, "more": []} for words in _limits(board, results, failed)]
    if of_scores := notes(board):
        rows.append({"words": OF_SCORES, "more": of_scores})
    return rows


def _limits(board: Board, results: Sequence[Result], failed: Mapping[str, str] | None) -> list[str]:
    sentences = [f"{name} could not be measured: {why}" for name, why in (failed or {}).items()]
    for result in results:
        sentences += [
            f"{result['contender']['id']}: {name} was not measured: {why}" for name, why in result["failed"].items()
        ]
    sentences += _left_out(results) + sizes.size_notes(results) + _few(board, results) + _unlike(board, results)
    if board.contenders and not any(row.role == "floor" for row in board.references):
        sentences.append(
            "The floor, real images against real images, was not measured: distances have nothing to be read against."
        )
    return sentences


def agreement(board: Board) -> str:
    """Whether fidelity and usefulness order these contenders alike."""
    pair = trade(board)
    if pair is None:
        return ""
    points = [(row.cell(pair[0]).value, row.cell(pair[1]).value) for row in board.contenders]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    names = f"{pair[0].title} and {pair[1].title}"
    if len(known) < 3:
        return f"Whether they agree here: too few models to say ({names} of {len(known)})."
    signs = [-1.0 if column.better == "lower" else 1.0 for column in pair]
    rho = rank_correlation([signs[0] * x for x, _ in known], [signs[1] * y for _, y in known])
    if rho is None:
        return f"Whether they agree here cannot be said: all values of {names} are equal."
    verdict = "they agree" if rho >= 0.5 else "they disagree" if rho <= -0.5 else "there is no clear relation"
    orders = math.factorial(len(known))
    chance = (
        f" With {len(known)} models, a perfect order comes about by chance once in {orders} times."
        if len(known) < 7
        else ""
    )
    shown_rho = f"{rho:+.2f}".replace("-", "−")
    return (
        f"Here {verdict}: the rank correlation of {names} over {len(known)} models is {shown_rho} "
        f"(+1: the better by one, the better by the other).{chance}"
    )


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's coefficient, equal values sharing their mean rank; None where all of one side are equal."""
    a, b = _ranks(xs), _ranks(ys)
    middle = (len(a) - 1) / 2
    spread = math.sqrt(sum((i - middle) ** 2 for i in a) * sum((j - middle) ** 2 for j in b))
    return sum((i - middle) * (j - middle) for i, j in zip(a, b, strict=True)) / spread if spread else None


def _left_out(results: Sequence[Result]) -> list[str]:
    """Metrics of the benchmark that no row has, and that nothing failed at."""
    rows = [result for result in results if result["contender"]["kind"] != "reference"]
    known = {score["metric"] for result in rows for score in result["scores"]}
    known |= {name for result in rows for name in result["failed"]}
    left = [str(name) for name in (rows[0]["benchmark"].get("metrics") or ()) if name not in known] if rows else []
    if "cost" in left and all(result["contender"]["kind"] == "folder" for result in rows):
        left.remove("cost")  # of models alone
    return [f"Left out of this run: {', '.join(left)}. A run without --quick or --only adds them."] if left else []


def _few(board: Board, results: Sequence[Result]) -> list[str]:
    sentences = []
    first = results[0] if results else None
    if first is None:
        return []
    counts = first["data"]
    real = number((counts.get("real") or {}).get("n"))
    fake = [
        number((result["data"].get("fake") or {}).get("n"))
        for result in results
        if result["contender"]["kind"] != "reference"
    ]
    least = min((n for n in [real, *fake, number(first["benchmark"].get("n"))] if n is not None), default=None)
    for name, about in _extractors(results).items():
        width = number(about.get("dim"))
        measured = [
            column
            for column in board.columns
            if column.key[1] == name and column.key[0] in ("fd", "mifid", "fd_infinity")
        ]
        if width and least is not None and least < width and measured:
            instead = [
                c.title for c in board.columns if c.key[1] == name and c.key[0] in ("fd_infinity", "kid", "cmmd")
            ]
            advice = f" Rather read {' or '.join(instead)}." if instead else ""
            sentences.append(
                f"{least:.0f} images are fewer than the {width:.0f} numbers of a feature of {name}: "
                f"Fréchet distances come out too large, and compare only between like numbers of images.{advice}"
            )
    if real is not None and real < FEW:
        sentences.append(
            f"There are only {real:.0f} held-out real images: small differences mean nothing; look at the intervals."
        )
    return sentences


def _unlike(board: Board, results: Sequence[Result]) -> list[str]:
    """Results side by side that were not measured alike."""
    sentences = []
    settings: dict[str, Any] = {
        "settings of the benchmark": lambda result: result["benchmark"].get("revision"),
        "held-out real images": lambda result: (result["data"].get("real") or {}).get("sha256"),
        "training images": lambda result: (result["data"].get("training") or {}).get("sha256"),
    }
    for name in _extractors(results):
        settings[f"weights of {name}"] = lambda result, name=name: (result["extractors"].get(name) or {}).get(
            "weights_sha256"
        )
    for what, get in settings.items():
        if len({value for result in results if (value := get(result)) is not None}) > 1:
            sentences.append(f"The rows differ in the {what}: their numbers cannot be compared.")
    versions: dict[Any, set[Any]] = {}
    for result in results:
        for score in result["scores"]:
            versions.setdefault((score["name"], score.get("features")), set()).add(score.get("version"))
    for column in board.columns:
        if len(versions.get(column.key, ())) > 1:
            sentences.append(f"{column.title} was measured with different versions of its formula: measure again.")
    costly = [result for result in results if any(score["group"] == "cost" for score in result["scores"])]
    if (
        len(
            {
                (result["made"].get("cpu"), result["made"].get("device"), result["made"].get("threads"))
                for result in costly
            }
        )
        > 1
    ):
        sentences.append("The rows were measured on different machines or threads: their costs cannot be compared.")
    return sentences


def notes(board: Board) -> list[str]:
    """Notes of scores, each once, with those it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for row in board.contenders:
        for column in board.columns:
            note = row.cell(column).note
            if note and not _AIM.fullmatch(str(note)):  # "real 0.13" is no warning: ``reading`` says it
                about.setdefault((column.title, str(note)), []).append(row.label)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (title, note), rows in about.items():
        alike.setdefault((note, tuple(rows)), []).append(title)
    return [
        f"{', '.join(titles)}{'' if len(rows) == len(board.contenders) else ' of ' + ', '.join(rows)}: {note}"
        for (note, rows), titles in alike.items()
    ]


def cost_machine(rows: Sequence[Row]) -> str:
    """What costs were measured on, where it was one machine."""
    machines = {
        f"{made.get('device') or 'cpu'}, {made.get('cpu') or 'unknown processor'}, {made.get('threads') or '?'} threads"
        for row in rows
        if row.result and (made := row.result["made"])
    }
    return f"Measured on: {machines.pop()}." if len(machines) == 1 else ""


def reading(board: Board, column: Column) -> str:
    """A score's direction and its reference points: "Lower is better; floor 59.1, known-bad 161 to 260."."""
    by_role: dict[str, list[float]] = {}
    for row in board.references:
        value = row.cell(column).value
        if value is not None and (row.role == "floor" or value not in by_role.get("floor", ())):
            by_role.setdefault("copies" if row.role == "memorising" else row.role, []).append(value)
    points = [f"{role} {_range(values, column)}" for role, values in by_role.items()]
    if column.better == "neither" and (held := _held_out(board, column)) is not None:
        points.insert(0, f"held-out real {shown(held, column.places, column.percent)}")
    way = column.direction[0].upper() + column.direction[1:]
    return f"{way}; {', '.join(points)}." if points else f"{way}."


def _held_out(board: Board, column: Column) -> float | None:
    """The same number of the held-out real images, which some scores keep beside that of generated ones."""
    for row in board.contenders:
        for score in row.result["scores"] if row.result else ():
            detail = score.get("detail")
            if (score["name"], score.get("features")) == column.key and isinstance(detail, Mapping):
                return number(detail.get("real"))
    return None


def _range(values: Sequence[float], column: Column) -> str:
    ends = [shown(value, column.places, column.percent) for value in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _extractors(results: Sequence[Result]) -> dict[str, Mapping[str, Any]]:
    return {str(name): about for result in results for name, about in result["extractors"].items()}


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
