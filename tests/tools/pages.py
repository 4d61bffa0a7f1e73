"""The written documentation: its pages, the fenced blocks in them, and the commands that they tell people to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tools.paths import ROOT

GENERATED = ("cli.md", "scores.md")
PAGES = sorted([*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED)])
_BLOCK = re.compile(
    r"(?:^<!-- needs: (?P<needs>.*?) -->\n\n?)?^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<text>.*?)^ *```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: of its first line in the page, from 1.
        needs: why it cannot be run here, as ``<!-- needs: ... -->`` above it says; None for a block that can.
    """

    page: Path
    line: int
    language: str
    text: str
    needs: str | None


def blocks(page: Path, language: str) -> list[Block]:
    """The fenced blocks of a language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, 1 + text.count("\n", 0, match.start("text")), language, match["text"], match["needs"])
        for match in _BLOCK.finditer(text)
        if match["language"] == language
    ]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every ``medzoo`` command in the console blocks of a page, also behind ``python -m``."""
    for block in blocks(page, "console"):
        for line in block.text.splitlines():
            if line.strip().startswith("$ "):
                words = shlex.split(line.strip()[2:], comments=True)
                if "medzoo" in words:
                    yield words[words.index("medzoo") + 1 :]
