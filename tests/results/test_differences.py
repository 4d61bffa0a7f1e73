"""Differences of two results: paired where both hold draws, corrected for their number, refused of different data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from medzoo.errors import ResultError
from medzoo.results import differences as module
from medzoo.results.differences import differences, in_words, t_quantile, t_tail
from tests.tools.report_case import edit, results


def two(**draws: list[list[float]]) -> tuple[dict[str, Any], dict[str, Any]]:
    a, b = results(2, references=False)
    for name, (one, other) in draws.items():
        for row, values in ((a, one), (b, other)):
            row.setdefault("draws", {})[name] = values
    return a, b


def test_paired_draws_are_more_sensitive_than_intervals() -> None:
    shared = np.random.default_rng(0).normal(0, 0.02, 24)
    noise = np.random.default_rng(1).normal(0, 0.0005, 24)
    a, b = two(**{"kid efficientnet_lite0": [(0.09 + shared).tolist(), (0.093 + shared + noise).tolist()]})
    for row, value in ((a, 0.090), (b, 0.093)):
        edit(row, "kid", value=value, low=value - 0.04, high=value + 0.04)
    found = {one.name: one for one in differences(a, b)}
    assert found["kid"].paired and found["kid"].winner == "A" and found["kid"].value == pytest.approx(-0.003)
    assert found["kid"].high < 0  # type: ignore[operator]
    del a["draws"]
    alone = {one.name: one for one in differences(a, b)}["kid"]
    assert not alone.paired and not alone.certain and alone.winner == ""
    assert found["fd"].p is not None and not found["fd"].paired and found["images_per_s"].p is None


def test_holm_makes_p_larger_and_keeps_their_order() -> None:
    a, b = two()
    plain = {one.name: one.p for one in differences(a, b, correct=False)}
    known = [one for one in differences(a, b) if one.p is not None]
    assert all(one.p >= plain[one.name] for one in known)  # type: ignore[operator]
    corrected = [one.p or 0 for one in sorted(known, key=lambda one: plain[one.name] or 0)]
    assert corrected == sorted(corrected)


def test_equal_rows_differ_in_nothing() -> None:
    a, _ = two()
    found = differences(a, a)
    assert found and all(one.value == 0 and not one.certain for one in found)
    words = in_words(found, "x", "y")
    assert words[0].startswith("No difference beyond chance by") and "unpaired" in words[-1]


def test_different_data_are_refused() -> None:
    a, b = two()
    b["data"]["real"]["sha256"] = "00" * 32
    with pytest.raises(ResultError, match="different held-out real images: measure both in one benchmark"):
        differences(a, b)
    a, b = two()
    b["benchmark"]["revision"] = "other"
    with pytest.raises(ResultError, match="different settings"):
        differences(a, b)


@pytest.mark.parametrize("freedom", [1, 5, 23, 500, 5000, math.inf])
def test_t_is_that_of_tables(freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for t in (0.1, 1.0, 2.0, 3.5):
        expected = 2 * (stats.norm.sf(t) if math.isinf(freedom) else stats.t.sf(t, freedom))
        assert t_tail(t, freedom) == pytest.approx(expected, rel=0.01)
    assert t_tail(t_quantile(freedom), freedom) == pytest.approx(0.05, rel=0.01)


def test_few_false_alarms_where_nothing_differs() -> None:
    """Two sets from one distribution, against the same real images: p below 0.05 about one time in twenty."""
    from medzoo.bench import halving
    from medzoo.metrics import Case, View, load

    kernel, alarms, runs = load("kernel"), 0, 60
    for run in range(runs):
        rng = np.random.default_rng(run)
        images = np.zeros((60, 1, 2, 2), np.uint8)
        real, one, other = (View(images, features=rng.normal(size=(60, 6)).astype(np.float32)) for _ in range(3))
        plain = []
        for fake in (one, other):
            case = Case(fake, real)
            value = kernel.measure(case)["kid"].value
            row = results(1, references=False)[0]
            row["scores"] = [score for score in row["scores"] if score["name"] == "kid"]
            edit(row, "kid", value=value)
            row["draws"] = {module.key_of(row["scores"][0]): halving.draws(kernel, case)["kid"]}
            plain.append(row)
        (found,) = differences(*plain)
        assert found.paired
        alarms += found.certain
    assert alarms <= 8  # of 60; with a chance of 0.05 each, more than that comes once in 500 times
