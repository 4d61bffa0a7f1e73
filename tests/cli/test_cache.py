"""``medzoo cache``: list, verify, clear, warm."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from medzoo import weights
from medzoo.cli import main
from medzoo.cli.cache import cache
from medzoo.errors import UnknownModelError
from medzoo.files import cache as cachedir
from medzoo.weights import lockfile
from tests.tools.weights_case import CONTENT, MODEL, SHA256, copied, entry


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cache, list(arguments), input=text)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """One model in the cache; returns its file."""
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    source = {"kind": "local", "path": str(tmp_path / "mine.pt"), "sha256": SHA256}
    return weights.fetch(entry(source), base=tmp_path, convert=copied).path


def test_empty_cache() -> None:
    assert json.loads(run("list", "--json").stdout) == []
    assert run("list").stdout == ""
    assert "0 models" in run("list").stderr
    assert run("verify").exit_code == 0


def test_list(filled: Path, tmp_path: Path) -> None:
    line = run("list").stdout
    assert MODEL in line and "1.0 MB" in line and f"local {tmp_path / 'mine.pt'}" in line
    (item,) = json.loads(run("list", "--json").stdout)
    assert item["path"] == str(filled) and item["size"] == len(CONTENT)
    assert item["sha256"] == item["source_sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert item["date"].endswith("+00:00")


def test_list_shows_unfinished_downloads(tmp_path: Path) -> None:
    folder = cachedir.root() / "downloads" / MODEL
    folder.mkdir(parents=True)
    (folder / "x.part").write_bytes(bytes(2000))
    assert "unfinished download" in run("list").stdout
    assert run("clear", MODEL).exit_code == 0
    assert cachedir.unfinished() == []


def test_verify_finds_what_a_look_at_the_size_does_not(filled: Path) -> None:
    assert "1 models verified" in run("verify").stdout
    filled.write_bytes(CONTENT[:-1] + b"!")
    result = run("verify")
    assert result.exit_code == 2
    assert str(filled) in result.stderr and f"medzoo cache clear {MODEL}" in result.stderr


@pytest.mark.parametrize("damage", ["missing", "no record", "broken record"])
def test_verify_finds_files_that_do_not_belong_together(filled: Path, damage: str) -> None:
    if damage == "missing":
        filled.unlink()
    elif damage == "no record":
        filled.with_suffix(".json").unlink()
    else:
        filled.with_suffix(".json").write_text("{")
    assert run("verify").exit_code == 2


@pytest.mark.parametrize("name", [MODEL, "00010"])
def test_clear_one(filled: Path, name: str) -> None:
    lockfile.record(MODEL, "http x", SHA256, 1)
    lockfile.record("00011_OTHER", "http y", SHA256, 1)
    result = run("clear", name)
    assert result.exit_code == 0 and "1.0 MB freed" in result.stdout
    assert not filled.exists() and lockfile.models() == ["00011_OTHER"]


def test_clear_all_asks(filled: Path) -> None:
    assert run("clear", "--all", text="n\n").exit_code == 1
    assert filled.exists()
    assert run("clear", "--all", "--yes").exit_code == 0
    assert not filled.exists() and cachedir.models() == []


def test_clear_all_takes_features_and_benchmarks_along_but_one_model_does_not(filled: Path) -> None:
    made = [cachedir.root() / "features" / "a.parts" / "b.npy", cachedir.root() / "bench" / "x" / "y.png"]
    for path in made:
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(1_000_000))
    assert run("clear", MODEL).exit_code == 0
    assert all(path.exists() for path in made)
    result = run("clear", "--all", "--yes")
    assert result.exit_code == 0 and "2.0 MB freed" in result.stdout
    assert not (cachedir.root() / "features").exists() and not (cachedir.root() / "bench").exists()


def test_clear_what_is_not_there(filled: Path) -> None:
    result = run("clear", "00099_TYPO")
    assert isinstance(result.exception, UnknownModelError)
    assert f"nothing is cached for '00099_TYPO'; cached: {MODEL}" in str(result.exception)
    assert run("clear").exit_code == 2 and run("clear", MODEL, "--all").exit_code == 2
    assert filled.exists()


def test_warm_fetches_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch_weights(model_id: str) -> tuple[weights.Weights, ...]:
        asked.append(model_id)
        return (weights.Weights(Path("/cache/x.safetensors"), SHA256, "hub a/b@main/c"),)

    zoo = types.ModuleType("medzoo.zoo")
    zoo.fetch_weights = fetch_weights  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "medzoo.zoo", zoo)
    result = run("warm", "00010", "10001")
    assert asked == ["00010", "10001"]
    assert "00010: /cache/x.safetensors (from hub a/b@main/c)" in result.stdout
    assert run("warm").exit_code == 2


def test_features_are_warmed() -> None:
    run = CliRunner().invoke
    done = run(cache, ["warm", "--features", "pixels"])
    assert done.exit_code == 0 and done.stdout == "pixels: needs no weights\n"
    unknown = run(cache, ["warm", "--features", "inception"])
    assert unknown.exit_code == 2 and "there are clip, dinov2" in unknown.output and "inception_fid" in unknown.output
    alone = CliRunner().invoke(main, ["cache", "warm", "--features", "pixels:small"])
    assert alone.exit_code == 2 and "features 'pixels' have no variants; leave 'small' out" in alone.output
    assert "Give a MODEL_ID, or --features NAME" in run(cache, ["warm"]).output
