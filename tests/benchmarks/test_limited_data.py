"""The study of training with little data: its runs, and that the page says what its results say."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from medzoo.datasets import Images
from medzoo.errors import MedzooError
from medzoo.training.techniques import create
from tests.tools.paths import ROOT

FEW: dict[str, Any] = {
    "dataset": "tiny", "size": 16, "images": (8,), "techniques": ("none", "ada"), "width": 4, "steps": 3,
    "batch": 4, "every": 2, "samples": 4,
}  # fmt: skip


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # its processes import it too
    return importlib.import_module("limited_data")


@pytest.fixture
def pages(script: ModuleType) -> ModuleType:
    return importlib.import_module("limited_data_page")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with the data set 'tiny' (16 px, 20 train, 6 val), and the folder of its data."""
    file = tmp_path / "data" / "tiny" / "tiny.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, train_images=pixels(20), val_images=pixels(6, seed=1))
    folder = tmp_path / "registry" / "datasets"
    folder.mkdir(parents=True)
    words = dict.fromkeys(("title", "modality", "source", "preparation", "license", "attribution"), "none")
    stated = {
        "name": "tiny", "organ": None, "splits": {"train": 20, "val": 6}, "channels": 1, "notes": None, **words,
        "layout": {"kind": "arrays", "file": file.name, "images": "{split}_images"},
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest()},
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(json.dumps(stated))  # JSON is YAML
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder.parent))
    return tmp_path / "data"


def pixels(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)


def images(n: int = 20) -> Images:
    return Images(pixels(n), None, tuple(map(str, range(n))))


class Judge:
    """Stands in for HeldOut, whose network takes seconds."""

    def __init__(self) -> None:
        self.held, self.training = images(6), None

    def __call__(self, found: Any, masks: Any = None) -> dict[str, float]:
        return {"fd": float(found.std()), "kid": float(found.mean()), "near_copies": 0.0}


def test_runs_are_made_once_and_end_in_results_table_and_plot(
    script: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(script.FORMS, "short", script.Study(**FEW))
    command = ["--data", str(data), "--out", str(tmp_path / "out"), "--seeds", "1", "--json"]
    assert script.main(command) == 0
    printed = capsys.readouterr()
    assert "2 of 2 runs, 100.0% of the steps" in printed.err
    found = json.loads(printed.out)
    assert [(cell["seed"], cell["images"], cell["technique"]) for cell in found["cells"]] == [
        (0, 8, "none"),
        (0, 8, "ada"),
    ]
    for cell in found["cells"]:
        assert [row["step"] for row in cell["trace"]] == [2, 3] and cell["last"] == cell["trace"][-1]
        assert cell["best"]["kid"] == min(row["kid"] for row in cell["trace"])
        assert {"fd", "kid", "r_t", "r_v", "near_copies"} <= set(cell["last"])
    assert found["data"]["held_out"]["images"] == 6 and found["real"]["kid"] < found["cells"][0]["last"]["kid"]
    assert found == json.loads((tmp_path / "out" / "results.json").read_text())
    assert "| 8 | ADA |" in (tmp_path / "out" / "table.md").read_text()
    ElementTree.parse(tmp_path / "out" / "plot.svg")

    monkeypatch.setattr(script, "make_all", lambda *_: pytest.fail("everything is made"))
    assert script.main(command) == 0 and json.loads(capsys.readouterr().out) == found
    assert script.main([*command, "--seeds", "2", "--collect"]) == 2
    assert "2 of 4 runs are not finished (seed1/00008-none ...)" in capsys.readouterr().err
    monkeypatch.setitem(script.FORMS, "short", script.Study(**FEW | {"steps": 4}))
    assert script.main(command) == 2
    assert "holds another study (steps: 3 -> 4); take another --out" in capsys.readouterr().err


def test_a_run_that_was_cut_ends_as_one_that_was_not(script: ModuleType, tmp_path: Path) -> None:
    study, cell = script.Study(**FEW), script.Cell(0, 8, "ada")
    path = tmp_path / "cut" / cell.name / "cell.json"
    script.make(study, cell, images(), Judge(), tmp_path / "cut", "cpu", stopped=lambda: True)
    assert not path.exists() and not script.finished(tmp_path / "cut", cell)
    assert script.made(study, [cell], tmp_path / "cut") == 0  # log.csv has a line every ten steps
    for folder in ("cut", "whole"):
        script.make(study, cell, images(), Judge(), tmp_path / folder, "cpu")
    assert path.read_text() == (tmp_path / "whole" / cell.name / "cell.json").read_text()
    assert script.made(study, [cell], tmp_path / "cut") == 3


def test_a_cell_of_another_process_is_left_alone(script: ModuleType, tmp_path: Path) -> None:
    with script.claimed(tmp_path / "cell") as mine, script.claimed(tmp_path / "cell") as again:
        assert mine and not again
    with script.claimed(tmp_path / "cell") as mine:
        assert mine


def test_subsets_are_nested_and_of_their_seed(script: ModuleType) -> None:
    few, more, other = (set(script.subset(images(), n, seed).names) for n, seed in ((5, 0), (9, 0), (5, 1)))
    assert len(few) == 5 and few < more and few != other
    assert set(script.subset(images(), 20, 0).names) == set(images().names)


def test_cells_go_through_all_techniques_of_a_seed_first(script: ModuleType) -> None:
    cells = script.SHORT.cells(2, 4708)
    assert len({cell.name for cell in cells}) == 30
    assert [cell.seed for cell in cells] == [0] * 15 + [1] * 15
    assert {cell.images for cell in cells} == {100, 500, 4708}
    with pytest.raises(MedzooError, match="has 89 training images; the study needs more than 500"):
        script.SHORT.cells(1, 89)


@pytest.mark.parametrize("name", ["ada", "apa"])
def test_p_can_reach_its_limit_at_half_time(script: ModuleType, name: str) -> None:
    study = script.SHORT
    (stated,) = study.config(script.Cell(0, 100, name)).techniques
    heuristic = create(batch=study.batch, **stated).heuristic
    history = []
    for _ in range(study.steps):
        heuristic.see(torch.ones(study.batch, 1))
        history.append(heuristic.p)
    reached = next(step for step, p in enumerate(history, 1) if p == heuristic.options.limit)
    assert reached == pytest.approx(study.steps / 2, rel=0.02)


def results(script: ModuleType) -> dict[str, Any]:
    """Two seeds of two cells, KID 0.1 and 0.3 without technique."""
    cells = []
    for seed in (0, 1):
        for technique, more in (("none", {}), ("ada", {"p": 0.5})):
            row = {"step": 2, "kid": 0.1 + 0.2 * seed, "fd": 80.0, "r_t": 0.5, "r_v": 0.25, "near_copies": 0.125}
            last = row | {"step": 3, "kid": row["kid"] + 0.1}
            cells.append({"seed": seed, "images": 8, "technique": technique, "best": row, "last": last, **more})
    return {
        "study": {**asdict(script.Study(**FEW)), "kimg": 0.006, "seeds": 2},
        "data": {"train": {"images": 20, "sha256": "0"}, "held_out": {"images": 6, "sha256": "1"}},
        "made": {"device": "a processor", "torch": "2", "medzoo": "0"},
        "real": {"kid": 0.01, "fd": 20.0},
        "cells": cells,
    }


def test_the_table_has_means_and_ranges(script: ModuleType, pages: ModuleType) -> None:
    found = results(script)
    text = pages.table(found)
    assert "| 8 | none | 0.200 (0.100–0.300) | 0.300 (0.200–0.400) | 80.0 (80.0–80.0) | 80.0 (80.0–80.0) |" in text
    assert (
        "| 8 | ADA | 2 | 0.50 | 0.25 | 12.5 % | 0.50 |" in text and "| real training images | 0.010 |  | 20.0 |" in text
    )
    assert "seeds 0, 1; a processor, torch 2. Mean" in text
    found["cells"].pop()
    assert "**1 of 4 runs are missing.**" in pages.table(found) and "| 8 | ADA | 0.100 |" in pages.table(found)


def test_the_plot_has_every_cell_and_both_schemes(script: ModuleType, pages: ModuleType) -> None:
    text = pages.plot(results(script))
    root = ElementTree.fromstring(text)
    assert len(root.findall(".//{*}g/{*}path[@class='whisker c0']")) == len(pages.PANELS) == 4
    assert (
        len([one for one in root.iter() if (one.get("class") or "").startswith("dot c1")]) == 1 + 4
    )  # one in the legend
    assert "prefers-color-scheme: dark" in text and 'class="paper"' in text and "NaN" not in text


def test_the_page_says_what_the_results_say(script: ModuleType, pages: ModuleType) -> None:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in pages.RESULTS]
    written = pages.PAGE.read_text(encoding="utf-8")
    hint = "write it anew: python benchmarks/limited_data_page.py"
    assert pages.page(written, found) == written, hint
    assert pages.PICTURE.read_text(encoding="utf-8") == pages.plot(found[0]), hint
    for one, form in zip(found, ("short", "more-steps"), strict=True):
        stated = {key: value for key, value in one["study"].items() if key not in ("kimg", "seeds")}
        assert stated == json.loads(json.dumps(asdict(script.FORMS[form]))), "the study changed: run it again"
