"""docs/architecture.md: its layers are those of pyproject.toml, and every path and name in it exists."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import medzoo
from tests.tools.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def test_the_layers_drawn_are_those_of_the_linter() -> None:
    """Line by line, from the top; what stands behind two spaces says what a room is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in project["tool"]["importlinter"]["contracts"] if each.get("exhaustive"))
    drawing = re.search(r"```text\n(.*?)```", section("Layers"), re.DOTALL)
    assert drawing is not None
    drawn = [re.split(r" {2,}", line) for line in drawing[1].splitlines()]
    assert [line[0] for line in drawn] == contract["layers"]
    assert all(len(line) == 2 for line in drawn), "every line says what its rooms are for"


def test_every_path_and_name_exists() -> None:
    """`path`, `path: name` (a class, function, method or constant of that file), `medzoo.name`."""
    missing = [code for code in re.findall(r"`([^`\n]+)`", PAGE) if not exists(code)]
    assert not missing, "\n".join(missing)


def exists(code: str) -> bool:
    """Whether a path (with a name in it) or a name of medzoo is there; other code always is."""
    path, _, name = code.partition(": ")
    if re.fullmatch(r"medzoo\.\w+", code):
        return hasattr(medzoo, code.removeprefix("medzoo.")) or find_spec(code) is not None
    if not re.match(r"(medzoo|docs|registry|tests|benchmarks)/", path):
        return True
    return (ROOT / path).exists() and (not name or name in names_of(ROOT / path))


def names_of(path: Path) -> set[str]:
    """Names of the classes, functions, methods, fields and constants that a Python file defines."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(
    ("code", "there"),
    [
        ("medzoo/entry.py: Entry", True), ("medzoo/entry.py", True), ("medzoo.generate", True), ("--out", True),
        ("medzoo/entry.py: Nobody", False), ("medzoo/nowhere.py", False), ("medzoo.nothing", False),
    ],
)  # fmt: skip
def test_a_wrong_path_or_name_is_noticed(code: str, there: bool) -> None:
    assert exists(code) is there


def test_the_table_of_places_leads_to_files() -> None:
    rows = [line for line in section("To change X, open Y").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    assert all(re.search(r"`(medzoo|registry|docs)/|`pyproject", row) for row in rows)
