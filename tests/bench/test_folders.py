"""Benchmarks of a person's folders: their size, their names, and what must not be stored of where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medzoo.bench import reals
from medzoo.datasets import Protocol, smallest_side
from medzoo.errors import BenchmarkError
from tests.tools.bench_case import discs, run, save, save_generators


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return save_generators(tmp_path / "home_of_a_person")


def test_nothing_is_enlarged_unless_it_is_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    save(folders["real"], discs(40, 1, 32)[0])
    outcome = run(folders, tmp_path / "out", "good", only=("spectrum",), size=None)
    assert outcome.setting.image.size == 16 and outcome.setting.name == "folders-held-16"
    held, fake = (outcome.results[-1].data[whose]["sizes"] for whose in ("real", "fake"))
    assert held["smallest"] == [32, 32] and held["enlarged"] == fake["enlarged"] == 0
    larger = run(folders, tmp_path / "out", "good", only=("spectrum",), size=24)
    assert larger.results[-1].data["fake"]["sizes"]["enlarged"] == 48
    assert "ENLARGED to 24 px from 16 x 16 px" in larger.table() + str(larger.report(tmp_path / "r.html").read_text())


def test_the_smallest_side_is_read_from_heads_of_files(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "mixed").mkdir()
    for i, size in enumerate([(40, 30), (20, 50), (33, 33)]):
        Image.new("L", size, i).save(tmp_path / "mixed" / f"{i}.png")
    np.savez(tmp_path / "set.npz", test_images=np.zeros((3, 12, 14), np.uint8), test_labels=np.zeros((3, 1), np.uint8))
    assert smallest_side(tmp_path / "mixed") == 20
    assert smallest_side(tmp_path / "set.npz", split="test") == 12


def test_a_few_pixels_are_not_guessed_at(folders: dict[str, Path], tmp_path: Path) -> None:
    save(folders["good"], discs(48, 1, 4)[0])
    with pytest.raises(BenchmarkError, match="good: has pictures of 4 pixels; state --size"):
        run(folders, tmp_path / "out", "good", size=None)


def test_a_title_and_a_name_of_ones_own(folders: dict[str, Path], tmp_path: Path) -> None:
    options = {"only": ("spectrum",), "title": "Discs of March", "named": "discs-march"}
    outcome = run(folders, tmp_path / "out", "good", **options)
    assert outcome.setting.title == "Discs of March" and list((tmp_path / "out").glob("good/*/discs-march.json"))
    assert "<h1>Discs of March</h1>" in outcome.report(tmp_path / "page.html").read_text()
    for name, message in (("a/b", "letters, digits"), ("polyp_128", "of the registry")):
        with pytest.raises(BenchmarkError, match=message):
            run(folders, tmp_path / "out", "good", named=name)


def test_folders_above_are_not_stored(folders: dict[str, Path], tmp_path: Path) -> None:
    """They may name a person: of each path only the last part goes into results, pages and tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        outcome = run(folders, Path("out"), "good", "blurred", only=("spectrum", "near_copies"))
        page = outcome.report("page.html").read_text()
    stored = [path.read_text() for path in (tmp_path / "out").rglob("*.json")]
    assert len(stored) == 8
    for text in [*stored, page, json.dumps(outcome.plain()), outcome.table(), repr(outcome), str(outcome)]:
        assert "home_of_a_person" not in text and str(tmp_path) not in text


def test_generated_numbers_of_16_bits_mean_what_real_ones_do(tmp_path: Path) -> None:
    """Twice as bright stays twice as bright: a set of fakes must not be stretched by percentiles of its own."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, top in (("held", 4000), ("fake", 2000)):
        (tmp_path / name).mkdir()
        for i in range(12):
            pixels = rng.integers(0, top, (16, 16)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    with pytest.warns(UserWarning, match="use a part of their range"):
        known = reals.of_paths(tmp_path / "held", None, Protocol(size=16, channels="L"))
        assert known.window is not None
        there = {name: tmp_path / name for name in ("held", "fake")} | {"real": tmp_path / "held"}
        there["training"] = there["real"]
        outcome = run(there, tmp_path / "out", "fake", only=("spectrum",), training=None)
    made = outcome.contenders[-1].images(0, lambda done, total: None)
    assert made.images.max() == pytest.approx(known.held.images.max() / 2, abs=3)
