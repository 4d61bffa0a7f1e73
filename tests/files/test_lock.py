"""A lock is held by one process at a time, and a killed process holds none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medzoo.files.lock import held
from tests.tools.paths import ROOT

HOLDER = """
import sys
from pathlib import Path
from medzoo.files.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class GivesUp(Exception):
    """What a caller may raise instead of waiting."""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds a lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_free_lock_is_held_at_once_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path / "new" / "x.lock", lambda: pytest.fail("nobody holds it")):
            pass


def test_waiting_is_announced_once_and_may_be_given_up(tmp_path: Path) -> None:
    def give_up() -> None:
        raise GivesUp

    path = tmp_path / "x.lock"
    with holder(path) as process:
        with pytest.raises(GivesUp), held(path, give_up, patience=0.05):
            pytest.fail("another process holds it")
        waited: list[int] = []

        def end_the_other() -> None:
            waited.append(1)
            process.kill()

        with held(path, end_the_other, patience=0.05):
            assert waited == [1]
