"""The command without some of its standard streams, and ended by signals: the right result, or a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medzoo.cli.table import table
from medzoo.files.streams import is_terminal

AddModel = Callable[..., str]
N = 4  # samples of a run


def shell(redirection: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m medzoo "$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *map(str, arguments)], capture_output=True, timeout=120, check=False
    )


def wait_for(out: Path) -> None:
    """Until the first samples are there."""
    until = time.monotonic() + 60
    while not list(out.glob("*.png")) and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "<&-"])
def test_samples_are_made_whatever_stream_is_closed(add_model: AddModel, tmp_path: Path, redirection: str) -> None:
    out = tmp_path / "out"
    done = shell(redirection, "generate", add_model(), "-n", N, "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.png"))) == N and (out / "manifest.jsonl").read_bytes().count(b"\n") == N
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("list",), ("info", "10001"), ("cache", "list"), ("--help",), ("list", "--json")]
)
def test_listings_without_streams(arguments: tuple[str, ...]) -> None:
    for redirection in (">&-", "2>&-", ">&- 2>&-"):
        done = shell(redirection, *arguments)
        assert done.returncode == 0 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", ["2>&-", ">&- 2>&-", "2>/dev/full"])
def test_errors_without_a_place_to_say_them_keep_their_code(redirection: str) -> None:
    assert shell(redirection, "info", "no such model").returncode == 2
    assert shell(redirection, "nonsense").returncode == 2


def test_a_full_disk_behind_standard_output_is_an_error() -> None:
    done = shell(">/dev/full", "list")
    assert done.returncode == 2 and b"No space left" in done.stderr


def test_a_pipe_that_is_closed_ends_quietly() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$0" -m medzoo list --json | head -c 1; echo "${PIPESTATUS[0]}" >&2', sys.executable],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr.strip() in (b"0", b"1")  # 0: all of it went into the pipe's buffer


def test_names_that_the_terminal_cannot_show(add_model: AddModel, tmp_path: Path) -> None:
    out = os.fsencode(tmp_path) + b"/out\xff"
    model_id = add_model()  # sets the environment
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(
        [sys.executable, "-m", "medzoo", "generate", model_id, "-n", "1", "--out", out, "--quiet"],
        capture_output=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0 and b"/out" in done.stdout


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_written(add_model: AddModel, tmp_path: Path, signum: int) -> None:
    out = tmp_path / "out"
    arguments = ("generate", add_model(), "-n", "200000", "--batch-size", "4", "--out", out)
    command = [sys.executable, "-m", "medzoo", *arguments]
    # The tests may run under nohup, and a program keeps to an ignored hang-up that it is started with.
    kept = signal.signal(signum, signal.SIG_DFL)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        signal.signal(signum, kept)
    with process:
        try:
            wait_for(out)
            process.send_signal(signum)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signum and b"Traceback" not in errors
    assert not list(out.glob(".*.part"))
    lines = (out / "manifest.jsonl").read_bytes()
    assert lines.endswith(b"\n") or not lines
    assert len(list(out.glob("*.png"))) >= lines.count(b"\n")


def test_an_ignored_hang_up_stays_ignored(add_model: AddModel, tmp_path: Path) -> None:
    """As ``nohup`` starts a program."""
    command = f'trap "" HUP; exec "$0" -m medzoo generate {add_model()} -n 3000 --batch-size 4 --quiet --out "$1"'
    process = subprocess.Popen(["bash", "-c", command, sys.executable, tmp_path / "out"], stdout=subprocess.PIPE)
    wait_for(tmp_path / "out")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_stream_that_is_missing_or_closed_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_terminal(None)
    with (tmp_path / "x").open("w") as file:
        assert not is_terminal(file)
    assert not is_terminal(file)
    monkeypatch.setattr(sys, "stdout", None)
    assert table(["ID"], [["a\tb\nc"]]) == "ID\na\\tb\\nc"
