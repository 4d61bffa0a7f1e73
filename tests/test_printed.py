"""What the pages print is typed: in a clone, in the order printed, in an environment as ``make demo`` leaves it.

Only what a package index would bring is taken from the environment that runs the tests. Blocks that need more than that
are listed as skipped, with what they need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.console import Desk, clean_environment
from tests.tools.pages import PAGES, Block, blocks
from tests.tools.paths import ROOT

pytestmark = pytest.mark.packaging

LANGUAGES = ("console", "python")
ALL = [block for page in PAGES for block in blocks(page, *LANGUAGES)]
WITH_COMMANDS = [page for page in PAGES if any(block.needs is None for block in blocks(page, "console"))]
FROM_NOTHING = ("README.md", "quickstart.md")  # these begin with the installation; the others come after it


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone of this checkout as it would be committed now, with a ``.venv`` but no medzoo in it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    folder = tmp_path_factory.mktemp("clone") / "medzoo"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "x")
    environment(folder / ".venv")
    return folder


def environment(folder: Path) -> None:
    """What the first rule of the Makefile makes, with the packages of this environment in place of an index."""
    venv.create(folder, with_pip=False, symlinks=True)
    places = {"base": str(folder), "platbase": str(folder)}
    (Path(sysconfig.get_path("purelib", vars=places)) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = folder / "bin" / "pip"
    pip.write_text(f"#!{folder}/bin/python\nimport runpy\nrunpy.run_module('pip', run_name='__main__')\n")
    pip.chmod(0o755)
    (folder / "base").touch()


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def desk(clone: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    page: Path = request.getfixturevalue("page")
    # pip may ask no index: what is missing would be fetched by a user, and is a mistake here.
    shell = clean_environment(tmp_path, PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0", PIP_CONFIG_FILE=os.devnull)
    if page.name not in FROM_NOTHING:
        subprocess.run(["make", "-s", ".venv/user"], cwd=clone, env=shell, check=True, capture_output=True)
        shell["PATH"] = os.pathsep.join((str(clone / ".venv" / "bin"), shell["PATH"]))
    with Desk(clone, tmp_path / "notes", shell) as desk:
        yield desk
    git(clone, "clean", "-xdfq", "-e", ".venv")
    git(clone, "checkout", "-q", ".")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, desk: Desk) -> None:
    for block in blocks(page, *LANGUAGES):
        if block.needs is None:
            desk.run(block)
    print({name: round(seconds, 1) for name, seconds in desk.seconds.items()}, file=sys.stderr)


@pytest.mark.parametrize("block", [block for block in ALL if block.needs], ids=lambda block: block.name)
def test_what_needs_more_is_listed(block: Block) -> None:
    """So that a summary of the tests (``-ra``) names every block that nobody has typed."""
    pytest.skip(f"needs {block.needs}")


def test_the_shell_keeps_what_a_line_exports_and_python_its_names(tmp_path: Path) -> None:
    def block(language: str, text: str) -> Block:
        return Block(Path("page.md"), 3, language, text, None)

    os.symlink(sys.executable, tmp_path / "python")
    with Desk(tmp_path, tmp_path / "notes", {"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as desk:
        desk.run(block("console", "$ export A=1   # one\n$ test $A = 1\nprinted\n$ echo \\\n    x > file\n"))
        assert (tmp_path / "file").read_text() == "x\n"
        desk.run(block("python", "import os\na = os.environ['A']"))
        desk.run(block("python", "assert a == '1'"))
        with pytest.raises(AssertionError, match=r"page.md:3\n(.*\n)*.*line 4.*\n(.*\n)*NameError"):
            desk.run(block("python", "b = 1\nnothing"))
        with pytest.raises(AssertionError, match=r"page.md:3: \$ false"):
            desk.run(block("console", "$ false\n"))
