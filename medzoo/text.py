"""Text of strangers made safe to print: of files, servers, entries and the network libraries that quote them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST = 20_000  # characters of one message
_CREDENTIALS = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]+@")

_ADDRESS = re.compile(r"(https?://[\w./?=%#~+:@-]*[\w/])")


def printable(text: str, *, most: int = LONGEST) -> str:
    """Text that shows what it says and does nothing else; lines stay lines.

    Control characters, marks that reorder or hide what a person reads (bidirectional overrides, zero-width characters,
    tags), surrogates and characters that Unicode does not assign become ``\\x1b``, ``\\u202e`` and the like. A name and
    password in a URL are left out. What is longer than ``most`` characters is cut, and says so.
    """
    text = _CREDENTIALS.sub(r"\1", text)
    shown = text if text.isascii() and text.replace("\n", "").isprintable() else "".join(map(_shown, text))
    return shown if len(shown) <= most else f"{shown[:most]} ... ({len(shown) - most} more characters)"


def one_line(text: str, *, most: int = 200) -> str:
    """``printable`` text on one line: line ends and tabs are shown as ``\\n`` and ``\\t``."""
    shown = printable(text.replace("\n", "\\n"), most=most * 4)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def first_line(error: BaseException, *, most: int = 500) -> str:
    """What an error of a library says, on one line: its first that is not empty, else the name of its class."""
    said = str(error).strip().partition("\n")[0].rstrip() or type(error).__name__
    return said if len(said) <= most else said[: most - 1] + "…"


def as_markdown(text: str, *, links: bool = False) -> str:
    """Text as Markdown on one line that shows just that: no markup, no HTML.

    Args:
        links: addresses of the web become links, to what they show.
    """
    text = " ".join(printable(text).split())
    pieces = _ADDRESS.split(text) if links else [text]
    return "".join(f"<{piece}>" if i % 2 else _unmarked(piece, first=i == 0) for i, piece in enumerate(pieces))


def nearest(word: str, among: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> tuple[str, ...]:
    """The words that look most like ``word`` in upper or lower case, best first; () where none is close.

    Args:
        cutoff: how alike they have to be, from 0 to 1.
    """
    import difflib  # of an error only

    names = {name.casefold(): name for name in among}
    return tuple(names[close] for close in difflib.get_close_matches(word.casefold(), names, n=most, cutoff=cutoff))


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """``; did you mean 'steps'?``, to follow what says that ``word`` is unknown; empty where nothing is close."""
    close = nearest(word, among)
    return f"; did you mean '{close[0]}'?" if close else ""


def _unmarked(text: str, *, first: bool) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|{}$~])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return re.sub(r"^([#+-])", r"\\\1", text) if first else text


def _shown(character: str) -> str:
    if character == "\n":
        return character
    # Controls, formats (bidirectional, zero width, tags), surrogates, private use, unassigned; lines and paragraphs.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
