"""The table of scores of medzoo info: what the intervals of stored results say."""

from __future__ import annotations

import types
from typing import Any

import pytest

from medzoo.cli.scores import SAME, verdict
from medzoo.results import ReferenceScore, ScoreRecord


def score(low: float | None, high: float | None, better: str = "lower", detail: Any = None) -> ScoreRecord:
    value = 1.0 if low is None or high is None else (low + high) / 2
    return ScoreRecord.model_validate(
        {"name": "kid", "title": "KID", "metric": "kernel", "group": "fidelity", "features": None, "better": better}
        | {"percent": False, "version": 1, "about": "", "value": value, "low": low, "high": high, "error": None}
        | {"note": None, "detail": detail, "seeds": ()}
    )


REAL = ReferenceScore(name="kid", features=None, value=0.5, low=0.4, high=0.6)


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (score(0.7, 0.9), "worse"),
        (score(0.7, 0.9, "higher"), "better"),
        (score(0.1, 0.3), "better"),
        (score(0.1, 0.3, "neither"), "lower than real"),
        (score(0.7, 0.9, "neither"), "higher than real"),
        (score(0.55, 0.9), SAME),
        (score(None, None), "worse"),  # a number without an interval, outside that of real images
        (score(0.7, 0.9, "higher", {"gain_low": -0.1, "gain_high": 0.2}), SAME),  # compared in pairs
        (score(0.4, 0.6, "higher", {"gain_low": -0.2, "gain_high": -0.1}), "worse"),
    ],
)
def test_verdicts(measured: ScoreRecord, said: str) -> None:
    assert verdict(measured, REAL) == said


def test_numbers_and_units_are_those_of_reports() -> None:
    from medzoo.cli.scores import _row

    cost = {"name": "peak_memory_mb", "title": "peak memory", "group": "cost", "value": 1096.4}
    record = score(None, None).model_copy(update=cost)
    plain = types.SimpleNamespace(references={})
    assert _row(plain, record) == ["peak memory, MB", "1096", "-", "-"]  # type: ignore[arg-type]


def test_nothing_to_compare_with() -> None:
    assert verdict(score(0.7, 0.9), None) == "-"
