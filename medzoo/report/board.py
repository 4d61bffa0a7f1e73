"""Results of one benchmark as a table: which columns, which rows, which value is best. Knows no output format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medzoo.metrics import Group, group_of, place_of
from medzoo.report.numbers import decimals, number, shown, span

Result = Mapping[str, Any]  # the JSON of one result file
Key = tuple[str, str | None]  # name of a score, extractor

_UNITS = {"_per_s": "", "_s": ", s", "_mb": ", MB"}  # how names of costs end
_REFERENCES = ("real", "blur", "noise", "copies")  # order of rows, by how their ids begin


@dataclass(frozen=True)
class Column:
    """One score in one extractor.

    Attributes:
        places: decimals that its numbers are written with.
        aim: value of real images, for a score that is neither better lower nor higher; None where it is not known.
    """

    key: Key
    title: str
    group: str
    better: str
    percent: bool
    about: str
    places: int
    aim: float | None = None

    @property
    def arrow(self) -> str:
        return {"lower": "↓", "higher": "↑"}.get(self.better, "≈" if self.aim is not None else "")

    @property
    def direction(self) -> str:
        known = {"lower": "lower is better", "higher": "higher is better"}
        return known.get(self.better, "nearer to real is better" if self.aim is not None else "neither way is better")

    def badness(self, value: float) -> float:
        """A number that is smaller for what is better."""
        if self.better == "higher":
            return -value
        return value if self.better == "lower" else abs(value - (self.aim or 0))


@dataclass(frozen=True)
class Cell:
    """A value with its interval; ``mark`` is "best", "level" (its interval meets that of the best), or ""."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None
    mark: str = ""


@dataclass(frozen=True, eq=False)
class Row:
    """A contender or a reference point; ``place`` numbers the contenders, for colours."""

    id: str
    label: str
    kind: str
    role: str
    title: str
    place: int
    cells: Mapping[Key, Cell]
    result: Result | None = field(repr=False, default=None)

    def cell(self, column: Column) -> Cell:
        return self.cells.get(column.key, Cell(None))


@dataclass(frozen=True, eq=False)
class Board:
    """Contenders, best first by the first fidelity score; reference points; columns in the order of their groups."""

    columns: tuple[Column, ...]
    contenders: tuple[Row, ...]
    references: tuple[Row, ...]
    several: bool  # more than one extractor: columns have to name theirs

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.contenders + self.references

    @property
    def groups(self) -> list[Group]:
        """Those that have a column, in the order of a report."""
        return [group_of(name) for name in dict.fromkeys(column.group for column in self.columns)]

    def of(self, group: str) -> list[Column]:
        return [column for column in self.columns if column.group == group]

    def find(self, *names: str) -> Column | None:
        """The column of the first of these scores that was measured, in the first extractor."""
        return next((column for name in names for column in self.columns if column.key[0] == name), None)

    def headline(self) -> list[Column]:
        """The columns of the first table: one or two of each group, in the first extractor."""
        chosen = []
        for group in self.groups:
            columns = self.of(group.name)
            names = [name for name in group.first if any(column.key[0] == name for column in columns)]
            names = (names or [columns[0].key[0]])[: group.headline]
            chosen += [next(column for column in columns if column.key[0] == name) for name in names]
        return chosen


def cell_text(column: Column, cell: Cell, interval: bool = True) -> str:
    """ "0.0868 (0.0801–0.0912)", as it stands in Markdown and in the terminal."""
    text = shown(cell.value, column.places, column.percent)
    around = span(cell.low, cell.high, column.places, column.percent) if interval and cell.value is not None else ""
    return f"{text} ({around})" if around else text


def heading(board: Board, column: Column) -> str:
    """ "KID ↓", with the extractor where several were used."""
    extractor = f" ({column.key[1]})" if board.several and column.key[1] else ""
    return f"{column.title}{extractor} {column.arrow}".rstrip()


def build(results: Sequence[Result]) -> Board:
    """The table of results of one benchmark."""
    contenders = [result for result in results if result["contender"]["kind"] != "reference"]
    references = _references(results)
    first: dict[Key, Mapping[str, Any]] = {}
    for result in results:
        for score in result["scores"]:
            first.setdefault(_key(score), score)
    values = {_identity(result): {_key(score): score for score in result["scores"]} for result in contenders}
    columns = _columns(first, [*values.values()] or [*references.values()], references.get("real", {}))
    order = _best_first(contenders, values, columns)
    names = _labels(order)
    marks = {column.key: _marks(column, {who: values[who] for who in map(_identity, order)}) for column in columns}
    rows = []
    for place, result in enumerate(order):
        who, about = _identity(result), result["contender"]
        cells = {key: _cell(score, marks.get(key, {}).get(who, "")) for key, score in values[who].items()}
        kind = str(about["kind"])
        rows.append(Row(str(about["id"]), names[who], kind, kind, str(about.get("title") or ""), place, cells, result))
    return Board(
        tuple(columns),
        tuple(rows),
        tuple(_reference_row(name, scores, results) for name, scores in references.items()),
        len({column.key[1] for column in columns if column.key[1]}) > 1,
    )


def _identity(result: Result) -> tuple[str, str]:
    return str(result["contender"]["id"]), str(result["contender"]["revision"])


def _key(score: Mapping[str, Any]) -> Key:
    return str(score["name"]), score.get("features")


def _cell(score: Mapping[str, Any], mark: str = "") -> Cell:
    low, high = number(score.get("low")), number(score.get("high"))
    return Cell(number(score.get("value")), low, high, score.get("note"), mark)


def _references(results: Sequence[Result]) -> dict[str, dict[Key, Mapping[str, Any]]]:
    """Scores of each reference point: of its own result, else of those that name it; the floor first."""
    by_point: dict[str, dict[Key, Mapping[str, Any]]] = {}
    points = [result for result in results if result["contender"]["kind"] == "reference"]
    own = {str(result["contender"]["id"]): result["scores"] for result in points}
    for name, scores in [*own.items(), *((n, s) for result in results for n, s in result["references"].items())]:
        for score in scores:
            by_point.setdefault(name, {}).setdefault(_key(score), score)

    def order(name: str) -> tuple[int, float, str]:
        kind = next((i for i, start in enumerate(_REFERENCES) if name.startswith(start)), len(_REFERENCES))
        strength = re.search(r"\d+(\.\d+)?", name)
        return kind, float(strength[0]) if strength else 0.0, name

    return {name: by_point[name] for name in sorted(by_point, key=order)}


def _reference_row(name: str, scores: Mapping[Key, Mapping[str, Any]], results: Sequence[Result]) -> Row:
    own = next((r for r in results if r["contender"]["kind"] == "reference" and r["contender"]["id"] == name), None)
    title = str(own["contender"].get("title") or "") if own else ""
    return Row(
        name,
        name.replace("_", " "),
        "reference",
        _role(name),
        title,
        -1,
        {key: _cell(score) for key, score in scores.items()},
        own,
    )


def _role(reference: str) -> str:
    """What a reference point is there for."""
    roles = {"real": "floor", "blur": "known-bad", "noise": "known-bad", "copies": "memorising"}
    return next((role for start, role in roles.items() if reference.startswith(start)), "reference")


def _columns(
    scores: Mapping[Key, Mapping[str, Any]],
    rows: Sequence[Mapping[Key, Mapping[str, Any]]],
    real: Mapping[Key, Mapping[str, Any]],
) -> list[Column]:
    columns = []
    for key, score in scores.items():
        percent = bool(score.get("percent"))
        places = decimals((number(row[key].get("value")) for row in rows if key in row), percent)
        title, group, better, about = (str(score.get(name) or "") for name in ("title", "group", "better", "about"))
        about = about[:1].upper() + about[1:].rstrip(".") + "." if about else ""
        aim = number(real[key].get("value")) if better == "neither" and key in real else None
        columns.append(Column(key, titled(key[0], title, group), group, better, percent, about, places, aim))
    return sorted(columns, key=lambda column: place_of(column.group))


def titled(name: str, title: str, group: str) -> str:
    """The title of a score, of a cost with its unit."""
    unit = next((unit for end, unit in _UNITS.items() if group == "cost" and name.endswith(end)), "")
    return (title or name) + unit


def _best_first(
    contenders: Sequence[Result], values: Mapping[tuple[str, str], Mapping[Key, Any]], columns: Sequence[Column]
) -> list[Result]:
    lead = next((column for name in ("kid", "fd") for column in columns if column.key[0] == name), None)
    lead = lead or next((column for column in columns if column.arrow), None)

    def position(result: Result) -> tuple[bool, float, tuple[str, str]]:
        score = values[_identity(result)].get(lead.key) if lead else None
        value = number(score.get("value")) if score else None
        return value is None, lead.badness(value) if lead and value is not None else 0.0, _identity(result)

    return sorted(contenders, key=position)


def _marks(column: Column, rows: Mapping[tuple[str, str], Mapping[Key, Any]]) -> dict[tuple[str, str], str]:
    """Which contenders are best, and whose interval meets the best one's; nothing where there is nothing to choose."""
    cells = {who: _cell(scores[column.key]) for who, scores in rows.items() if column.key in scores}
    known = {who: cell for who, cell in cells.items() if cell.value is not None}
    if not column.arrow or len(known) < 2:
        return {}
    badness = {who: column.badness(cell.value) for who, cell in known.items() if cell.value is not None}
    if len(set(badness.values())) == 1:
        return {}
    marks = {who: "best" for who, bad in badness.items() if bad == min(badness.values())}
    best = known[next(iter(marks))]
    return {who: "level" for who, cell in known.items() if _meet(cell, best)} | marks


def _meet(a: Cell, b: Cell) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _labels(results: Sequence[Result]) -> dict[tuple[str, str], str]:
    """Short names for charts: number and family of a model ("10001 fastgan"), else the id, cut; told apart."""
    labels: dict[tuple[str, str], str] = {}
    for result in results:
        name, revision = _identity(result)
        start = re.match(r"(\d{5})_([A-Za-z0-9-]+)", name)
        label = f"{start[1]} {result['contender'].get('family') or start[2].lower()}" if start else name
        label = label if len(label) <= 22 else label[:21] + "…"
        taken = set(labels.values())
        if label in taken:
            label = f"{label[:14]} {revision[:7]}"
        while label in taken:
            label += "'"
        labels[name, revision] = label
    return labels
