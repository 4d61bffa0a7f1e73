"""Parts of charts as SVG text: axes, ticks, markers, and labels that keep clear of each other.

Colours come from classes of the page's style ("c0" .. "c5"), so that a chart follows a light or dark theme. A colour
never stands alone: contenders differ in marker and dash too, and every line or point has its name beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import product

COLOURS = 6
WIDTH = 420.0  # of every chart; a phone shows it at nine tenths of that
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2", "1 2")
_LETTER, _LINE = 6.9, 15.0  # width of a letter and height of a line at the size of labels, in units of the chart
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Scale:
    """From values between ``low`` and ``high`` to positions between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, -0.02), 1.02) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, round((last - first) / about))
            return [10.0**power for power in range(first, last + 1, step)]
        return steps(self.low, self.high, about)


def steps(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, some ``about`` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(i * step, 12) for i in range(first, last + 1)]


def around(values: Iterable[float], zero: bool = False, room: float = 0.08) -> tuple[float, float]:
    """Ends of an axis for these values, with some room; with ``zero``, 0 is on it."""
    values = [*values, 0.0] if zero else list(values)
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) or 1.0
    return (0.0 if zero and low == 0 else low - room * spread), (0.0 if zero and high == 0 else high + room * spread)


@dataclass
class Frame:
    """A chart under way: its drawing area, two axes, and what labels have to keep clear of."""

    x: Scale
    y: Scale
    width: float
    height: float
    taken: list[Box] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def area(self) -> Box:
        return self.x.start, self.y.end, self.x.end, self.y.start

    def add(self, *parts: str) -> None:
        self.parts += parts

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        classes = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}"{classes} text-anchor="{anchor}">{escape(words)}</text>')

    def axes(
        self, x_title: str, y_title: str, x_ticks: Sequence[float] | None = None, y_ticks: Sequence[float] | None = None
    ) -> None:
        """Grid, numbers and titles; the title of the upright axis stands above it, where it is read without turning."""
        left, top, right, bottom = self.area
        xs, ys = self.x.ticks() if x_ticks is None else x_ticks, self.y.ticks() if y_ticks is None else y_ticks
        for value, text in zip(xs, _names(xs, self.x.log), strict=True):
            at = self.x(value)
            self.add(f'<path class="grid" d="M{at:.1f} {top:.1f}V{bottom:.1f}"/>')
            self.text(at, bottom + 15, text, "tick", "middle")
        for value, text in zip(ys, _names(ys, self.y.log), strict=True):
            at = self.y(value)
            self.add(f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.1f}"/>')
            self.text(left - 6, at + 4, text, "tick", "end")
        self.add(f'<path class="axis" d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}"/>')
        half = _LETTER * len(x_title) / 2
        middle = min(max((left + right) / 2, half), max(self.width - half, self.width / 2))
        self.text(middle, bottom + 33, x_title, "title", "middle")
        self.text(4, top - 10, y_title, "title")

    def point(self, x: float, y: float, place: int) -> None:
        """The marker of a contender (``place`` >= 0) or of a reference point."""
        at_x, at_y = self.x(x), self.y(y)
        self.taken.append((at_x - 6, at_y - 6, at_x + 6, at_y + 6))
        self.add(marker(at_x, at_y, place))

    def curve(self, points: Sequence[tuple[float, float]], kind: str, dash: str = "") -> None:
        path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<path class="curve {kind}" d="M{path}"{dashes}/>')

    def band(self, low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]]) -> None:
        """The area between two lines."""
        corners = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in [*high, *reversed(low)])
        self.add(f'<path class="band" d="M{corners}Z"/>')

    def label(self, x: float, y: float, words: str, kind: str = "") -> None:
        """A name beside a point given in the units of the chart: the nearest free place, with a line if it is far."""
        wide = _LETTER * len(words)
        left, top, right, bottom = self.area
        best: tuple[float, Box] | None = None
        for far, (across, up) in product((10, 14, 20, 28, 38, 50, 64, 80), _AROUND):
            start = x + across * far - (wide if across < -0.3 else wide / 2 if abs(across) <= 0.3 else 0)
            middle = y + up * far
            box = (start, middle - _LINE / 2, start + wide, middle + _LINE / 2)
            inside = left <= box[0] and box[2] <= right + 4 and top - 2 <= box[1] and box[3] <= bottom
            cost = far + 1000 * (not inside) + 200 * sum(_overlap(box, other) for other in self.taken)
            if best is None or cost < best[0]:
                best = cost, box
        assert best is not None
        box = best[1]
        self.taken.append(box)
        near_x, near_y = min(max(x, box[0]), box[2]), (box[1] + box[3]) / 2
        if math.hypot(near_x - x, near_y - y) > 18:
            self.add(f'<path class="leader" d="M{x:.1f} {y:.1f}L{near_x:.1f} {near_y:.1f}"/>')
        self.text(box[0], near_y + 4, words, f"name {kind}".strip())

    def done(self, name: str, title: str, description: str) -> str:
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-labelledby="{name}-t {name}-d">'
            f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
            f"{''.join(self.parts)}</svg>"
        )


_AROUND = (
    *((1, 0), (-1, 0), (0, -1), (0, 1), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)),
    *((0.95, -0.4), (-0.95, -0.4), (0.95, 0.4), (-0.95, 0.4), (0.4, -0.9), (-0.4, -0.9), (0.4, 0.9), (-0.4, 0.9)),
)


def colour(place: int) -> str:
    """Class of a contender's colour; of a reference point, that of references."""
    return "ref" if place < 0 else f"c{place % COLOURS}"


def dash(place: int) -> str:
    """Dashes of a contender's line, so that lines differ without colour."""
    return _DASHES[place % len(_DASHES)]


def marker(x: float, y: float, place: int, size: float = 5.0) -> str:
    """Disc, square, triangle, diamond, plus, cross for contenders; a ring for a reference point."""
    if place < 0:
        return f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{size * 0.8:.1f}"/>'
    kind = colour(place)
    if place % COLOURS == 0:
        return f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    s, t = size, size * 0.35
    shapes = (
        [(-s, -s), (s, -s), (s, s), (-s, s)],
        [(0, -s * 1.2), (s * 1.1, s * 0.9), (-s * 1.1, s * 0.9)],
        [(0, -s * 1.3), (s * 1.3, 0), (0, s * 1.3), (-s * 1.3, 0)],
        [(-t, -s), (t, -s), (t, -t), (s, -t), (s, t), (t, t), (t, s), (-t, s), (-t, t), (-s, t), (-s, -t), (-t, -t)],
        [(0, s * 1.2), (s * 1.1, -s * 0.9), (-s * 1.1, -s * 0.9)],
    )
    corners = " ".join(f"{x + dx * 0.9:.1f},{y + dy * 0.9:.1f}" for dx, dy in shapes[place % COLOURS - 1])
    return f'<polygon class="dot {kind}" points="{corners}"/>'


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _names(values: Sequence[float], log: bool) -> list[str]:
    """Numbers of an axis with equal decimals; powers of ten as such where some are long."""
    if log:
        plain = all(0.0009 < value < 20000 for value in values)
        return [f"{value:g}" if plain else _power(value) for value in values]
    gap = min((b - a for a, b in zip(values, values[1:], strict=False)), default=abs(values[0]) if values else 1) or 1
    places = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [f"{value:.{places}f}".replace("-", "−") for value in values]


def _power(value: float) -> str:
    return "10" + str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
