"""Figures for papers and slides, as SVG and PNG files (matplotlib, extra ``figures``): the numbers of the page."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.errors import ResultError, pip_install
from medzoo.report import bars, charts
from medzoo.report.board import Board, Cell, Column, Result, build
from medzoo.report.export import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
# Okabe and Ito's colours, which people with any colour vision tell apart, and another marker for each.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "P", "X")
_GREY = "#777777"


def check_figures() -> None:
    """Raises ResultError: matplotlib, which figures need, is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ResultError(f"figures need matplotlib; type: {pip_install('medzoo[figures]')}")


def write_figures(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write what can be drawn into a folder, which is made: ``scores``, ``precision_recall``, ``spectrum``,
    ``usefulness``, each as .svg and .png.

    Raises ResultError: matplotlib is not installed, or the folder cannot be written.
    """
    check_figures()
    import matplotlib

    board = build(results)
    written = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "medzoo", "font.size": 9}):
        for name, figure in (
            ("scores", _scores(board)), ("precision_recall", _precision_recall(board)),
            ("spectrum", _spectrum(board)), ("usefulness", _usefulness(board)),
        ):  # fmt: skip
            if figure is not None:
                written += [_saved(figure, folder / f"{name}.{kind}", kind) for kind in ("svg", "png")]
    return written


def _saved(figure: Figure, path: Path, kind: str) -> Path:
    stream = io.BytesIO()
    stamp: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(stream, format=kind, dpi=DPI, bbox_inches="tight", metadata=stamp)
    return write(path, stream.getvalue(), folders=True)


def _figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colour(place: int) -> str:
    return _GREY if place < 0 else _COLOURS[place % len(_COLOURS)]


def _marker(place: int) -> str:
    return "o" if place < 0 else _MARKERS[place % len(_MARKERS)]


def _scores(board: Board) -> Figure | None:
    """Every score of the first table, contenders and reference points with their intervals."""
    columns = board.headline()
    if not columns:
        return None
    wide = min(len(columns), 3)
    figure, axes = _figure(
        2.6 * wide + 1, (0.22 * len(board.rows) + 0.8) * -(-len(columns) // wide), wide, -(-len(columns) // wide)
    )
    for one in axes[len(columns) :]:
        one.remove()
    for i, (column, one) in enumerate(zip(columns, axes, strict=False)):
        factor = 100 if column.percent else 1
        for y, row in enumerate(reversed(board.rows)):
            cell = row.cell(column)
            if cell.value is not None:
                one.errorbar(
                    cell.value * factor, y, xerr=_reach(cell, factor), fmt=_marker(row.place), color=_colour(row.place),
                    markerfacecolor="white" if row.place < 0 else None, markersize=5, capsize=2,
                )  # fmt: skip
        labels = [row.label for row in reversed(board.rows)] if i % wide == 0 else [""] * len(board.rows)
        one.set_yticks(range(len(board.rows)), labels)
        one.set_ylim(-0.6, len(board.rows) - 0.4)
        one.set_xlabel(f"{column.title}{', %' if column.percent else ''} {column.arrow}")
        one.grid(axis="x", alpha=0.3)
    return figure


def _reach(cell: Cell, factor: float) -> Any:
    if cell.value is None or cell.low is None or cell.high is None:
        return None
    return [[max(cell.value - cell.low, 0) * factor], [max(cell.high - cell.value, 0) * factor]]


def _precision_recall(board: Board) -> Figure | None:
    across, up = board.find("recall"), board.find("precision")
    if across is None or up is None:
        return None
    figure, (one,) = _figure(4, 3.6)
    for row in board.rows:
        x, y = row.cell(across), row.cell(up)
        if x.value is not None and y.value is not None:
            one.errorbar(
                x.value, y.value, xerr=_reach(x, 1), yerr=_reach(y, 1),
                fmt=_marker(row.place), color=_colour(row.place),
                markerfacecolor="white" if row.place < 0 else None, label=row.label, capsize=2,
            )  # fmt: skip
    one.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Recall", ylabel="Precision")
    _legend(one)
    return figure


def _spectrum(board: Board) -> Figure | None:
    drawn = [(row, found) for row in board.contenders if (found := charts.curves_of(row))]
    if not drawn:
        return None
    figure, (one,) = _figure(4.6, 3.4)
    first = drawn[0][1]
    one.fill_between(
        first["frequencies"], first["real_low"], first["real_high"], color="#dddddd", label="real, 10–90 %"
    )
    one.loglog(first["frequencies"], first["real"], color=_GREY, label="real")
    for row, found in drawn:
        one.loglog(found["frequencies"], found["fake"], color=_colour(row.place), label=row.label)
    one.set(xlabel="frequency, cycles a pixel", ylabel="power")
    _legend(one)
    return figure


def _usefulness(board: Board) -> Figure | None:
    """Each task: synthetic images alone and beside real ones; a line where real ones alone are."""
    tasks = [
        task for task in bars.tasks(board)
        if any(row.cell(one).value is not None for row in board.contenders for one in bars.columns_of(board, task))
    ]  # fmt: skip
    if not tasks:
        return None
    figure, axes = _figure(3.4 * len(tasks) + 0.8, 3.2, len(tasks))
    for one, task in zip(axes, tasks, strict=True):
        columns = bars.columns_of(board, task)
        _bars(one, board, columns)
        real = bars.real_alone(board, columns[0], task)
        if real.value is not None:
            one.axhline(real.value, color=_GREY, linestyle="--", label="real alone")
        one.set_xticks(
            range(len(columns)), [bars.share_of(column, task) for column in columns], rotation=20, ha="right"
        )
        one.set_ylabel(f"{bars.title_of(columns[0])}, held-out real")
    _legend(axes[-1])
    return figure


def _bars(one: Axes, board: Board, columns: Sequence[Column]) -> None:
    width = 0.8 / max(len(board.contenders), 1)
    for i, row in enumerate(board.contenders):
        for x, column in enumerate(columns):
            cell = row.cell(column)
            if cell.value is not None:
                at = x + (i + 0.5) * width - 0.4
                label = row.label if x == 0 else None
                one.bar(at, cell.value, width, color=_colour(row.place), yerr=_reach(cell, 1), capsize=2, label=label)


def _legend(one: Axes) -> None:
    """Beside the axes, where it hides nothing."""
    one.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
