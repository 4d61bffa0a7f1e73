"""What ``pip install`` gives: a wheel that carries the registry and the embedded weights, and works anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tools.paths import ROOT

EMBEDDED = "10001_FASTGAN_POLYP_W_MASKS"

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    return next(folder.glob("medzoo-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of an environment with the wheel, and with the dependencies of this one but not its medzoo."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    places = {"base": str(environment), "platbase": str(environment)}
    site_packages = Path(sysconfig.get_path("purelib", vars=places))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python.parent


def run(*command: Any, cwd: Path | None = None, **environment: str) -> str:
    """Output of a command that has to succeed, with no trace of this checkout in its environment."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def shipped() -> set[Path]:
    """Files of the registry that an installed medzoo needs."""
    folders = (ROOT / "registry" / name for name in ("models", "datasets", "weights"))
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_carries_the_registry_byte_for_byte(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for path in shipped():
            assert archive.read(f"medzoo/{path.relative_to(ROOT)}") == path.read_bytes()
    assert len(shipped()) > 25
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks")) or "__pycache__" in name]
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert {path.name for path in (ROOT / "medzoo/report/templates").iterdir()} <= {Path(name).name for name in names}


def test_the_command_lists_the_registry_that_came_along(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import medzoo; print(medzoo.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)
    listed = run(installed / "medzoo", "list", cwd=tmp_path)
    ids = {line.split("\t")[0] for line in listed.splitlines()[1:]}
    assert ids == {path.stem for path in (ROOT / "registry" / "models").glob("*.yaml")}
    assert "not for clinical use" in run(installed / "medzoo", "info", "00010", cwd=tmp_path)


def test_it_generates(installed: Path, tmp_path: Path, add_model: Callable[..., str]) -> None:
    made = run(installed / "medzoo", "generate", add_model(), "-n", "2", "--out", "made", "--json", cwd=tmp_path)
    assert json.loads(made)["made"] == 2
    assert len(list((tmp_path / "made").glob("*.png"))) == 2


def test_the_embedded_model_generates_without_a_network(installed: Path, tmp_path: Path) -> None:
    if not (ROOT / "registry" / "models" / f"{EMBEDDED}.yaml").exists():
        pytest.skip(f"{EMBEDDED} is not in the registry yet")
    run(installed / "medzoo", "generate", EMBEDDED, "-n", "1", "--out", "made", cwd=tmp_path, HF_HUB_OFFLINE="1")
    assert {path.name for path in (tmp_path / "made").glob("*.png")} == {"00000000.png", "00000000_mask.png"}


@pytest.mark.slow
@pytest.mark.network
def test_an_installation_from_nothing_works(wheel: Path, tmp_path: Path) -> None:
    """As a user does it: dependencies come from the package index, in the versions of constraints.txt."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    run(*pip, "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    run(*pip, "check")
    code = "import medzoo; print(len(medzoo.list_models()), medzoo.generate.__name__)"
    count, name = run(environment / "bin" / "python", "-c", code, cwd=tmp_path).split()
    assert int(count) == len(list((ROOT / "registry" / "models").glob("*.yaml"))) and name == "generate"
