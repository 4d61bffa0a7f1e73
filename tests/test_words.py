"""Plain words: a short list of expressions is kept out of pages, help texts, docstrings and messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from medzoo.cli import main
from tests.tools.pages import PAGES
from tests.tools.paths import ROOT

# What to avoid, and what to write.
BANNED = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bNone for none\b": "None if there is none",
    r"\bcannot be had\b": "is not available",
    r"\bfiles? of words\b": "text file",
    r"\bsaying_why\b": "disk_errors",
    r"\btold\b(?! apart\b| from chance\b)": "said, stated, recognised, inferred",
    r"\bthe other way( round)?\b": "the reverse, inverse",
    r"\bwhoever\b": "anybody who",
}
WRITTEN = [page for page in PAGES if page.name != "leaderboard.md"]  # that one quotes recorded results
CODE = sorted([*(ROOT / "medzoo").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "docs" / "generate.py"])


def test_pages() -> None:
    check({name(page): list(enumerate(page.read_text(encoding="utf-8").splitlines(), 1)) for page in WRITTEN})


def test_docstrings_and_messages() -> None:
    """Every string of a module, docstrings and the parts of f-strings included."""
    check({name(path): list(strings(path)) for path in CODE})


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of all strings of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)


def test_help_texts() -> None:
    for command, text in helps(main, "medzoo"):
        assert not problems(text), f"{command} --help: {problems(text)}"


def check(files: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    wrong = [
        f"{path}:{number}: {problem}"
        for path, lines in files.items()
        for number, line in lines
        for problem in problems(line)
    ]
    assert not wrong, "\n".join(wrong)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def problems(text: str) -> list[str]:
    text = re.sub(r"`[^`]*`", "", text)  # code
    return [
        f"'{match[0]}': write {better}"
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name)
    yield name, command.get_help(context)
    for verb in command.list_commands(context) if isinstance(command, click.Group) else ():
        below = command.get_command(context, verb)
        assert below is not None
        yield from helps(below, f"{name} {verb}")


def test_a_banned_word_is_noticed() -> None:
    assert problems("No path is given; None for none.") and problems("Mend the file.") and not problems("Fix it.")
