"""Families by name: imported when an entry names them, from this package or another."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

import medzoo.families as families
from medzoo.errors import RegistryError
from medzoo.families import get_family, known_families
from tests.tools.entry_points import write_entry_points
from tests.tools.fixed_family import Fixed


def test_families_are_imported_only_when_named() -> None:
    import subprocess

    code = (
        "import sys; from medzoo.families import known_families; print(known_families());"
        "assert 'torch' not in sys.modules; from medzoo.families import get_family; get_family('monai_gan');"
        "assert 'medzoo.families.fastgan' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "'monai_gan'" in result.stdout


def test_another_package_provides_a_family(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("their_package")
    module.TheirGenerator = Fixed  # type: ignore[attr-defined]
    module.something = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_package", module)
    points = {"theirs": "their_package:TheirGenerator", "odd": "their_package:something", "gone": "their_package:Gone"}
    write_entry_points(tmp_path, "their-package", {"medzoo.families": points})
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in known_families()
    assert get_family("theirs") is Fixed
    with pytest.raises(RegistryError, match="'odd' of an installed package: their_package:something is no family"):
        get_family("odd")
    with pytest.raises(RegistryError, match="'gone' of an installed package does not load: their_package:Gone"):
        get_family("gone")
    with pytest.raises(RegistryError, match="no family is named 'dream'; there are .*gone.*monai_gan"):
        get_family("dream")


def test_what_an_author_needs_has_public_names() -> None:
    for name in ("Generator", "FamilyConfig", "Given", "Conditions", "Translator", "InstanceNorm", "norm_layer"):
        assert name in families.__all__ and getattr(families, name).__name__ == name
