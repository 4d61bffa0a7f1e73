"""Registry folders that installed packages bring through the entry-point group ``medzoo.registries``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medzoo import catalog
from medzoo.catalog.places import RegistryWarning
from tests.tools.entry_points import write_entry_points
from tests.tools.paths import ROOT

MODELS = ROOT / "registry" / "models"


def write(folder: Path, model_id: str = "90001_TEST") -> Path:
    """The MedNIST entry under another id."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml").read_text()
    path = folder / f"{model_id}.yaml"
    path.write_text(text.replace("00101_MONAI_GAN_MEDNIST_HAND", model_id))
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on the path of Python."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def package(site: Path, name: str = "their_zoo", value: str | None = None, folder: str = "registry/models") -> Path:
    """An installed package that would fail if it were imported; gives its folder of entries."""
    models = site / name / folder
    models.mkdir(parents=True)
    (site / name / "__init__.py").write_text("raise AssertionError('a registry is found without an import')")
    write_entry_points(site, name, {"medzoo.registries": {name: value or name}})
    return models


def test_entries_of_a_package_are_found_without_importing_it(site: Path) -> None:
    path = write(package(site))
    located = catalog.resolve("90001")
    assert (located.path, located.registry) == (path, site / "their_zoo" / "registry")
    assert "90001_TEST" in [each.entry.model_id for each in catalog.load_all()]


def test_a_package_may_name_another_folder(site: Path) -> None:
    package(site, "one_zoo", "one_zoo:data.entries", "data/entries/models")
    write(site / "one_zoo" / "data" / "entries" / "models")
    package(site, "two_zoo", "two_zoo.inner", "inner/registry/models")
    write(site / "two_zoo" / "inner" / "registry" / "models", model_id="90002_TEST")
    assert {"90001_TEST", "90002_TEST"} <= set(catalog.model_files())


def test_own_folders_go_first(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(site)
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv(catalog.ENVIRONMENT, str(tmp_path / "mine"))
    assert catalog.folders()[1:] == [tmp_path / "mine", site / "their_zoo" / "registry"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "gone_zoo",
            "the registry 'broken' of package broken is left out: there is no package gone_zoo; correct 'gone",
        ),
        ("json.tool:x", "left out: .*json/tool/x is not a folder"),
        ("their_zoo:nowhere", "left out: .*their_zoo/nowhere is not a folder"),
        ("this", "there is no package this"),
    ],
)
def test_a_broken_registry_of_a_package_stops_no_other(site: Path, value: str, message: str) -> None:
    write(package(site))
    write_entry_points(site, "broken", {"medzoo.registries": {"broken": value}})
    with pytest.warns(RegistryWarning, match=message):
        files = catalog.model_files()
    assert "90001_TEST" in files and len(files) > 50


def test_a_broken_entry_of_a_package_hides_only_itself(site: Path) -> None:
    models = package(site)
    write(models)
    (models / "90002_BROKEN.yaml").write_text("model_id: 90002_BROKEN")
    with pytest.warns(RegistryWarning, match="90002_BROKEN.yaml:1: title: missing"):
        entries = catalog.load_all()
    assert "90001_TEST" in [located.entry.model_id for located in entries]


def test_an_id_that_a_package_takes_again_is_reported_with_both_places(site: Path) -> None:
    own = MODELS / "00101_MONAI_GAN_MEDNIST_HAND.yaml"
    theirs = write(package(site), model_id=own.stem)
    with pytest.warns(RegistryWarning, match=f"two files define 00101.*{own} and {theirs}; the first is taken"):
        files = catalog.model_files()
    assert files[own.stem][0] == own


def test_nothing_heavy_is_imported_to_list_them(site: Path) -> None:
    write(package(site))
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from medzoo import catalog; print(*catalog.model_files());"
        "assert not {'torch', 'pydantic', 'their_zoo'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "90001_TEST" in done.stdout
