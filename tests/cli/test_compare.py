"""``medzoo compare`` and ``medzoo report``: two contenders score by score, and reports of stored results."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click.testing
import pytest

from medzoo.cli import main
from medzoo.errors import pip_install
from tests.tools.bench_case import run, save_generators

REAL = ("--size", "16", "--features", "pixels", "--only", "kernel,spectrum")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    save_generators(folder)
    return folder


def medzoo(*words: Any) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, [*map(str, words)])


def test_two_folders_then_their_results(place: Path) -> None:
    real = ("--real", place / "held", "--training", place / "training", "--out", place / "out")
    done = medzoo("compare", place / "good", place / "blurred", *real, *REAL, "--quiet")
    assert done.exit_code == 0, done.output
    header, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert header == ["SCORE", "A", "B", "A - B", "95 % INTERVAL", "P (HOLM)", "VERDICT"]
    assert {row[0]: row[-1] for row in rows}["Spectrum gap"] == "A is better"
    assert "good is better by" in done.stderr
    files = [next((place / "out").glob(f"{name}/*/*.json")) for name in ("blurred", "good")]
    stored = medzoo("compare", *files, "--json", "--csv", place / "d.csv")
    found = json.loads(stored.stdout)
    assert (found["a"], found["b"]) == ("blurred", "good")
    gap = next(one for one in found["scores"] if one["name"] == "spectrum_gap")
    assert gap["winner"] == "B" and gap["paired"] and gap["difference"] > 0
    with (place / "d.csv").open() as file:
        assert next(row for row in csv.DictReader(file) if row["score"] == "spectrum_gap")["winner"] == "B"


def test_what_could_not_be_measured_is_said(place: Path, tmp_path: Path) -> None:
    words = ("--real", place / "held", "--size", "16", "--features", "pixels", "--only", "spectrum,inception_score")
    done = medzoo("compare", place / "good", place / "blurred", *words, "--out", tmp_path, "--quiet")
    assert done.exit_code == 0 and "good: inception_score was not measured: pixels has no classifier" in done.stderr


def test_a_result_is_compared_with_a_result_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    done = medzoo("compare", place / "good", tmp_path / "a.json")
    assert done.exit_code == 2 and "good' is no stored result; give two of them, or none" in done.output


def test_titles_are_told_apart_and_are_no_formulas() -> None:
    from medzoo.cli.compare import _COLUMNS, _lines
    from medzoo.report import as_csv
    from medzoo.results.differences import Difference, in_words

    one = Difference("kid", "pixels", "=1+1", "fidelity", "lower", False, 1.0, 2.0, 0.5, 1.5, 0.9, True)
    assert next(csv.DictReader(as_csv(_COLUMNS, _lines([one])).splitlines()))["title"] == "'=1+1"
    two = [replace(one, title="KID, n"), replace(one, title="KID, n", features="clip")]
    assert in_words(two, "x", "y") == ["No difference beyond chance by KID, n (pixels); KID, n (clip)."]


@pytest.mark.parametrize(
    "words, message",
    [
        (("A.json", "B.json"), "choose --benchmark NAME"),
        (("good", "blurred"), "choose --benchmark NAME"),
        (("good", "good", "--real", "held", "--only", "spectrum", "--size", "16"), "good is there already"),
        (("good",), "Missing argument 'B'"),
    ],
)
def test_mistakes(place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(place)
    done = medzoo("compare", *words)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


def test_results_of_two_machines_are_one_report(place: Path, tmp_path: Path) -> None:
    folders = save_generators(tmp_path / "discs")
    for machine, fake in (("a", "good"), ("b", "blurred")):
        run(folders, tmp_path / machine, fake, only=("spectrum",))
    other = run(folders, tmp_path / "b", "good", only=("spectrum",), named="again")
    out = tmp_path / "site"
    done = medzoo("report", tmp_path / "a", tmp_path / "b", "--out", out, "--title", "All & <more>")
    assert done.exit_code == 0, done.output
    names = {path.name for path in out.iterdir()}
    assert names == {"index.html", "again.html", "again.md", "folders-held-16.html", "folders-held-16.md", "scores.csv"}
    assert "<h1>All &amp; &lt;more&gt;</h1>" in (out / "index.html").read_text()
    both = (out / "folders-held-16.md").read_text()
    assert "`good`" in both and "`blurred`" in both and "## Verdict" in both
    rows = csv.DictReader((out / "scores.csv").read_text().splitlines())
    assert {row["benchmark"] for row in rows} == {"again", "folders-held-16"}
    shutil.rmtree(out)
    assert medzoo("report", tmp_path / "b", "--out", out, "--benchmark", "again").exit_code == 0
    assert {path.name for path in out.iterdir()} == {"index.html", "again.md", "scores.csv"}
    assert other.setting.title in (out / "index.html").read_text()


def test_a_benchmark_called_index_keeps_its_page(place: Path, tmp_path: Path) -> None:
    folders = save_generators(tmp_path / "discs")
    for name in ("index", "other"):
        run(folders, tmp_path / "results", "good", only=("spectrum",), named=name, title=f"Discs of {name}")
    assert medzoo("report", tmp_path / "results", "--out", tmp_path / "site").exit_code == 0
    first, page = ((tmp_path / "site" / name).read_text() for name in ("index.html", "_index.html"))
    assert 'href="_index.html"' in first and 'href="other.html"' in first and "<h1>Discs of index</h1>" in page


def test_figures_without_matplotlib_are_refused_before_anything_is_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = save_generators(tmp_path / "discs")
    run(folders, tmp_path / "results", "good", only=("spectrum",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = medzoo("report", tmp_path / "results", "--out", tmp_path / "site", "--figures")
    assert done.exit_code == 2 and pip_install("medzoo[figures]") in done.output
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (("nowhere",), "nowhere: no such folder"),
        (("held",), "no results in held"),
        ((), "Missing argument"),
    ],
)
def test_reports_of_nothing(place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(place)
    done = medzoo("report", *words)
    assert done.exit_code == 2 and message in done.output
