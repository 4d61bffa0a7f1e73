"""What a benchmark gives back: verdicts, tables, pages, comparisons in pairs, and nothing that floods a screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import medzoo
from medzoo.bench import halving, measures
from medzoo.bench.pace import IMAGES, Pace, Step, in_words
from medzoo.metrics import Case, Metric, Score
from medzoo.results import differences
from tests.tools.bench_case import SIZE, run, save_generators

QUICK = ("kernel", "spectrum", "near_copies")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_generators(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def outcome(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(folders, tmp_path_factory.mktemp("out"), "good", "blurred", only=QUICK)


def test_every_form_of_it(outcome: Any, tmp_path: Path) -> None:
    assert repr(outcome) == "<Outcome of folders-held-16: good, blurred>"
    assert len(str(outcome)) < 4000 and "Looks (KID" in str(outcome)
    assert outcome.table().splitlines()[0].startswith("ID")
    html = outcome._repr_html_()
    assert html.count("<tr>") == 9 and "Copies of training images" in html
    page = outcome.report(tmp_path / "page.html")
    assert page.read_text().endswith("</html>\n") and [path.name for path in tmp_path.iterdir()] == ["page.html"]
    if pytest.importorskip("pandas"):
        assert set(outcome.to_dataframe().contender) >= {"good", "blurred", "real"}


def test_two_are_compared_on_the_same_halves(outcome: Any) -> None:
    found = {result["contender"]["id"]: result for result in outcome.plain()}
    assert "draws" not in found["real"]  # reference points are compared with nobody
    assert all(len(values) == halving.DRAWS for values in found["good"]["draws"].values())
    by_name = {one.name: one for one in differences.differences(found["good"], found["blurred"])}
    assert by_name["spectrum_gap"].paired and by_name["spectrum_gap"].winner == "A"
    again = {one.name: one for one in differences.differences(found["blurred"], found["good"])}["spectrum_gap"]
    assert again.winner == "B" and again.p == by_name["spectrum_gap"].p


def test_draws_are_made_once_and_only_where_they_are_wanted(folders: dict[str, Path], tmp_path: Path) -> None:
    alone = run(folders, tmp_path, "good", only=("kernel",)).plain()[-1]
    assert "draws" not in alone
    paired = run(folders, tmp_path, "good", only=("kernel",), paired=True).plain()[-1]
    assert list(paired["draws"]) == ["kid pixels"] and paired["scores"] == alone["scores"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halving, "draws", None)
        assert run(folders, tmp_path, "good", only=("kernel",), paired=True).plain()[-1]["draws"] == paired["draws"]


def test_a_metric_that_cannot_take_halves_keeps_its_score(folders: dict[str, Path], tmp_path: Path) -> None:
    """Metrics of installed packages may ask for more images than a half has."""
    kernel = measures.load("kernel")
    assert isinstance(kernel, Metric)

    def measure(case: Case) -> Mapping[str, Score]:
        if len(case.fake) < 40:
            raise ValueError("40 images are needed")
        return kernel.measure(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "load", lambda name: replace(kernel, measure=measure))
        made = run(folders, tmp_path, "good", only=("kernel",), paired=True).results[-1]
    assert not made.failed and [score.name for score in made.scores] == ["kid"]
    assert made.draws == {"kid pixels": (None,) * halving.DRAWS}


def test_quick_leaves_out_what_trains() -> None:
    from medzoo.bench import _chosen, load

    setting = load("polyp_128")
    assert set(setting.metrics) - set(_chosen(setting, (), True)) == {"segmentation", "agreement"}
    assert _chosen(setting, ("segmentation",), True) == ("segmentation",)


def test_progress_says_what_it_costs_and_how_long_it_takes(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"real": folders["real"], "size": SIZE, "only": "spectrum", "out": tmp_path}
    medzoo.benchmark(fake=folders["good"], progress=True, **options)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith("folders-held-16: 6 rows at 16 px, 1 metrics; ")
    assert lines[-1].startswith("good: seed 0: spectrum") and lines[-1].endswith("left)")
    medzoo.benchmark(fake=folders["blurred"], **options)  # nobody sees it
    assert capsys.readouterr().err == ""


def test_the_clock_learns_from_what_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("medzoo.bench.pace.time.monotonic", lambda: now[0])
    pace = Pace()
    for row in "abc":
        pace.plan(row, [Step(IMAGES), Step("kernel"), Step("segmentation", 4.0 if row != "a" else 1.0)])
    first = pace.left
    for kind, seconds in ((IMAGES, 2.0), ("kernel", 1.0), ("segmentation", 10.0)):
        pace.begin("a", kind)
        now[0] += seconds
        pace.end()
    assert pace.left == pytest.approx(2 * (2 + 1 + 40)) and pace.left < first
    pace.drop("c")
    pace.begin("b", IMAGES)
    now[0] += 3.0
    pace.inside(30, 100)
    assert pace.left == pytest.approx(7 + 1 + 40)
    assert [in_words(seconds) for seconds in (3, 52, 70, 3000, 9000)] == [
        "less than 15 s", "about 50 s", "about 1 min", "about 50 min", "about 2 h",
    ]  # fmt: skip
