"""The charts of the page, each a function of the board (and of details of scores) to SVG text, "" without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report.board import Board, Cell, Column, Row
from medzoo.report.numbers import number, numbers, short
from medzoo.report.svg import WIDTH, Frame, Scale, around, colour, dash, marker, steps

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 28.0, 44.0


def spectrum(board: Board) -> str:
    """Mean power at each frequency of the contenders; real images as a line and the band of 80 % of them."""
    drawn = [(row, detail) for row in board.contenders if (detail := curves_of(row))]
    if not drawn:
        return ""
    first = drawn[0][1]
    every = [power for _, curves in drawn for name, line in curves.items() if name != "frequencies" for power in line]
    right = WIDTH - min(max(7.0 * max(len(row.label) for row, _ in drawn) + 16, 60), 165)
    xs = first["frequencies"]
    across = Scale(xs[0], xs[-1], _LEFT, right, log=True)
    frame = Frame(across, Scale(min(every) / 1.4, max(every) * 1.4, 270, _TOP, log=True), WIDTH, 314)
    ticks = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    frame.axes("frequency, cycles a pixel", "power", [tick for tick in ticks if xs[0] * 0.98 <= tick <= xs[-1]])
    frame.band(list(zip(xs, first["real_low"], strict=True)), list(zip(xs, first["real_high"], strict=True)))
    frame.curve(list(zip(xs, first["real"], strict=True)), "real")
    ends = [(frame.y(first["real"][-1]), "real", -1)]
    for row, curves in drawn:
        frame.curve(list(zip(curves["frequencies"], curves["fake"], strict=True)), colour(row.place), dash(row.place))
        ends.append((frame.y(curves["fake"][-1]), row.label, row.place))
    ends.sort()
    for at, (end, words, place) in zip(_apart([end for end, _, _ in ends]), ends, strict=True):
        frame.add(f'<path class="leader" d="M{right + 1:.1f} {end:.1f}L{right + 8:.1f} {at:.1f}"/>')
        frame.text(right + 11, at + 4, words, f"name {colour(place)}")
    third = len(xs) // 3
    frame.label(frame.x(xs[third]), frame.y(first["real_low"][third]), "real, 10–90 %", "ref")
    gaps = ", ".join(f"{row.label} {_text(board, row, 'spectrum_gap')}" for row, _ in drawn)
    return frame.done(
        "spectrum",
        "Power spectrum of real and synthetic images",
        f"Radially averaged power against frequency, both axes logarithmic. Mean gap to real images: {gaps}.",
    )


def precision_recall(board: Board) -> str:
    """Precision against recall of contenders and reference points, in the first extractor."""
    across, up = board.find("recall"), board.find("precision")
    if across is None or up is None:
        return ""
    return _scatter(board, across, up, "precision-recall", unit=True)


def fidelity_usefulness(board: Board) -> str:
    """Usefulness against distance to real images, of contenders and of real images."""
    pair = trade(board)
    return _scatter(board, *pair, "fidelity-usefulness", unit=False) if pair else ""


def trade(board: Board) -> tuple[Column, Column] | None:
    """The (fidelity, usefulness) columns that are set against each other, None where one was not measured."""
    fidelity, usefulness = board.find("kid", "fd_infinity", "fd", "cmmd"), board.find("seg_dice", "clf_auc")
    if fidelity is None or usefulness is None:
        useful = [column for column in board.of("usefulness") if column.arrow]
        usefulness = usefulness or (useful[0] if useful else None)
    return (fidelity, usefulness) if fidelity is not None and usefulness is not None else None


def distances(row: Row, detail: Mapping[str, Any], name: str, unit: str) -> str:
    """Histogram of the distances to the nearest training image: generated images and held-out real ones."""
    made, known = _histogram(detail.get("fake_distances")), _histogram(detail.get("heldout_distances"))
    if made is None or known is None or made[0] != known[0]:
        return ""
    (edges, fake), (_, held) = made, known
    top = max(*fake, *held)
    frame = Frame(Scale(edges[0], edges[-1], _LEFT, WIDTH - _RIGHT), Scale(0, top * 1.05, 170, _TOP), WIDTH, 214)
    frame.axes(f"distance to nearest training image, {unit}", "share of images", y_ticks=steps(0, top * 1.05, 3))
    for kind, shares in (("heldout", held), (colour(row.place), fake)):
        corners = [(x, share) for i, share in enumerate(shares) for x in (edges[i], edges[i + 1])]
        path = "L".join(f"{frame.x(x):.1f} {frame.y(share):.1f}" for x, share in corners)
        frame.add(
            f'<path class="steps {kind}" d="M{frame.x(edges[0]):.1f} {frame.y(0):.1f}L{path}'
            f'L{frame.x(edges[-1]):.1f} {frame.y(0):.1f}Z"/>'
        )
    frame.add(
        f'<rect class="steps heldout" x="{WIDTH - 114}" y="9" width="10" height="10"/>',
        marker(WIDTH - 198, 14, row.place),
    )
    frame.text(WIDTH - 99, 18, "held-out real", "name ref")
    frame.text(WIDTH - 189, 18, "generated", f"name {colour(row.place)}")
    return frame.done(
        name,
        f"Distances to the nearest training image: {row.label}",
        "Two histograms over the same distances: generated images, and held-out real images, which a generator that "
        "copies nothing should resemble.",
    )


def _scatter(board: Board, across: Column, up: Column, name: str, unit: bool) -> str:
    rows = [row for row in board.rows if row.cell(across).value is not None and row.cell(up).value is not None]
    if not any(row.place >= 0 for row in rows):
        return ""
    if not unit:  # known-bad points would squeeze the contenders into a corner
        rows = [row for row in rows if row.place >= 0 or row.role == "floor"]
    xs, ys = [_value(row.cell(across)) for row in rows], [_value(row.cell(up)) for row in rows]
    x_ends, y_ends = (
        ((-0.02, 1.02), (-0.02, 1.02)) if unit else (around(_reach(rows, across), True), around(_reach(rows, up)))
    )
    frame = Frame(Scale(*x_ends, _LEFT, WIDTH - _RIGHT), Scale(*y_ends, 270, _TOP), WIDTH, 314)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1.0] if unit else None
    frame.axes(f"{across.title} {_way(across, '→', '←')}", f"{up.title} {_way(up, '↑', '↓')}", ticks, ticks)
    for row in rows:
        x, y = row.cell(across), row.cell(up)
        _cross(frame, x, y, colour(row.place))
    for row, x_value, y_value in zip(rows, xs, ys, strict=True):
        frame.point(x_value, y_value, row.place)
    for row, x_value, y_value in zip(rows, xs, ys, strict=True):
        frame.label(frame.x(x_value), frame.y(y_value), row.label, colour(row.place))
    points = "; ".join(
        f"{row.label}: {across.title} {short(x)}, {up.title} {short(y)}" for row, x, y in zip(rows, xs, ys, strict=True)
    )
    return frame.done(name, f"{up.title} against {across.title}", f"{points}. Lines are 95 % intervals.")


def _cross(frame: Frame, x: Cell, y: Cell, kind: str) -> None:
    """Intervals of a point, as far as they are known."""
    at_x, at_y = frame.x(_value(x)), frame.y(_value(y))
    if x.low is not None and x.high is not None:
        frame.add(f'<path class="whisker {kind}" d="M{frame.x(x.low):.1f} {at_y:.1f}H{frame.x(x.high):.1f}"/>')
        frame.taken.append((frame.x(x.low), at_y - 1, frame.x(x.high), at_y + 1))
    if y.low is not None and y.high is not None:
        frame.add(f'<path class="whisker {kind}" d="M{at_x:.1f} {frame.y(y.low):.1f}V{frame.y(y.high):.1f}"/>')
        frame.taken.append((at_x - 1, frame.y(y.high), at_x + 1, frame.y(y.low)))


def _reach(rows: Sequence[Row], column: Column) -> list[float]:
    """All values of a column with the ends of their intervals."""
    cells = [row.cell(column) for row in rows]
    return [value for cell in cells for value in (cell.value, cell.low, cell.high) if value is not None]


def _histogram(given: Any) -> tuple[list[float], list[float]] | None:
    """(edges, share of each bin) of {"edges": [...], "counts": [...]}, None for what is no histogram."""
    if not isinstance(given, Mapping):
        return None
    edges, counts = numbers(given.get("edges")), numbers(given.get("counts"))
    if not edges or not counts or len(edges) != len(counts) + 1 or not sum(counts) > 0:
        return None
    return edges, [count / sum(counts) for count in counts]


def curves_of(row: Row) -> dict[str, list[float]] | None:
    """Frequencies and powers of a contender's spectrum, None where they are missing or do not fit together."""
    scores = row.result["scores"] if row.result else ()
    detail = next((score.get("detail") for score in scores if score["name"] == "spectrum_gap"), None)
    if not isinstance(detail, Mapping):
        return None
    curves = {"frequencies": numbers(detail.get("frequencies")) or []}
    for name in ("fake", "real", "real_low", "real_high"):  # decades
        curves[name] = [10.0 ** min(max(value, -30), 30) for value in numbers(detail.get(name)) or ()]
    fits = len({len(line) for line in curves.values()}) == 1 and len(curves["fake"]) > 1
    return curves if fits and curves["frequencies"][0] > 0 else None


def _apart(positions: Sequence[float], gap: float = 14.0) -> list[float]:
    """Positions in rising order, pushed apart to at least ``gap`` about where they were."""
    moved = list(positions)
    for _ in range(60):
        for i in range(1, len(moved)):
            short_by = gap - (moved[i] - moved[i - 1])
            if short_by > 0:
                moved[i - 1] -= short_by / 2
                moved[i] += short_by / 2
    over = max(moved[-1] - 268, 0) if moved else 0
    return [position - over for position in moved]


def _way(column: Column, more: str, less: str) -> str:
    return {"higher": f"({more} better)", "lower": f"({less} better)"}.get(column.better, "")


def _value(cell: Cell) -> float:
    assert cell.value is not None
    return cell.value


def _text(board: Board, row: Row, name: str) -> str:
    column = board.find(name)
    return short(number(row.cell(column).value)) if column else ""
