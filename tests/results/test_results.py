"""Results on disk: written whole, read with care; rows of a benchmark in order."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from medzoo import results
from medzoo.errors import MedzooError, ResultError
from medzoo.results import ContenderRecord, ReferenceScore, Result, ScoreRecord, SeedScore
from medzoo.results.ranking import rank_results


def score(
    name: str, value: float | None, better: str = "lower", features: str | None = "small", **more: Any
) -> ScoreRecord:
    fields = {
        "name": name, "title": name.upper(), "metric": "kernel", "group": "fidelity", "features": features,
        "better": better, "percent": False, "version": 1, "about": "", "value": value, "low": None, "high": None,
        "error": None, "note": None, "detail": None, "seeds": (SeedScore(seed=0, value=value),),
    }  # fmt: skip
    return ScoreRecord(**{**fields, **more})


def result(
    name: str, *scores: ScoreRecord, revision: str = "abc", started: str = "2026-01-01", kind: Any = "model"
) -> Result:
    who = ContenderRecord(
        id=name, kind=kind, title=name, revision=revision, weights_sha256=None, license=None, family=None, note=None
    )
    return Result(
        contender=who,
        benchmark={"name": "toy", "revision": "r", "metrics": ["kernel", "cost"]},
        data={},
        extractors={},
        scores=scores,
        references={"real": (ReferenceScore(name="area", features=None, value=0.3, low=None, high=None),)},
        made={"started": started},
        failed={},
    )


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    before = result("m", score("kid", 0.5, detail={"curve": [1.0, 2.0]}), score("fd", None))
    path = results.write(tmp_path, before)
    assert path == tmp_path / "m" / "abc" / "toy.json"
    assert results.read(path) == before
    assert json.loads(path.read_text())["schema"] == 1
    assert not list(tmp_path.rglob("*.tmp"))


def test_nan_becomes_null(tmp_path: Path) -> None:
    odd = result("m", score("kid", 0.5, detail={"curve": [float("nan"), [float("inf")], 1.0]}))
    text = results.write(tmp_path, odd).read_text()
    assert json.loads(text)["scores"][0]["detail"] == {"curve": [None, [None], 1.0]}
    assert "NaN" not in text


def test_complete_is_every_metric_measured_or_failed() -> None:
    part = result("m", score("kid", 0.5))
    assert not part.complete
    assert part.model_copy(update={"failed": {"cost": "no model"}}).complete


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', "\x00\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ResultError, match=r"x\.json.*delete it"):
        results.read(path)


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    path = results.write(tmp_path, result("m", score("kid", 0.5)))
    path.write_text(path.read_text().replace('"percent"', '"per_cent"'))
    with pytest.raises(ResultError, match="per_cent|percent"):
        results.read(path)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a\\b"])
def test_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError):
        results.path_of(tmp_path, name, "abc", "toy")
    with pytest.raises(ResultError):
        results.read_all([tmp_path], name)


def test_the_newest_revision_counts_and_ones_own_folder(tmp_path: Path) -> None:
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    results.write(shipped, result("m", score("kid", 1.0), revision="one", started="2026-01-01"))
    results.write(shipped, result("m", score("kid", 2.0), revision="two", started="2026-02-01"))
    results.write(shipped, result("n", score("kid", 3.0)))
    found = results.read_all([shipped], "toy")
    assert [(one.contender.id, one.scores[0].value) for one in found] == [("m", 2.0), ("n", 3.0)]
    results.write(own, result("n", score("kid", 4.0)))
    assert [one.scores[0].value for one in results.read_all([shipped, own], "toy")] == [2.0, 4.0]
    assert results.benchmarks([shipped, own]) == ["toy"]
    assert results.folders(tmp_path / "nowhere", [tmp_path]) == []


def test_results_that_cannot_be_compared_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results.write(tmp_path, result("a", score("kid", 1.0), started="2026-01-01"))
    newer = result("b", score("kid", 2.0), started="2026-01-02").model_copy(update={"data": {"real": {"sha256": "x"}}})
    results.write(tmp_path, newer)
    assert [one.contender.id for one in results.read_all([tmp_path], "toy")] == ["b"]
    assert "other real images than most, left out: a" in caplog.text
    results.write(tmp_path, newer.model_copy(update={"contender": result("a").contender}))
    assert [one.contender.id for one in results.read_all([tmp_path], "toy")] == ["a", "b"]


def test_rows_are_best_first_in_each_direction() -> None:
    found = [
        result("a", score("kid", 2.0), score("recall", 0.2, "higher")),
        result("b", score("kid", 1.0), score("recall", 0.9, "higher")),
    ]
    assert [row.model_id for row in rank_results(found, "KID").rows] == ["b", "a"]
    assert [row.model_id for row in rank_results(found, "recall").rows] == ["b", "a"]
    assert rank_results(found, "recall").better == "higher"


def test_without_a_better_way_the_aim_is_the_value_of_real_images() -> None:
    found = [
        result(name, score("area", value, "neither", None))
        for name, value in (("far", 0.9), ("near", 0.35), ("below", 0.2))
    ]
    ranking = rank_results(found, "area")
    assert ranking.better == "nearest to real"
    assert [row.model_id for row in ranking.rows] == ["near", "below", "far"]
    aimless = [one.model_copy(update={"references": {}}) for one in found]
    with pytest.raises(MedzooError, match="real images"):
        rank_results(aimless, "area")


def test_several_features_have_to_be_told_apart() -> None:
    both = [result("a", score("kid", 1.0), score("kid", 2.0, features="clip")), result("b", score("kid", None))]
    with pytest.raises(MedzooError, match="--features: clip, small"):
        rank_results(both, "kid")
    ranking = rank_results(both, "kid", "clip")
    assert [row.value for row in ranking.rows] == [2.0] and ranking.without == ("b",)
    with pytest.raises(MedzooError, match="'dino'; it was in: clip, small"):
        rank_results(both, "kid", "dino")
    with pytest.raises(MedzooError, match="no result has a score named 'fid'; there are: kid"):
        rank_results(both, "fid")


def test_a_wrong_clock_hides_no_true_result(tmp_path: Path) -> None:
    for name in ("a", "b"):
        results.write(tmp_path, result(name, score("kid", 1.0)))
    other = {"data": {"real": {"sha256": "x"}}}
    results.write(tmp_path, result("c", score("kid", 9.0), started="2999-01-01").model_copy(update=other))
    results.write(tmp_path, result("a", score("kid", 9.0), revision="zzz", started="2999-01-01T00:00:00+00:00"))
    results.write(tmp_path, result("b", score("kid", 9.0), revision="zzz", started="no date"))
    found = results.read_all([tmp_path], "toy")
    assert [(one.contender.id, one.scores[0].value) for one in found] == [("a", 1.0), ("b", 1.0)]


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results.write(tmp_path, result("a", score("kid", 1.0)))
    (tmp_path / "b" / "r").mkdir(parents=True)
    os.mkfifo(tmp_path / "b" / "r" / "toy.json")
    assert [one.contender.id for one in results.read_all([tmp_path], "toy")] == ["a"]
    assert "toy.json" in caplog.text
