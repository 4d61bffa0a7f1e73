"""The Slurm array job of packaging/: its tasks make one run, the same job again makes what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from medzoo.cli import main
from tests.tools.paths import ROOT

SCRIPT = ROOT / "packaging" / "slurm" / "generate.sbatch"


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``job(task, MODEL, EACH, OUT, ...)``: the script as Slurm would start it; ``scontrol`` only notes its call."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (
        ("medzoo", f'exec "{sys.executable}" -m medzoo "$@"'), ("scontrol", f'echo "$@" >> "{tmp_path}/scontrol"'),
    ):  # fmt: skip
        (tools / name).write_text(f"#!/bin/bash\n{line}\n")
        (tools / name).chmod(0o755)

    def run(task: int, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
        shell = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)} | slurm | variables
        return subprocess.run(
            ["bash", str(SCRIPT), *map(str, arguments)],
            env=shell, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_the_tasks_make_one_run(
    job: Callable[..., subprocess.CompletedProcess[str]], add_model: Callable[..., str], tmp_path: Path
) -> None:
    model = add_model()
    for task in (0, 1, 0):  # the last finds everything there
        done = job(task, model, 3, tmp_path / "out", "--seed", "7", "--batch-size", "3")
        assert done.returncode == 0, done.stderr
    options = ("-n", "6", "--seed", "7", "--batch-size", "3", "--quiet")
    assert CliRunner().invoke(main, ["generate", model, "--out", str(tmp_path / "one"), *options]).exit_code == 0
    parts = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("part-*/*.png")}
    assert len(parts) == 6 and parts == {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.png")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"part-0000", "part-0001"}


@pytest.mark.parametrize(("code", "again"), [(75, True), (2, False)])
def test_what_may_pass_is_queued_again(
    job: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, code: int, again: bool
) -> None:
    (tmp_path / "bin" / "medzoo").write_text(f"#!/bin/bash\nexit {code}\n")
    assert job(3, "10001", 5, tmp_path / "out").returncode == code
    assert (tmp_path / "scontrol").exists() is again
    if again:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"
        assert job(3, "10001", 5, tmp_path / "out", SLURM_RESTART_COUNT="3").returncode == code
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


def test_a_missing_argument_is_named(job: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = job(0, "10001", 5)
    assert done.returncode != 0 and "OUT is missing" in done.stderr
