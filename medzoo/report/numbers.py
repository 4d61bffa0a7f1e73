"""How numbers are written: the same digits in the page, in Markdown and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

NOTHING = "–"  # a number that is not there
_SIGNIFICANT = 3


def number(value: object) -> float | None:
    """A finite number, or None for whatever else JSON may hold (null, text, nan)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(values: object) -> list[float] | None:
    """A list of finite numbers, or None for anything else, for example a list with a gap."""
    if not isinstance(values, list | tuple):
        return None
    found = [number(value) for value in values]
    return [value for value in found if value is not None] if None not in found else None


def decimals(values: Iterable[float | None], percent: bool = False) -> int:
    """Decimals for a column, so that its lower half has three significant digits; percentages have one at most."""
    sizes = sorted(abs(value) * (100 if percent else 1) for value in values if value)
    if not sizes:
        return 1 if percent else 2
    wanted = _SIGNIFICANT - 1 - math.floor(math.log10(sizes[(len(sizes) - 1) // 2]))
    return min(max(wanted, 0), 1 if percent else 6)


def shown(value: float | None, places: int, percent: bool = False) -> str:
    """A number with ``places`` decimals; a percentage is multiplied by 100 and has its sign."""
    if value is None:
        return NOTHING
    text = f"{value * 100 if percent else value:.{places}f}"
    if not text.strip("-0."):
        text = text.lstrip("-")  # what rounds to zero has no sign
    return f"{text} %" if percent else text


def signed(value: float, places: int, percent: bool = False) -> str:
    """A difference as ``shown`` writes it, with its sign; what rounds to zero has none."""
    text = shown(value, places, percent)
    return f"+{text}" if value > 0 and text.strip("0. %") else text


def p_value(p: float) -> str:
    """ "0.012", or "< 0.001"."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def span(low: float | None, high: float | None, places: int, percent: bool = False) -> str:
    """An interval, "0.0801–0.0912" or "-0.0012 to 0.0034"; "" where there is none."""
    if low is None or high is None:
        return ""
    begin, end = shown(low, places, percent).removesuffix(" %"), shown(high, places, percent)
    return f"{begin} to {end}" if "-" in begin + end else f"{begin}–{end}"


def short(value: float | None) -> str:
    """A number that stands alone, with three significant digits: 0.0868, 95.5, 1280, 4e-06."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -5 or size > 8:
        return f"{value:.0e}" if size < -5 else f"{value:.2e}"
    return f"{value:.{max(_SIGNIFICANT - 1 - size, 0)}f}"


def seconds(value: float | None) -> str:
    """A time for people: 0.42 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if value is None:
        return NOTHING
    if value < 10:
        return f"{value:.2g} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
