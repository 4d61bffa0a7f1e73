"""medzoo new: drafts that can be read, run, and fail only where something is left to do."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import medzoo
from medzoo import catalog
from medzoo import families as families_module
from medzoo.checking import check, statements
from medzoo.cli import main
from medzoo.entry import Entry
from medzoo.errors import RegistryError
from medzoo.publishing.drafts import Drafted, new_family, new_model, new_plugin
from tests.conftest import entry_fields, random_state
from tests.tools.diffusers_folder import pipeline
from tests.tools.entry_points import install as install_project
from tests.tools.paths import ROOT

MODELS = sorted(path.stem for path in (ROOT / "registry" / "models").glob("*.yaml"))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "registry" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "registry"


def new(*args: object) -> Result:
    return CliRunner().invoke(main, ["new", *map(str, args)])


def failing(path: Path) -> set[str]:
    return {one.name for one in check(str(path), offline=True).findings if one.status == "fail"}


@pytest.mark.parametrize("nearest", MODELS)
def test_a_draft_runs_as_its_relative(nearest: str, registry: Path) -> None:
    drafted = new_model(nearest, registry)
    entry, relative = catalog.load_file(drafted.files[0]).entry, catalog.resolve(nearest).entry
    for name in ("family", "config", "sampling", "checkpoint", "output", "condition", "modality", "organ", "tags"):
        assert getattr(entry, name) == getattr(relative, name), name
    assert entry.parts == relative.parts and all("TODO" in source.path for source in entry.weights)
    assert entry.reported == () and entry.verified == () and entry.citation is None and entry.notes is None


def test_a_draft_fails_only_where_something_is_to_do(registry: Path) -> None:
    done = new("model", "--from", "10001", "--id", "FASTGAN_MINE")
    assert done.exit_code == 0, done.output
    path = registry / "models" / "00103_FASTGAN_MINE.yaml"  # 00101 and 00102 are taken
    assert f"written: {path.relative_to(registry.parent)}" in done.stdout and "medzoo check" in done.stdout
    assert failing(path) == {"to do", "weights"}
    text = path.read_text()
    marked = [line for line in text.splitlines() if "TODO" in line]
    weights = catalog.resolve("10001")
    file = weights.registry / weights.entry.weights[0].file
    finished = "\n".join(line for line in text.splitlines() if not line.startswith("# TODO"))
    finished = finished.replace("TODO.safetensors", str(file)).replace("TODO: what it makes, in one line", "Mine")
    path.write_text(finished.replace("TODO", '"mine"'))
    located = catalog.load_file(path)
    assert len(marked) == 6
    findings = [look(located) for look in (statements.to_do, statements.licence, statements.data, statements.family)]
    assert {one.status for one in [*findings, *statements.sources(located)]} == {"pass"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "00103_FASTGAN_TODO"),
        (["--own"], "{own}_FASTGAN_TODO"),
        (["--id", "90001_X"], "90001_X"),
        (["--own", "--id", "X-1"], "{own}_X-1"),
    ],
)
def test_the_next_free_number(registry: Path, options: list[str], name: str) -> None:
    taken = {path.name[:5] for path in (ROOT / "registry" / "models").glob("*.yaml")}
    name = name.format(own=next(number for number in range(10001, 99999) if str(number) not in taken))
    done = new("model", "--from", "10001", *options, "--json")
    assert json.loads(done.stdout)["model_id"] == name
    assert (registry / "models" / f"{name}.yaml").is_file()


def test_the_parts_of_a_relative_are_kept_under_their_names(registry: Path) -> None:
    text = new_model("00302", registry).files[0].read_text()
    assert '{kind: local, path: "TODO/unet/diffusion_pytorch_model.bin", sha256: null, part: unet}' in text
    assert 'part: "scheduler/scheduler_config"' in text


# ----------------------------------------------------------------------------------- from a file of weights


def drafted(*args: object) -> Entry:
    done = new("model", *args, "--json")
    assert done.exit_code == 0, done.output
    return catalog.load_file(Path(json.loads(done.stdout)["files"][0])).entry


def test_a_draft_of_a_file_runs_as_the_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a checkout: beside the file, whose averaged weights are taken."""
    import torch

    monkeypatch.chdir(tmp_path)
    state = random_state({"family": "dcgan", "config": {"ngf": 4, "nz": 8, "nc": 1, "image_size": 32}})
    torch.save({"g": {name: value * 2 for name, value in state.items()}, "g_ema": state}, tmp_path / "best 50.pth")
    entry = drafted("--weights", "best 50.pth")
    assert (entry.model_id, entry.family) == ("90001_DCGAN_BEST_50", "dcgan")
    assert (entry.checkpoint.container, entry.checkpoint.key) == ("torch", "g_ema")
    assert entry.weights[0].path == "best 50.pth" and entry.weights[0].size == Path("best 50.pth").stat().st_size
    assert entry.output.size == (32, 32) and entry.output.channels == 1
    path = f"{entry.model_id}.yaml"
    assert "# the weights say {" in Path(path).read_text()
    assert failing(Path(path)) == {"to do"}
    of_draft, of_file = medzoo.generate(path, 2), medzoo.generate("best 50.pth", 2)
    np.testing.assert_allclose(of_draft.images, of_file.images, atol=1e-6)
    assert of_draft.weights_sha256 == of_file.weights_sha256


def test_a_draft_of_one_of_several_networks(tmp_path: Path, registry: Path) -> None:
    import torch

    fields = {"family": "monai_gan", "config": entry_fields()["config"]}
    one, two = random_state(fields), {name: value * 2 for name, value in random_state(fields).items()}
    torch.save({"netG_A": one, "netG_B": two}, tmp_path / "two.pt")
    stated = ("--weights", tmp_path / "two.pt", "--family", "monai_gan", "--config", '{"strides": [2, 1]}')
    asked = new("model", *stated)
    assert asked.exit_code == 2 and "fit equally well" in asked.stderr and '"key": "netG_B"' in asked.stderr
    entry = drafted(*stated, "--key", "netG_B", "--id", "B")
    assert entry.checkpoint.key == "netG_B" and entry.config["strides"] == [2, 1]
    assert entry.model_id == "00103_B"  # in a checkout, a number of models published elsewhere
    made = medzoo.load(registry / "models" / "00103_B.yaml", fused=False, device="cpu")
    name, value = next(iter(two.items()))
    assert torch.equal(made.network.state_dict()[name], value)


def test_a_draft_of_a_folder_of_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pipeline(tmp_path / "my-ddpm")
    entry = drafted("--weights", folder)
    assert entry.family == "diffusion" and set(entry.parts) == {"unet", "unet/config", "scheduler/scheduler_config"}
    assert entry.checkpoint.container == "safetensors"
    assert {source.path for source in entry.weights} >= {"my-ddpm/unet/config.json"}
    of_draft, of_folder = (medzoo.generate(one, 1, steps=2) for one in (f"{entry.model_id}.yaml", folder))
    np.testing.assert_allclose(of_draft.images, of_folder.images, atol=1e-6)
    sharded = pipeline(tmp_path / "in-shards", max_shard_size="30KB")
    again = drafted("--weights", sharded, "--id", "SHARDS")
    assert any(source.path.endswith("safetensors.index.json") for source in again.weights)
    np.testing.assert_allclose(medzoo.generate("./90002_SHARDS.yaml", 1, steps=2).images, of_folder.images, atol=1e-6)


def test_what_is_no_file_to_draft_from(tmp_path: Path, registry: Path) -> None:
    (tmp_path / "x.txt").write_text("text")
    for args, words in (
        ((), "give --weights PATH"),
        (("--from", "10001", "--weights", "x.pt"), "give --weights PATH"),
        (("--from", "10001", "--family", "vae"), "--family goes with --weights"),
        (("--weights", tmp_path / "gone.pt"), "there is no file or folder"),
        (("--weights", tmp_path / "x.txt"), "is plain text, not a checkpoint. A model is"),
        (("--weights", ROOT / "registry/models/10001_FASTGAN_POLYP_W_MASKS.yaml"), "is an entry already"),
        (("--weights", "x.pt", "--config", "[1]"), "expected JSON such as"),
    ):
        done = new("model", *args)
        assert done.exit_code == 2 and words in done.stderr, done.stderr


def test_nothing_is_written_over(registry: Path) -> None:
    new_model("10001", registry, model_id="90001_X")
    path = registry / "models" / "90001_X.yaml"
    path.write_text("mine")
    for model_id in ("90001_X", "90001_Y", "00010_Z"):
        done = new("model", "--from", "10001", "--id", model_id)
        assert done.exit_code == 2 and f"the number {model_id[:5]} is taken by" in done.stderr
    families = registry.parent / "families"
    families.mkdir()
    (families / "my_gan.py").write_text("mine")
    with pytest.raises(RegistryError, match="my_gan.py exists, and nothing is written over"):
        new_family("my_gan", families, registry)
    assert path.read_text() == (families / "my_gan.py").read_text() == "mine"
    assert list((registry / "models").iterdir()) == [path]


def test_what_users_mistype(registry: Path, tmp_path: Path) -> None:
    assert "is no id" in new("model", "--from", "10001", "--id", "lower case").stderr
    assert "no model has the id" in new("model", "--from", "nonsense").stderr
    assert "is not a folder; go to a checkout" in new("model", "--from", "10001", "--registry", "none").stderr
    assert "is not a folder; go to a checkout" in new("family", "my_gan").stderr
    assert "there is a family 'fastgan' already" in new("family", "fastgan", "--families", tmp_path).stderr
    for name in ("My-GAN", "1gan", "class", "../up", ""):
        assert "is no name of a family" in new("family", name, "--families", tmp_path).stderr
    assert not list((registry / "models").iterdir())


def test_half_a_family_is_not_left(registry: Path, tmp_path: Path) -> None:
    (tmp_path / "registry" / "models").rmdir()
    (tmp_path / "registry" / "models").write_text("no folder")
    with pytest.raises(RegistryError):
        new_family("my_gan", tmp_path, tmp_path / "registry" / "models")
    assert not (tmp_path / "my_gan.py").exists()


def test_a_family_runs_and_fails_only_where_something_is_to_do(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    families = tmp_path / "medzoo" / "families"
    families.mkdir(parents=True)
    done = new("family", "my_gan")
    assert done.exit_code == 0, done.output
    assert 'test_contract.py:\n    FamilyCase("my_gan", {"latent": 4, "size": 8}, (8, 8)),' in done.stdout
    found = install(families / "my_gan.py", monkeypatch)
    assert found.__name__ == "MyGan"

    (path,) = (registry / "models").iterdir()
    assert failing(path) == {"to do", "weights"}
    state = random_state({"family": "my_gan", "config": {"latent": 4, "size": 8}})
    save_file(state, path.parent / "toy.safetensors")
    text = path.read_text().replace("TODO.safetensors", "toy.safetensors").replace("container: torch", _SAFE)
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("# TODO")))
    assert failing(path) == {"to do"}
    generator = families_module.get_family("my_gan")(catalog.load_file(path).entry, state, device="cpu")
    np.testing.assert_allclose(generator.generate(3, start=2).images[0], generator.generate(3).images[2], atol=1e-5)


_SAFE = "container: safetensors"


def install(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a file the family of its name, as if it lay beside the others."""
    name = f"medzoo.families.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    known = [*families_module.builtin_families(), path.stem]
    monkeypatch.setattr(families_module._FOLDER, "builtin", lambda: known)
    return families_module.get_family(path.stem)


def test_what_is_drafted_uses_public_names_alone(registry: Path, tmp_path: Path) -> None:
    drafted = [*new_plugin("toy_gan", tmp_path / "medzoo-toys").files, *new_model("10001", registry).files]
    imported = [line for path in drafted for line in path.read_text().splitlines() if "import" in line.split()]
    assert imported and not [line for line in imported if re.search(r"medzoo\.\w*\.?_|import _", line)]


def test_names_that_make_no_package(tmp_path: Path) -> None:
    assert "'9-lives' makes no name of a package" in new("family", "toy", "--plugin", tmp_path / "9-lives").stderr
    assert "there is a package 'torch' already" in new("family", "toy", "--plugin", tmp_path / "torch").stderr
    assert "there is a family 'vae' already" in new("family", "vae", "--plugin", tmp_path / "medzoo-toys").stderr
    new("family", "toy", "--plugin", tmp_path / "medzoo-toys")
    again = new("family", "toy", "--plugin", tmp_path / "medzoo-toys")
    assert again.exit_code == 2 and "pyproject.toml exists, and nothing is written over" in again.stderr


def test_a_package_of_ones_own_from_draft_to_images(tmp_path: Path) -> None:
    """As a stranger does it outside of a checkout: draft, install, test, fill in, check, generate."""
    project, site = tmp_path / "medzoo-toys", tmp_path / "site"
    drafted = new_plugin("toy_gan", project)
    install_project(site, project)

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(site), str(project), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", *map(str, args)]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)

    tested = run("pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0 and " passed" in tested.stdout, tested.stdout
    assert drafted.model_id in run("medzoo", "list", "--family", "toy_gan").stdout
    unfinished = run("medzoo", "check", drafted.model_id)
    assert unfinished.returncode != 0 and "TODO is left in" in unfinished.stdout

    fill_in(drafted)
    assert "Of            x-ray" in run("medzoo", "info", "90001").stdout
    checked = run("medzoo", "check", "90001", "--offline")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made = run("medzoo", "generate", "90001", "-n", "3", "--out", tmp_path / "made")
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "made").glob("*.png"))) == 3


def fill_in(drafted: Drafted) -> None:
    """Replace every TODO of a drafted package, and state random weights."""
    import torch
    from safetensors.torch import save_file

    state = {
        "linear.weight": torch.randn(64, 4, generator=torch.Generator().manual_seed(0)),
        "linear.bias": torch.zeros(64),
    }
    save_file(state, drafted.files[-1].parent / "toy.safetensors")
    changes = {"TODO.safetensors": "toy.safetensors", "container: torch": _SAFE, "modality: TODO": "modality: x-ray"}
    for path in drafted.files:
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        lines = [line for line in text.splitlines() if not line.strip().startswith("# TODO")]
        path.write_text("\n".join(lines).replace("TODO", "toy") + "\n")
