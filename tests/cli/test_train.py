"""``medzoo train`` and ``medzoo export``: from images to a model of the registry, and what users mistype."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medzoo
from medzoo import catalog
from medzoo.files.png import encode_png
from medzoo.training import heldout, presets, selection, tables
from medzoo.training.config import load_config
from tests.tools.paths import ROOT
from tests.tools.training import FASTGAN, assert_same, load, mean_features, medzoo_

MODEL = "99001_DCGAN_TINY"
# A family whose export takes a second; that of FastGAN is tested in tests/training/test_export.py.
DCGAN: dict[str, Any] = {
    "family": "dcgan", "size": 16, "config": {"ngf": 4, "nz": 5}, "critic": {"ndf": 4}, "techniques": [],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _without_weights(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that need no weights."""
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset ``tiny`` of six training and three held-out images with masks; gives the folder that holds it."""
    folder, registry = tmp_path / "data" / "tiny", tmp_path / "registry"
    for one in (folder / "images", folder / "masks", registry / "datasets", registry / "models"):
        one.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["id,split"]
    for i in range(9):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1)
        mask = np.zeros((128, 128, 1), np.uint8)
        mask[32:96, 32 : 64 + 4 * i] = 255
        (folder / "images" / f"{i}.png").write_bytes(encode_png(pixels, {}))
        (folder / "masks" / f"{i}.png").write_bytes(encode_png(mask, {}))
        rows.append(f"{i},{'val' if i % 3 == 2 else 'train'}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{digest(path)}  ./{path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text(sums)
    fields = {
        "name": "tiny", "title": "Tiny frames", "modality": "endoscopy", "organ": "colon", "channels": 3,
        "splits": {"train": 6, "val": 3}, "sha256sums": digest(folder / "SHA256SUMS"),
        "layout": {
            "kind": "folder", "table": "meta.csv", "table_sha256": digest(folder / "meta.csv"), "id": "id",
            "split": "split", "images": "images/{id}.png", "masks": "masks/{id}.png",
        },
        "source": "drawn", "preparation": "none", "license": "CC0-1.0", "attribution": "nobody", "notes": None,
    }  # fmt: skip
    (registry / "datasets" / "tiny.yaml").write_text(json.dumps(fields))
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
    return folder.parent


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps(FASTGAN | changes))
        return path

    return write


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_from_images_to_a_model_of_the_registry(
    tmp_path: Path, data: Path, config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, registry = tmp_path / "run", tmp_path / "registry"
    done = medzoo_("train", config(**DCGAN, steps=5), "--data", data, "--out", run, "--steps", 3)
    assert done.exit_code == 0, done.output
    assert f"{run}: 3 steps, 3 made in" in done.stdout and "best: step" in done.stdout
    assert load_config(run / "config.yaml").steps == 3

    done = medzoo_("train", config(**DCGAN, steps=5), "--data", data, "--out", run, "--json")
    summary = json.loads(done.stdout)
    assert (summary["step"], summary["made"]) == (5, 2) and summary["steps_per_second"] > 0
    rows = (run / "heldout.csv").read_text().splitlines()
    columns = "step,fd,kid,spectrum_gap,near_copies,mask_gap,mask_border,mask_empty,r_t,r_v,d_gap,seconds"
    assert rows[0] == columns
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "3", "4", "5"]  # every second, and each last one
    table = tables.read_table(run / "heldout.csv")
    chosen = table[selection.best(table)]
    assert summary["best"]["step"] == chosen["step"] and summary["stopped"] is None
    assert summary["best"]["kid"] == pytest.approx(chosen["kid"], rel=1e-4)
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"00000{i}.png" for i in (0, 2, 3, 4, 5)]

    monkeypatch.setenv("MEDZOO_DATA", str(data))
    done = medzoo_("export", run, "--model-id", MODEL, "--registry", registry, "--half", "--json")
    assert done.exit_code == 0, done.output
    exported = json.loads(done.stdout)
    weights = registry / "weights" / f"{MODEL}.safetensors"
    assert exported["weights"] == str(weights) and exported["drafted"] and exported["step"] == summary["best"]["step"]
    assert (exported["sha256"], exported["size"]) == (digest(weights), weights.stat().st_size)
    assert exported["chosen"] == min(exported["scores"], key=lambda name: exported["scores"][name]["kid"])
    record = registry / "training" / MODEL
    assert sorted(path.name for path in record.iterdir()) == ["config.yaml", "heldout.csv"]  # no tenth step, no log
    assert load_config(record / "config.yaml").steps == 5

    entry = catalog.resolve(MODEL).entry
    assert entry.output.size == (16, 16) and entry.output.masks == 1 and entry.training_data.images == 6
    assert (entry.license.weights, entry.license.data) == (None, "CC0-1.0") and entry.verified == ()
    samples = medzoo.generate(MODEL, 2, seed=0)
    # What was measured is what is generated: the same samples of the exported numbers, fused and read back.
    assert samples.images.shape == (2, 3, 16, 16) and samples.masks.shape == (2, 1, 16, 16)
    measured = heldout.HeldOut(held_out_images(data))(np.rint(samples.images * 255).astype(np.uint8))
    assert measured["kid"] == pytest.approx(exported["scores"][exported["chosen"]]["kid"], abs=1e-4)

    drafted = (registry / "models" / f"{MODEL}.yaml").read_bytes()
    done = medzoo_("export", run, "--model-id", MODEL, "--registry", registry, "--checkpoint", "latest")
    assert done.exit_code == 0, done.output
    assert f"{weights}: step 5, " in done.stdout and "(exported)" in done.stdout and "is left alone" in done.stdout
    assert (registry / "models" / f"{MODEL}.yaml").read_bytes() == drafted


def held_out_images(data: Path) -> Any:
    from medzoo.datasets import load_dataset

    return load_dataset("tiny", root=data, split="val", size=16)


def test_what_users_mistype(tmp_path: Path, data: Path, config: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    cases: list[tuple[dict[str, Any], list[Any], str]] = [
        ({"dataset": "tinny"}, [], "no dataset is named 'tinny'; there are"),
        ({"size": 100}, [], "config.yaml:1: size: expected 128, 256, 512 or 1024, found 100"),
        ({"batch": 7}, [], "6 training images are fewer than a batch of 7"),
        ({}, ["--device", "cuda:9"], "device 'cuda:9'"),
        ({}, ["--data", tmp_path / "nowhere"], "--data DIR"),
    ]
    for changes, options, message in cases:
        done = medzoo_("train", config(**changes), "--data", data, "--out", run, "--quiet", *options)
        assert done.exit_code == 2 and message in done.stderr, (message, done.output)
        assert "Traceback" not in done.output and not run.exists()
    done = medzoo_("train", tmp_path / "none.yaml", "--out", run)
    assert done.exit_code == 2 and "none.yaml: cannot be read (No such file or directory)" in done.stderr
    for field in ("critic.ndf", "=3", "critic.ndf=[", "steps=!!python/object:x", "steps=" + 2000 * "["):
        done = medzoo_("train", "--family", "dcgan", "--data", data, "--size", 16, "--set", field, "--dry-run")
        assert done.exit_code == 2 and "expected FIELD=VALUE" in done.stderr, done.output
    done = medzoo_("train", config(), "--data", data)
    assert done.exit_code == 2 and "--out" in done.stderr


def test_what_cannot_be_exported(tmp_path: Path, data: Path, config: Callable[..., Path]) -> None:
    run, registry = tmp_path / "run", tmp_path / "registry"
    wanted = ["--data", data, "--registry", registry, "--model-id"]
    done = medzoo_("export", run, *wanted, MODEL)
    assert done.exit_code == 2 and f"{run / 'config.yaml'}: cannot be read" in done.stderr
    command = ("train", config(), "--data", data, "--out", run, "--steps", 1, "--no-held-out", "--quiet")
    assert medzoo_(*command).exit_code == 0
    done = medzoo_("export", run, *wanted, MODEL)
    assert done.exit_code == 2 and "best.safetensors: no such file; train first, or choose" in done.stderr
    done = medzoo_("export", run, *wanted, "tiny", "--checkpoint", "latest")
    assert done.exit_code == 2 and "model_id" in done.stderr
    assert not (registry / "weights").exists() and not (registry / "training").exists()
    done = medzoo_("export", run, "--data", data, "--registry", tmp_path / "none", "--model-id", MODEL)
    assert done.exit_code == 2 and "give the registry folder with --registry" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_kill_and_ctrl_c(tmp_path: Path, data: Path, config: Callable[..., Path]) -> None:
    """A process killed with -9 goes on, one that got Ctrl-C says how; both end where an undisturbed run does."""
    run, latest = tmp_path / "run", tmp_path / "run" / "latest.pt"
    command = ["train", str(config(snapshot=1)), "--data", str(data), "--no-held-out", "--quiet", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def launch() -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "medzoo", *command, str(run), "--steps", "100000"]
        return subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)

    def wait_for_a_newer_state(than: float, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 120
        while not (latest.exists() and latest.stat().st_mtime_ns > than):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.01)

    process = launch()
    wait_for_a_newer_state(0, process)
    process.kill()
    process.communicate()
    before = latest.stat().st_mtime_ns
    process = launch()
    wait_for_a_newer_state(before, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    reached = load(latest)["step"]
    assert f"Stopped: step {reached} of 100000 is saved in {run}. To go on, type the same command again." in said
    assert "Traceback" not in said

    for folder in (run, tmp_path / "undisturbed"):
        done = medzoo_(*command, folder, "--steps", reached + 1)
        assert done.exit_code == 0, done.output
    assert_same(load(latest), load(tmp_path / "undisturbed" / "latest.pt"))
    assert (run / "log.csv").exists() == (reached >= 9)


def test_help_names_every_preset() -> None:
    assert f"--preset [auto|{'|'.join(presets.NAMES)}]" in " ".join(medzoo_("train", "--help").stdout.split())


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from medzoo.cli import main; "
        "CliRunner().invoke(main, ['train', '--help']); CliRunner().invoke(main, ['export', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
