"""The tests mirror the source: folders as in medzoo/, helpers in tests/tools/, each file says what it is for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.tools.paths import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
NO_ROOM = {"benchmarks", "tools"}  # tests of the scripts in benchmarks/, helpers
FROM_TESTS = re.compile(r"(?:from|import) tests(?:\.\w+)*\.test_\w+")


def test_no_test_file_imports_from_another() -> None:
    """Neither itself nor in the code that it gives to other processes."""
    found = {name(path): FROM_TESTS.findall(path.read_text(encoding="utf-8")) for path in FILES}
    wrong = {path: lines for path, lines in found.items() if lines}
    assert not wrong, "put what is shared into tests/tools/"


def test_every_test_file_says_what_it_is_for() -> None:
    texts = {name(path): path.read_text(encoding="utf-8") for path in FILES}
    silent = [path for path, text in texts.items() if text and not ast.get_docstring(ast.parse(text))]
    assert not silent, "give it a docstring of one line"


def test_each_folder_of_tests_is_one_of_medzoo() -> None:
    folders = {path.parent.relative_to(TESTS) for path in FILES if path.name.startswith("test_")}
    rooms = {folder for folder in folders if folder.parts and folder.parts[0] not in NO_ROOM}
    missing = sorted(str(folder) for folder in rooms if not (ROOT / "medzoo" / folder).is_dir())
    assert not missing, f"there is no medzoo/{', medzoo/'.join(missing)}"


def test_each_room_has_tests() -> None:
    rooms = {path.parent.name for path in (ROOT / "medzoo").glob("*/__init__.py")}
    tested = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert not rooms - tested


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
