"""``medzoo generate``: what a person types, sees, and finds on the disk."""

from __future__ import annotations

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
from click.testing import CliRunner, Result

from medzoo import zoo
from medzoo.cli import main
from tests.conftest import masked, read_png

AddModel = Callable[..., str]


def medzoo(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["generate", *map(str, arguments)])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_images_masks_manifest_and_sheet(add_model: AddModel, tmp_path: Path) -> None:
    model_id, out = add_model(**masked()), tmp_path / "out"
    result = medzoo(model_id, "-n", 12, "--out", out, "--seed", 3, "--start", 5, "--batch-size", 5, "--grid")
    assert result.exit_code == 0, result.output
    assert f"{out}: 12 synthetic samples of {model_id}, 12 made in" in result.stdout and "images/s" in result.stdout
    assert f"contact sheet: {out}/grid.png" in result.stdout
    assert "12/12" in result.stderr and "image/s" in result.stderr  # the bar
    samples = zoo.generate(model_id, 12, seed=3, start=5, batch_size=5)
    assert samples.masks is not None
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(5, 17))
    for i, line in enumerate(lines):
        assert np.array_equal(read_png(out / line["file"])[0].transpose(2, 0, 1), samples.uint8()[i])
        assert np.array_equal(read_png(out / line["mask_file"])[0], samples.masks[i, 0] * 255)
        assert line["weights_sha256"] == samples.weights_sha256 and line["revision"] == samples.revision
    sheet, words = read_png(out / "grid.png")
    assert sheet.shape == (3 * (128 + 15 + 2) + 2, 4 * (256 + 2) + 2, 3) and "Synthetic" in words["Description"]


def test_the_summary_for_programs(add_model: AddModel, tmp_path: Path) -> None:
    result = medzoo(add_model(), "-n", 3, "--out", tmp_path / "out", "--json", "--format", "npz")
    assert result.exit_code == 0 and result.stderr == ""
    summary = json.loads(result.stdout)
    assert summary["samples"] == summary["made"] == 3 and summary["folder"] == str(tmp_path / "out")
    assert summary["images_per_second"] > 0 and summary["grid"] is None
    assert sorted(content(tmp_path / "out"))[:3] == ["00000000.npz", "00000001.npz", "00000002.npz"]


def test_the_folder_has_a_default_and_quiet_has_no_bar(
    add_model: AddModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = medzoo(add_model()[:5], "-n", 1, "--quiet")
    assert result.exit_code == 0 and result.stderr == ""
    assert (tmp_path / "samples" / "99001_TINY" / "00000000.png").is_file()


def test_a_class_for_all_samples(add_model: AddModel, tmp_path: Path) -> None:
    condition = {
        "kind": "class", "classes": ["benign", "malignant"], "inputs": None, "channels": None, "attributes": None,
        "required": True, "about": None,
    }  # fmt: skip
    model_id = add_model(condition=condition)
    assert medzoo(model_id, "-n", 2, "--out", tmp_path / "out", "--class", "malignant").exit_code == 0
    line = json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[1])
    assert line["condition"] == "malignant" and line["label"] == 1
    result = medzoo(model_id, "-n", 2, "--out", tmp_path / "other")
    assert result.exit_code == 2 and "needs a class: benign (0), malignant (1)" in result.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["99001", "-n", "-1"], "-1 is not in the range x>=0"),
        (["99001", "-n", "many"], "'many' is not a valid integer"),
        (["99001", "--batch-size", "0"], "0 is not in the range x>=1"),
        (["99001", "--format", "jpg"], "'jpg' is not one of"),
        (["99001_TINNY"], "no model has the id '99001_TINNY'; the closest are 99001_TINY"),
        (["99001", "--device", "tpu"], "unknown device 'tpu'; this machine has: cpu"),
        (["99001", "--class", "left"], "99001_TINY takes no condition, found 'left'"),
        (["99001", "--bits", "12"], "'12' is not one of '8', '16'"),
        (["99001", "--bits", "16", "--format", "npz"], "NPZ holds 32-bit floats, which have more than 16 bits"),
        (["99001", "--resume", "--overwrite"], "--resume and --overwrite contradict each other"),
        (["99001", "--start", str(2**63)], "start must lie between 0 and"),
    ],
)
def test_mistakes_are_a_line_and_exit_code_2(
    add_model: AddModel, tmp_path: Path, arguments: list[str], told: str
) -> None:
    add_model()
    result = medzoo(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2 and told in result.stderr and "Traceback" not in result.output
    assert len(result.stderr.splitlines()) <= 4
    assert not (tmp_path / "out").exists()


def test_none_and_a_folder_in_use(add_model: AddModel, tmp_path: Path) -> None:
    model_id, out = add_model(), tmp_path / "out"
    result = medzoo(model_id, "-n", 0, "--out", out, "--grid")
    assert result.exit_code == 0 and "0 synthetic samples" in result.stdout
    assert sorted(content(out)) == ["manifest.jsonl", "run.json"]
    result = medzoo(model_id, "-n", 3, "--out", out)
    assert result.exit_code == 2 and "--resume" in result.stderr and "--overwrite" in result.stderr
    assert medzoo(model_id, "-n", 3, "--out", out, "--resume").exit_code == 0
    assert len((out / "manifest.jsonl").read_bytes().splitlines()) == 3
    result = medzoo(model_id, "-n", 3, "--out", out, "--resume", "--seed", 1)
    assert result.exit_code == 2 and "seed was 0, now 1" in result.stderr
    assert medzoo(model_id, "-n", 2, "--out", out, "--overwrite", "--seed", 1).exit_code == 0
    assert len((out / "manifest.jsonl").read_bytes().splitlines()) == 2


def test_a_resumed_run_takes_the_batches_of_the_first(add_model: AddModel, tmp_path: Path) -> None:
    model_id, one, two = add_model(), tmp_path / "one", tmp_path / "two"
    assert medzoo(model_id, "-n", 20, "--out", one, "--batch-size", 7, "--grid").exit_code == 0
    assert medzoo(model_id, "-n", 14, "--out", two, "--batch-size", 7).exit_code == 0
    (two / "00000003.png").unlink()
    result = medzoo(model_id, "-n", 20, "--out", two, "--resume", "--json", "--grid")
    assert result.exit_code == 0 and json.loads(result.stdout)["made"] == 7 + 6
    assert content(two) == content(one)  # the sheet too
    result = medzoo(model_id, "-n", 20, "--out", two, "--resume", "--batch-size", 5)
    assert result.exit_code == 2 and "batch_size was 7, now 5" in result.stderr


SLOW = """
import sys, time
from medzoo.families import Generator
from medzoo.cli import main
check_given = Generator.check_given  # once a batch
def slow(self, *arguments):
    time.sleep(0.2)  # long enough to be killed in between, on a busy machine too
    return check_given(self, *arguments)
Generator.check_given = slow
main(sys.argv[1:])
"""


def start(model_id: str, out: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process of its own, five batches a second; waits until some samples are there."""
    command = [sys.executable, "-c", SLOW, "generate", model_id, "-n", "400", "--batch-size", "8", "--out", str(out)]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    manifest, deadline = out / "manifest.jsonl", time.monotonic() + 300
    before = manifest.stat().st_size if manifest.exists() else 0
    while process.poll() is None and (not manifest.exists() or manifest.stat().st_size <= before):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_killed_stopped_and_resumed_gives_the_bytes_of_an_undisturbed_run(add_model: AddModel, tmp_path: Path) -> None:
    model_id, out = add_model(**masked()), tmp_path / "out"
    assert medzoo(model_id, "-n", 400, "--batch-size", 8, "--out", tmp_path / "calm", "--quiet").exit_code == 0

    process = start(model_id, out)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len((out / "manifest.jsonl").read_bytes().splitlines()) < 400

    process = start(model_id, out, "--resume")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "samples are whole in" in told and "--resume" in told and "Traceback" not in told
    lines = (out / "manifest.jsonl").read_bytes().splitlines()
    assert 0 < len(lines) < 400 and len(lines) % 8 == 0
    assert f"Stopped: {len(lines)} of 400 samples" in told
    assert not list(out.glob(".*.part")) and len(list(out.glob("*_mask.png"))) == len(lines)

    assert medzoo(model_id, "-n", 400, "--out", out, "--resume", "--quiet").exit_code == 0
    assert content(out) == content(tmp_path / "calm")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("format", "n"), [("dicom", 80), ("webdataset", 300)])
def test_killed_and_resumed_in_other_formats(add_model: AddModel, tmp_path: Path, format: str, n: int) -> None:
    model_id, out = add_model(**masked()), tmp_path / "out"
    options = ["-n", n, "--batch-size", 8, "--quiet", "--format", format]
    assert medzoo(model_id, *options, "--out", tmp_path / "calm").exit_code == 0
    process = start(model_id, out, "--format", format, "-n", str(n))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < len((out / "manifest.jsonl").read_bytes().splitlines()) < n
    assert medzoo(model_id, *options, "--out", out, "--resume").exit_code == 0
    assert content(out) == content(tmp_path / "calm")


def test_spacing_and_bits_reach_the_files(add_model: AddModel, tmp_path: Path) -> None:
    import nibabel
    import pydicom

    output = {"type": "image", "size": [8, 8], "channels": 1, "masks": 0, "range": [0.0, 1.0], "spacing": [0.7, 0.5]}
    model_id = add_model(output=output)
    for format in ("dicom", "nifti"):
        result = medzoo(model_id, "-n", 1, "--out", tmp_path / format, "--format", format, "--bits", 16)
        assert result.exit_code == 0, result.output
    data = pydicom.dcmread(tmp_path / "dicom" / "00000000.dcm")
    assert data.PixelSpacing == [0.7, 0.5] and data.BitsStored == 16
    image = nibabel.load(tmp_path / "nifti" / "00000000.nii.gz")
    assert isinstance(image, nibabel.Nifti1Image) and np.allclose(image.header.get_zooms(), (0.5, 0.7, 1))
    result = medzoo(model_id, "-n", 1, "--out", tmp_path / "nifti", "--format", "nifti", "--resume")
    assert result.exit_code == 2 and "bits was 16, now 8" in result.stderr
