"""The difference of two contenders, score by score: how large, how well known, whether it can be told from chance.

Where both results hold draws (values on the same random halves of the same real images, see ``medzoo.bench.halving``),
the difference is paired: what the choice of real images does to both takes itself off. Where one does not, intervals
are taken as independent, which is wider, and ``Difference.paired`` says so. p-values are corrected for the number of
scores by Holm's rule (Scandinavian Journal of Statistics 6, 1979). Needs neither torch nor NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean, variance
from typing import Any

from medzoo.errors import ResultError

ALPHA = 0.05
_Z = 1.959964  # of 95 %
_Plain = Mapping[str, Any]  # the JSON of one result, or of one score


@dataclass(frozen=True)
class Difference:
    """One score of A less that of B.

    Attributes:
        name, features, title, group, better, percent: of the score, as in results.
        a, b: the two values; None where one has no such score.
        low, high: 95 % interval of ``value``; None where nothing says how well it is known.
        p: two-sided, corrected for the number of scores; None likewise.
        paired: measured on the same resamplings of the same real images.
    """

    name: str
    features: str | None
    title: str
    group: str
    better: str
    percent: bool
    a: float
    b: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: bool = False

    @property
    def value(self) -> float:
        return self.a - self.b

    @property
    def certain(self) -> bool:
        """Whether it can be told from chance."""
        return self.p is not None and self.p < ALPHA

    @property
    def winner(self) -> str:
        """ "A" or "B", whichever is better for certain, else ""."""
        if not self.certain or self.better not in ("lower", "higher"):
            return ""
        return "A" if (self.value < 0) == (self.better == "lower") else "B"


def key_of(score: _Plain) -> str:
    """What the draws of a score are kept under."""
    return str(score["name"]) if score.get("features") is None else f"{score['name']} {score['features']}"


def differences(a: _Plain, b: _Plain, *, correct: bool = True) -> list[Difference]:
    """Every score that both have, in the order of A.

    Args:
        a, b: results of one benchmark as plain dicts.
        correct: p for the number of scores; False leaves it to the caller.

    Raises:
        ResultError: they were measured under other settings, or against other images.
    """
    check_alike(a, b)
    others = {(score["name"], score.get("features")): score for score in b["scores"]}
    pairs = [(score, others.get((score["name"], score.get("features")))) for score in a["scores"]]
    found = [_difference(a, b, score, other) for score, other in pairs if other is not None]
    known = [one for one in found if one is not None]
    return corrected(known) if correct else known


def check_alike(a: _Plain, b: _Plain) -> None:
    """Raises ResultError: the two were not measured under the same settings against the same real images."""
    for what, one, other in (
        ("settings", a["benchmark"].get("revision"), b["benchmark"].get("revision")),
        ("held-out real images", _hash(a, "real"), _hash(b, "real")),
        ("training images", _hash(a, "training"), _hash(b, "training")),
    ):
        if one != other:
            names = f"{a['contender']['id']} and {b['contender']['id']}"
            raise ResultError(f"{names} were measured with different {what}: measure both in one benchmark")


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """With Holm's correction of the p-values.

    >>> one = Difference("fd", None, "FD", "fidelity", "lower", False, 1.0, 2.0, p=0.01)
    >>> [round(d.p, 3) for d in corrected([one, replace(one, p=0.04)])]
    [0.02, 0.04]
    """
    adjusted = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else replace(one, p=next(adjusted)) for one in found]


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's rule, in the order given.

    >>> holm([0.04, 0.01])
    [0.04, 0.02]
    """
    adjusted, least = list(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, values[i] * (len(values) - rank)))
        adjusted[i] = least
    return adjusted


def _difference(a: _Plain, b: _Plain, score: _Plain, other: _Plain) -> Difference | None:
    if score.get("value") is None or other.get("value") is None or score.get("version") != other.get("version"):
        return None
    texts = {name: score.get(name) for name in ("name", "features", "title", "group", "better", "percent")}
    bare = Difference(**texts, a=score["value"], b=other["value"])  # type: ignore[arg-type]
    spread = _paired(a, b, score, other)
    paired = spread is not None
    if spread is None and None not in (score.get("low"), score.get("high"), other.get("low"), other.get("high")):
        reaches = [(one["high"] - one["low"]) / 2 for one in (score, other)]
        spread = math.hypot(*reaches) / _Z, math.inf
    if spread is None or (spread[0] == 0 and bare.value != 0):
        return bare
    error, freedom = spread
    reach = error * t_quantile(freedom)
    p = 1.0 if bare.value == 0 else t_tail(abs(bare.value) / error, freedom)
    return replace(bare, low=bare.value - reach, high=bare.value + reach, p=p, paired=paired)


def _paired(a: _Plain, b: _Plain, score: _Plain, other: _Plain) -> tuple[float, float] | None:
    """(standard error, degrees of freedom) of the difference by draws that both have; None where they have none."""
    draws = [(one.get("draws") or {}).get(key_of(score)) or () for one in (a, b)]
    between = _minus(*draws)
    if between is None:
        return None
    parts = [(variance(between), len(between) - 1)]
    trainings = _minus(*((one.get("detail") or {}).get("seeds") or () for one in (score, other)))
    if trainings is not None:  # networks that were trained to measure it, with the same seeds
        parts.append((variance(trainings) / len(trainings), len(trainings) - 1))
    total = sum(part for part, _ in parts)
    if total <= 0:  # a share that no half changes, such as no copy at all, is not known without error
        return None
    return math.sqrt(total), total**2 / sum(part**2 / freedom for part, freedom in parts)


def _minus(one: Sequence[float | None], other: Sequence[float | None]) -> list[float] | None:
    """The differences, where both are as long; None for fewer than two."""
    if len(one) != len(other):
        return None
    found = [x - y for x, y in zip(one, other, strict=True) if x is not None and y is not None]
    return found if len(found) > 1 else None


def _hash(result: _Plain, whose: str) -> Any:
    return (result["data"].get(whose) or {}).get("sha256")


def t_tail(t: float, freedom: float) -> float:
    """Two-sided tail of Student's t: the chance of a value beyond -t..t.

    >>> round(t_tail(2.571, 5), 3), round(t_tail(1.96, math.inf), 3)
    (0.05, 0.05)
    """
    if not math.isfinite(freedom) or freedom > 2000:
        return math.erfc(t / math.sqrt(2))
    # With x = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1), summed up over midpoints.
    edge, many = math.atan(t / math.sqrt(freedom)), 2000

    def area(start: float, end: float) -> float:
        step = (end - start) / many
        return step * fmean(math.cos(start + (i + 0.5) * step) ** (freedom - 1) for i in range(many)) * many

    outside = area(edge, math.pi / 2)
    return outside / (outside + area(0, edge)) if edge else 1.0


@lru_cache(maxsize=256)  # whatever is paired by draws alone has as many degrees of freedom
def t_quantile(freedom: float, level: float = 0.95) -> float:
    """x such that a share ``level`` of Student's t lies within -x..x.

    >>> round(t_quantile(5), 2)
    2.57
    """
    if not math.isfinite(freedom):
        return _Z
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - level:
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, freedom) > 1 - level else (low, middle)
    return (low + high) / 2


def titles(found: Sequence[Difference]) -> list[str]:
    """The title of each score, with the extractor where there are several."""
    several = len({one.features for one in found if one.features}) > 1
    return [f"{one.title} ({one.features})" if several and one.features else one.title for one in found]


def in_words(found: Sequence[Difference], a: str, b: str) -> list[str]:
    """Who is better by what, and by what nobody can say, in sentences."""
    named = zip(titles(found), found, strict=True)
    known = [(title, one) for title, one in named if one.p is not None and one.better in ("lower", "higher")]
    sentences = []
    for which, name in (("A", a), ("B", b)):
        better = [title for title, one in known if one.winner == which]
        if better:
            sentences.append(f"{name} is better by {'; '.join(better)}.")
    level = [title for title, one in known if not one.certain]
    if level:
        sentences.append(f"No difference beyond chance by {'; '.join(level)}.")
    unpaired = [title for title, one in known if not one.paired]
    if unpaired:
        sentences.append(
            f"Unpaired, by the intervals of each alone, and so less sensitive: {'; '.join(unpaired)}."
            if len(unpaired) < len(known)
            else "All of it is unpaired, by the intervals of each alone, and so less sensitive: these results hold no "
            "values on common resamplings; measure both with medzoo compare."
        )
    return sentences
