"""Metrics of installed packages: found by their entry points, measured and ranked like those that come along."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from medzoo import metrics
from medzoo.bench import load as load_benchmark
from medzoo.bench import measures
from medzoo.cli import main
from medzoo.errors import EntryError, MedzooError
from tests.tools.bench_case import run, save_generators, values
from tests.tools.installed import install

CODE = """
from medzoo.metrics import Case, Metric, Scale, Score

def measure(case: Case) -> dict[str, Score]:
    return {"brightness_gap": Score(abs(float(case.fake.images.mean()) - float(case.real.images.mean())))}

METRIC = Metric(
    name="brightness",
    group="frequency",
    scales=(Scale("brightness_gap", "Brightness gap", "lower", "Difference of the mean grey levels, 0 to 255."),),
    measure=measure,
)
TWIN = Metric(name="twin", group="frequency", scales=METRIC.scales, measure=measure)
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "brightness": "medzoo_brightness:METRIC", "twin": "medzoo_brightness:TWIN",
        "dark": "medzoo_brightness:METRIC", "gone": "medzoo_brightness:GONE", "number": "medzoo_brightness:CODE",
    }  # fmt: skip
    code = CODE + "CODE = 3\n"
    install(monkeypatch, tmp_path / "site", "medzoo_brightness", code, "medzoo.metrics", points)


def test_it_is_measured_reported_and_ranked(tmp_path: Path) -> None:
    assert "brightness" in metrics.names() and metrics.load("brightness").scales[0].name == "brightness_gap"
    folders, out = save_generators(tmp_path), tmp_path / "out"
    fields = load_benchmark("polyp_128").model_dump(mode="json") | {"name": "toy", "metrics": ["brightness", "cost"]}
    (tmp_path / "toy.yaml").write_text(json.dumps(fields))
    assert load_benchmark(str(tmp_path / "toy.yaml")).metrics == ("brightness", "cost")
    outcome = run(folders, out, "good", only=("brightness", "spectrum"))
    good = outcome.results[-1]
    assert good.contender.id == "good" and values(good)["brightness_gap"] is not None
    assert {score.group for score in good.scores} == {"frequency"}
    rank = ["rank", "--benchmark", outcome.setting.name, "--metric", "brightness_gap", "--results", str(out)]
    shown = CliRunner().invoke(main, rank)
    assert shown.exit_code == 0 and "good" in shown.stdout and "lower is better" in shown.stderr


def test_folders_alone_are_measured_with_what_comes_along(tmp_path: Path) -> None:
    folders = save_generators(tmp_path)
    outcome = run(folders, tmp_path / "out", "good", only=("spectrum",))
    assert outcome.setting.metrics == tuple(name for name in measures.builtin() if name in outcome.setting.metrics)
    assert "brightness" not in outcome.setting.metrics and "cost" in outcome.setting.metrics


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (("gone",), "metric 'gone' of an installed package does not load: medzoo_brightness:GONE"),
        (("number",), "metric 'number' of an installed package: medzoo_brightness:CODE is no metric"),
        (("dark",), "metric 'dark' calls itself 'brightness'; make METRIC.name the name"),
        (("brightness", "twin"), "metrics 'brightness' and 'twin' both give a score 'brightness_gap'"),
        (("brightnes",), "metric 'brightnes' is not part of"),
    ],
)
def test_what_is_wrong_with_it_is_said_before_anything_is_measured(
    tmp_path: Path, only: tuple[str, ...], message: str
) -> None:
    with pytest.raises(MedzooError, match=re.escape(message)):
        run(save_generators(tmp_path), tmp_path / "out", "good", only=only)
    assert not (tmp_path / "out").exists()


def test_a_benchmark_names_only_what_there_is(tmp_path: Path) -> None:
    fields = load_benchmark("polyp_128").model_dump(mode="json") | {"name": "toy", "metrics": ["darkness"]}
    (tmp_path / "toy.yaml").write_text(json.dumps(fields))
    with pytest.raises(EntryError, match="no metric is named 'darkness'; there are .*brightness"):
        load_benchmark(str(tmp_path / "toy.yaml"))


def test_a_group_that_no_report_has_is_refused() -> None:
    with pytest.raises(ValueError, match="metric 'x': group 'beauty' is none of fidelity, coverage, "):
        metrics.Metric("x", "beauty", (), lambda case: {})
