"""What ``pip install`` gives: a wheel that carries registry, embedded weights and types, and works anywhere.

The sdist makes the same wheel, and so do the files that the Dockerfile copies.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import medzoo
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


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    return next(folder.glob("medzoo-*.tar.gz"))


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


def members(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel but the list of them, which holds their hashes in an order of its own."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_sdist_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, sdist)
    assert members(next(tmp_path.glob("*.whl"))) == members(wheel)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/test_wheel.py", "packaging/Dockerfile", "docs/cluster.md", "Makefile", "constraints.txt"} <= names


def test_what_the_dockerfile_copies_is_enough(wheel: Path, tmp_path: Path) -> None:
    """There is no engine here to build the image with; the step that installs is done with the files that it has."""
    source = tmp_path / "src"
    text = (ROOT / "packaging" / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *names, target = line.split()
        for name in names:
            place = source / name if target == "./" else source / target
            copy: Any = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            place.parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, place)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source)
    made = {name for name in members(next(tmp_path.glob("*.whl"))) if "__pycache__" not in name}
    assert made == set(members(wheel))
    extras = re.search(r"ARG EXTRAS=(\S+)", text)
    assert extras is not None and set(extras[1].split(",")) <= set(project()["optional-dependencies"])


def test_the_conda_recipe_states_what_the_project_states() -> None:
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    called = {"torch": "pytorch"}  # in conda-forge
    stated = [re.fullmatch(r"([\w-]+)(.*)", text) for text in project()["dependencies"]]
    wanted = {f"{called.get(found[1], found[1])} {found[2]}" for found in stated if found is not None}
    assert set(recipe["requirements"]["run"]) == wanted | {f"python {project()['requires-python']}"}
    assert recipe["context"]["version"] == medzoo.__version__
    entry_point = f"medzoo = {project()['scripts']['medzoo']}"
    assert recipe["build"]["python"]["entry_points"] == [entry_point]


def project() -> dict[str, Any]:
    stated: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return stated


def test_a_user_sees_the_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import medzoo\n"
        "from medzoo.errors import MedzooError\n"
        "samples = medzoo.generate('10001', 4, seed=0)\n"
        "reveal_type(samples)\n"
        "reveal_type(medzoo.list_models())\n"
        "number: int = medzoo.generate('10001', 4)\n"
        "medzoo.generate('10001', 'four')\n"
    )
    options = ["--python-executable", installed / "python", "--no-incremental", "--follow-imports=silent"]
    done = subprocess.run(
        list(map(str, [sys.executable, "-m", "mypy", "--strict", *options, "mine.py"])),
        cwd=tmp_path, env={key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    said = done.stdout
    assert 'Revealed type is "medzoo.samples.Samples"' in said, said + done.stderr
    assert 'Revealed type is "medzoo.catalog.models.Models"' in said
    assert re.search(r"mine.py:6: error: Incompatible types in assignment", said)
    assert re.search(r'mine.py:7: error: Argument 2 to "generate" has incompatible type "str"', said)
    assert said.count("error:") == 2, said


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
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, which resolves for other platforms")
@pytest.mark.parametrize("platform", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"])
@pytest.mark.parametrize("python", ["3.11.5", "3.12", "3.13"])
def test_the_pinned_versions_resolve(platform: str, python: str, tmp_path: Path) -> None:
    """All extras, from wheels alone; the documentation's tools need Python 3.11.5."""
    where = ("--python-platform", platform, "--python-version", python, "--only-binary", ":all:")
    run("uv", "pip", "compile", "-q", *where, "--all-extras", "-c", ROOT / "constraints.txt", ROOT / "pyproject.toml")


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
