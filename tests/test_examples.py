"""Examples run: the Python blocks of the documentation, and the ``>>>`` lines of docstrings.

The blocks of a page run in order, in one namespace and in a folder of their own; ``tests.tools.pages`` describes the
marks above them. A block that needs more than this checkout does not run, but its imports do, and its calls are
compared with the signatures. Commands are typed by ``test_printed.py``.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import shlex
import sys
import types
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from medzoo.cli import main
from tests.tools.console import lay
from tests.tools.pages import PAGES, Block, blocks
from tests.tools.paths import ROOT

WITH_BLOCKS = [page for page in PAGES if blocks(page, "python")]
COMMANDS_TOO = [ROOT / "docs" / "quickstart.md"]  # the quickest page; test_printed.py types those of all
WITH_EXAMPLES = [path for path in sorted((ROOT / "medzoo").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where pydantic looks for the names of annotations
    run(blocks(page, "python", *(["console"] if page in COMMANDS_TOO else [])), vars(module))


def run(page: list[Block], names: dict[str, Any]) -> None:
    for block in page:
        for given in block.given:
            lay(Path.cwd(), given)
        if block.language == "console":
            for command in block.commands() if block.needs is None else ():
                type_in(command, block.name)
            continue
        tree = ast.parse(block.runs, str(block.page))
        ast.increment_lineno(tree, block.line - 1)
        if block.needs is None:
            exec(compile(tree, str(block.page), "exec", dont_inherit=True), names)
            continue
        imports = [node for node in tree.body if is_of_medzoo(node)]
        exec(compile(ast.Module(imports, []), str(block.page), "exec", dont_inherit=True), names)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                check_call(node, names, f"{block.page.name}:{node.lineno}")


def type_in(command: str, place: str) -> None:
    """Run a command of medzoo in this process; others (make, pip, .) are for ``test_printed.py``."""
    words = shlex.split(command, comments=True)
    if words[0] != "medzoo":
        return
    done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 0, f"{place}: $ {command}\n{done.output}"


def is_of_medzoo(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module is not None and node.module.partition(".")[0] == "medzoo"
    return isinstance(node, ast.Import) and all(alias.name.partition(".")[0] == "medzoo" for alias in node.names)


def check_call(node: ast.Call, names: Mapping[str, Any], place: str) -> None:
    """Fail where something that is imported from medzoo does not take the arguments of a call."""
    called = value_of(node.func, names)
    if called is None or any(isinstance(argument, ast.Starred) for argument in node.args):
        return
    keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg is not None}
    try:
        inspect.signature(called).bind(*[None] * len(node.args), **keywords)
    except ValueError:  # no signature is known: an error class
        return
    except TypeError as error:
        pytest.fail(f"{place}: {ast.unparse(node)}: {error}")


def value_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a dotted name means; None where it is none, or not of medzoo."""
    match node:
        case ast.Name(id="medzoo") if "medzoo" not in names:
            pytest.fail("the page has to begin with: import medzoo")
        case ast.Name(id=name):
            value = names.get(name)
            home = value if isinstance(value, types.ModuleType) else inspect.getmodule(value)
            return value if home is not None and home.__name__.partition(".")[0] == "medzoo" else None
        case ast.Attribute(value=inner, attr=name):
            holder = value_of(inner, names)
            return None if holder is None else getattr(holder, name)
    return None


@pytest.mark.parametrize("needs", [None, "the Hub"])
@pytest.mark.parametrize(
    "text", ["medzoo.generate('10001', count=3)", "medzoo.generat('10001', 3)", "from medzoo.samples import Sample"]
)
def test_a_renamed_argument_or_name_is_noticed(needs: str | None, text: str) -> None:
    with pytest.raises((TypeError, AttributeError, ImportError, pytest.fail.Exception)):
        run([Block(Path("page.md"), 1, "python", f"import medzoo\n{text}", needs)], {})


@pytest.mark.parametrize("needs", [None, "the Hub"])
def test_a_missing_import_is_noticed(needs: str | None) -> None:
    with pytest.raises((NameError, pytest.fail.Exception)):
        run([Block(Path("page.md"), 1, "python", "medzoo.generate('10001', 1)", needs)], {})


def test_a_failing_command_and_a_rule_that_replaces_nothing_are_noticed() -> None:
    with pytest.raises(AssertionError, match="page.md:1: .* medzoo lits"):
        run([Block(Path("page.md"), 1, "console", "$ medzoo lits\n", None)], {})
    with pytest.raises(AssertionError, match="'-n 5' is to be replaced"):
        run([Block(Path("page.md"), 1, "console", "$ medzoo list\n", None, (), (("-n 5", "-n 1"),))], {})


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_in_docstrings(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    outcome = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize(
    "name",
    [
        "medzoo.randomness.Noise", "medzoo.samples.Samples", "medzoo.diffusion.schedule.Schedule.timesteps",
        "medzoo.entry.Entry.blank",
    ],
)  # fmt: skip
def test_what_many_use_has_an_example(name: str) -> None:
    module = next(part for i in range(4, 1, -1) if (part := ".".join(name.split(".")[:i])) in modules())
    thing = import_module(module)
    for part in name.removeprefix(f"{module}.").split("."):
        thing = getattr(thing, part)
    assert ">>> " in (inspect.getdoc(thing) or "")


def modules() -> set[str]:
    files = (ROOT / "medzoo").rglob("*.py")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files}
