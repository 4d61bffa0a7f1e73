"""The written documentation: its pages, the fenced blocks in them, and the commands that they tell people to type.

Above a block, comments say what a test has to know:

    <!-- needs: the network -->                              it does not run here; it is checked, and listed as skipped
    <!-- given: images/ 12 pictures with masks; x.png -->    folders and files of the reader, which a test makes first
    <!-- instead: -n 1000 => -n 20; --size 128 => --size 32 --steps 2 -->   runs with a smaller number
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.paths import ROOT

GENERATED = ("cli.md", "scores.md")
PAGES = sorted([*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED)])
_BLOCK = re.compile(
    r"(?P<markers>(?:^ *<!-- (?:needs|given|instead): [^\n]*? -->\n\n?)*)"
    r"^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<text>.*?)^ *```",
    re.DOTALL | re.MULTILINE,
)
_MARKER = re.compile(r"<!-- (needs|given|instead): (.*?) -->")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: of its first line in the page, from 1.
        needs: why it cannot be run here; None for a block that can.
        given: what a reader has: ``NAME/ N pictures [with masks]`` or the name of a file.
        instead: what is replaced when it runs here.
    """

    page: Path
    line: int
    language: str
    text: str
    needs: str | None
    given: tuple[str, ...] = ()
    instead: tuple[tuple[str, str], ...] = field(default=())

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def runs(self) -> str:
        """Its text, with what is replaced."""
        text = self.text
        for printed, run in self.instead:
            assert printed in text, f"{self.name}: '{printed}' is to be replaced, and is not there"
            text = text.replace(printed, run)
        return text

    def commands(self) -> list[str]:
        """What is typed at the prompts of a console block, as it runs here."""
        joined = re.sub(r"\\\n *(?:> )?", "", self.runs)
        return [line.strip()[2:] for line in joined.splitlines() if line.strip().startswith("$ ")]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of some languages, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        _block(page, 1 + text.count("\n", 0, match.start("text")), match)
        for match in _BLOCK.finditer(text)
        if match["language"] in languages
    ]


def _block(page: Path, line: int, match: re.Match[str]) -> Block:
    stated: dict[str, str] = dict(_MARKER.findall(match["markers"]))
    given = tuple(part.strip() for part in stated.get("given", "").split(";") if part.strip())
    rules = [part.split(" => ") for part in stated["instead"].split("; ")] if "instead" in stated else []
    instead = tuple((printed.strip(), run.strip()) for printed, run in rules)
    return Block(page, line, match["language"], match["text"], stated.get("needs"), given, instead)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``medzoo`` command in the console blocks of a page, also behind ``python -m``."""
    for block in blocks(page, "console"):
        for line in block.text.splitlines():
            if line.strip().startswith("$ "):
                words = shlex.split(line.strip()[2:], comments=True)
                if "medzoo" in words and words[0] != "docker":
                    yield words[words.index("medzoo") + 1 :]
