"""What has to be downloaded, told from plain fields, agrees with what the validated entry needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medzoo import catalog, weights
from medzoo.catalog import RawEntry, lookup
from medzoo.catalog.downloads import in_words, missing
from medzoo.files import cache
from tests.tools.paths import ROOT

SHA = "ab" * 32


def raw(folder: Path, *sources: Any) -> RawEntry:
    return RawEntry({"weights": list(sources)}, folder / "models" / "90001_X.yaml", folder)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(catalog.ENVIRONMENT, raising=False)
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))


def test_it_agrees_with_the_entries_of_the_registry() -> None:
    for one in lookup.read():
        located = one.load()
        here = weights.is_available_offline(located.entry, located.registry, located.path)
        assert (missing(one) == 0) == here, one.path


def test_a_file_of_the_registry_is_here(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    here, away = {"kind": "package", "file": "w.safetensors"}, {"kind": "package", "file": "x.safetensors"}
    assert missing(raw(tmp_path, here)) == 0 and missing(raw(tmp_path, away)) is None
    assert missing(raw(tmp_path, here | {"part": "a"}, away | {"part": "b"})) is None


def test_sizes_of_all_parts_are_added(tmp_path: Path) -> None:
    hub = {"kind": "hub", "repo": "a/b"}
    first, other = hub | {"part": "a", "file": "a.bin", "size": 5}, hub | {"part": "a", "file": "copy.bin"}
    config = hub | {"part": "c", "file": "config.json"}
    assert missing(raw(tmp_path, other, first, config)) == 5
    assert missing(raw(tmp_path, first, hub | {"part": "b", "file": "b.bin"})) is None


def test_what_is_in_the_cache_is_here(tmp_path: Path) -> None:
    one = raw(tmp_path, {"kind": "hub", "repo": "a/b", "file": "a.bin", "sha256": SHA, "size": 5})
    assert missing(one) == 5
    folder = cache.root() / "weights" / "90001_X"
    folder.mkdir(parents=True)
    assert missing(one) == 5  # the folder of a download that failed
    (folder / f"{SHA[:16]}-x.json").touch()
    assert missing(one) == 0


@pytest.mark.parametrize(
    "source", [None, 5, {}, {"kind": []}, {"kind": "package", "file": "\0"}, {"kind": "local", "path": 3}]
)
def test_fields_that_mean_nothing_are_a_download(tmp_path: Path, source: Any) -> None:
    assert missing(raw(tmp_path, source)) is None


def test_in_words(tmp_path: Path) -> None:
    hub = {"kind": "hub", "repo": "a/b", "file": "a.bin"}
    assert in_words(raw(tmp_path, hub)) == "download"
    assert in_words(raw(tmp_path, hub | {"size": 1_272_066})) == "1.3 MB"
    assert in_words(raw(tmp_path, hub | {"size": 3_850_000_000})) == "3,850 MB"


def test_sizes_that_are_known_about(tmp_path: Path) -> None:
    (tmp_path / "downloads.yaml").write_text("90001_X: 91")
    hub = {"kind": "hub", "repo": "a/b", "file": "a.bin"}
    assert in_words(raw(tmp_path, hub)) == "~91 MB" and in_words(raw(tmp_path, hub | {"size": 5_000_000})) == "5.0 MB"


def test_those_of_the_registry_are_of_models_without_exact_sizes() -> None:
    entries = {one.path.stem: one for one in lookup.read()}
    stated = yaml.safe_load((ROOT / "registry" / "downloads.yaml").read_text())
    assert all(missing(entries[name]) is None and size > 0 for name, size in stated.items())
