"""A desk at which the blocks of a page are typed one after the other: a shell and one Python, in one folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.tools.pages import Block

_LINE = """set -o pipefail
[ ! -e "$DESK/environment" ] || . "$DESK/environment"
{
%s
}
code=$?
export -p > "$DESK/environment"
exit $code
"""
_PYTHON = """
import json, sys, traceback, types
page = sys.modules["page"] = types.ModuleType("page")
for line in sys.stdin:
    block = json.loads(line)
    try:
        exec(compile(chr(10) * (block["line"] - 1) + block["text"], block["name"], "exec"), vars(page))
        print("@@0", flush=True)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("@@1", flush=True)
"""


class Desk:
    """Runs console and Python blocks in the order in which they are called, as a reader would type them.

    What a command exports stays exported, so that ``. .venv/bin/activate`` does what it does for a reader; blocks of
    Python share their names.

    Args:
        folder: where the reader stands.
        notes: a folder of the desk's own.
        environment: what the shell begins with, and nothing else.
    """

    def __init__(self, folder: Path, notes: Path, environment: dict[str, str]) -> None:
        self.folder, self.notes = folder, notes
        self.environment = environment | {"DESK": str(notes)}
        self.python: subprocess.Popen[str] | None = None
        self.seconds: dict[str, float] = {}
        notes.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.python is not None:
            self.python.kill()
            self.python.communicate()

    def run(self, block: Block) -> None:
        """Type a block. Fails with what was printed where something of it fails."""
        for given in block.given:
            lay(self.folder, given)
        began = time.monotonic()
        if block.language == "python":
            self._python(block)
        else:
            for line in block.commands():
                self._line(line, block.name)
        self.seconds[block.name] = time.monotonic() - began

    def _line(self, line: str, name: str) -> None:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", _LINE % line],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: $ {line}\n{done.stdout}{done.stderr}"

    def _python(self, block: Block) -> None:
        if self.python is None:
            self.python = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-c", _LINE % f"exec python -c {shlex.quote(_PYTHON)}"],
                cwd=self.folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        assert self.python.stdin is not None and self.python.stdout is not None
        self.python.stdin.write(json.dumps({"line": block.line, "text": block.runs, "name": block.name}) + "\n")
        self.python.stdin.flush()
        printed: list[str] = []
        for line in self.python.stdout:
            if line.startswith("@@"):
                assert line == "@@0\n", f"{block.name}\n{''.join(printed)}"
                return
            printed.append(line)
        raise AssertionError(f"{block.name}: Python ended\n{''.join(printed)}")


def lay(folder: Path, given: str) -> None:
    """Make what a reader has: ``NAME/ N pictures [with masks]``, or a picture with the name of a file."""
    many = re.fullmatch(r"(\S+)/ (\d+) pictures( with masks)?", given)
    if many is None:
        _picture(folder / given, [0], mask=False)
        return
    home = folder / many[1]
    for index in range(int(many[2])):
        seed = [index, *many[1].encode()]  # no folder holds a picture of another
        _picture((home / "images" if many[3] else home) / f"{index:03}.png", seed, mask=False)
        if many[3]:
            _picture(home / "masks" / f"{index:03}.png", seed, mask=True)


def _picture(path: Path, seed: list[int], *, mask: bool) -> None:
    """A bright disc on a ground of its own, 64 x 64 pixels; or the mask of the disc."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    ground, disc, (y, x) = random.uniform(40, 120, 3), random.uniform(150, 230, 3), random.uniform(20, 44, 2)
    rows, columns = np.mgrid[:64, :64]
    inside = (rows - y) ** 2 + (columns - x) ** 2 < random.uniform(8, 16) ** 2
    noise = random.normal(0, 8, (64, 64, 3))
    pixels = inside * 255 if mask else np.where(inside[..., None], disc, ground) + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """What a new user's shell begins with: the system's PATH, a home, and no network for the Hub."""
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if "venv" not in part)
    return {
        "PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), **more,
    }  # fmt: skip
