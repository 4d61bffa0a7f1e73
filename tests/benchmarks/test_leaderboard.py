"""The leaderboard in docs/ is what the results in registry/ say, and those are of today's models and benchmarks."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from medzoo import catalog, metrics, results
from medzoo.bench import load
from tests.tools.paths import ROOT

FOLDER = ROOT / "registry" / "results"
NAMES = results.benchmarks([FOLDER])


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaderboard", ROOT / "benchmarks" / "leaderboard.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_results_say(script: ModuleType) -> None:
    written = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    assert written == script.page(FOLDER), "write it anew: python benchmarks/leaderboard.py"


@pytest.mark.parametrize("name", NAMES)
def test_results_are_of_the_benchmark_and_models_of_today(name: str) -> None:
    setting = load(name)
    found = results.read_all([FOLDER], name)
    assert {"real", "copies"} < {one.contender.id for one in found}
    for one in found:
        assert one.benchmark["revision"] == setting.revision, "measure it again"
        assert all("have no" in why for why in one.failed.values())
        if one.contender.kind == "model":
            entry = catalog.resolve(one.contender.id).entry
            assert one.contender.revision == entry.revision, "the entry changed: measure it again"
            assert {source.sha256 for source in entry.weights} == {one.contender.weights_sha256}
            assert one.complete and len(one.references) == 6
        for score in one.scores:
            known = {"cost": 1} if score.metric == "cost" else {score.metric: metrics.load(score.metric).version}
            assert score.version == known[score.metric], f"{score.metric} changed: measure it again"


def test_there_are_results() -> None:
    assert NAMES == ["cxr_28", "polyp_128"]
