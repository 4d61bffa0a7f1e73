"""The path of a run, a file of weights or a folder of diffusers, as every command takes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from medzoo.cli import main
from medzoo.files.png import encode_png
from tests.conftest import random_state


def medzoo(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def done(*args: object) -> str:
    result = medzoo(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, as ``medzoo train`` leaves it: never exported, nothing held out measured."""
    folder = tmp_path_factory.mktemp("trained")
    images = folder / "images"
    images.mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
    for number, pixels in enumerate(drawn):
        (images / f"{number:02d}.png").write_bytes(encode_png(pixels, {}))
    made = ("train", "--family", "dcgan", "--data", images, "--size", 16, "--batch", 4, "--steps", 2)
    done(*made, "--out", folder / "polyps", "--no-held-out", "--quiet")
    return folder / "polyps"


def test_a_run_generates_before_anything_is_exported(run: Path, tmp_path: Path) -> None:
    done("generate", run, "-n", 2, "--out", tmp_path / "made", "--quiet")
    lines = [json.loads(line) for line in (tmp_path / "made" / "manifest.jsonl").read_text().splitlines()]
    assert [line["model_id"] for line in lines] == ["polyps@last-2"] * 2
    assert len({line["revision"] for line in lines}) == 1 and lines[0]["weights_sha256"]
    assert "polyps@last-2\tfamily\tpass" in done("check", run, "--offline")
    refused = medzoo("check", run, "--write-goldens")
    assert refused.exit_code == 2 and "goldens are of an entry" in refused.stderr


def test_info_of_a_run(run: Path) -> None:
    page = done("info", run)
    for words in ("a training run: dcgan, 16 px", "2 of 2", "not measured yet", "polyps@last-2, revision",
                  f"medzoo generate {run}", f"medzoo publish {run} --repo USER/NAME"):  # fmt: skip
        assert words in page, words
    facts = json.loads(done("info", run, "--json"))
    assert (facts["step"], facts["steps"], facts["finished"], facts["best"]) == (2, 2, True, None)
    unfinished = run.parent / "unfinished"
    unfinished.mkdir(exist_ok=True)
    (unfinished / "config.yaml").write_text((run / "config.yaml").read_text())
    refused = medzoo("info", unfinished)
    assert refused.exit_code == 2 and "has saved nothing yet" in refused.stderr


def test_info_of_a_file_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = random_state({"family": "dcgan", "config": {"ngf": 4, "nz": 8, "nc": 1, "image_size": 32}})
    torch.save({"g": {name: value * 2 for name, value in state.items()}, "g_ema": state}, "all.pth")
    page = done("info", "all.pth")
    for words in ("dcgan: image, 1 channel, 32 x 32 pixels", "the same network as wgan_gp",
                  "checkpoint: {container: torch, key: g_ema}  <- recommended: key g_ema (averaged weights)",
                  "medzoo.load('all.pth')", "medzoo new model --weights all.pth"):  # fmt: skip
        assert words in page, words
    families = json.loads(done("info", "all.pth", "--json"))["families"]
    assert list(families) == ["dcgan"] and families["dcgan"]["checkpoint"]["key"] == "g_ema"
    of_one = json.loads(done("info", "all.pth", "--family", "wgan_gp", "--json"))["families"]
    assert list(of_one) == ["wgan_gp"]
    done("generate", "all.pth", "--family", "wgan_gp", "-n", 1, "--quiet", "--out", "made")
    assert '"model_id": "all.pth"' in Path("made/manifest.jsonl").read_text()


def test_a_file_that_no_family_fits(tmp_path: Path) -> None:
    fields = {
        "family": "monai_gan",
        "config": {"latent": 4, "start_shape": [8, 4, 4], "channels": [4, 1], "strides": [2, 1]},
    }
    torch.save(random_state(fields), tmp_path / "near.pt")
    torch.save({"a.weight": torch.ones(3, 3)}, tmp_path / "far.pt")
    assert "the closest: monai_gan, which needs config.strides" in done("info", tmp_path / "near.pt")
    assert "families fits it as it is" in done("info", tmp_path / "far.pt")
    for name in ("near.pt", "far.pt"):
        refused = medzoo("generate", tmp_path / name, "-n", 1)
        assert refused.exit_code == 2 and "families fits it as it is" in refused.stderr
    unknown = medzoo("info", tmp_path / "far.pt", "--family", "fastgna")
    assert unknown.exit_code == 2 and "did you mean 'fastgan'" in unknown.stderr


def test_an_entry_of_ones_own_by_its_path(add_model: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_id = add_model()  # type: ignore[operator]
    path = next((tmp_path / "registry").glob(f"{model_id}.yaml"))
    monkeypatch.delenv("MEDZOO_REGISTRY")
    for named in (path, path.parent):
        page = done("info", named)
        assert f'medzoo.generate("{named}", 16' in page and f"medzoo info {named} --full" in page
