"""Markdown by templates (Jinja2) in which no text of strangers can become markup.

What a template prints is ``as_markdown``, on one line without markup or HTML, unless a filter of this module made it:

    fenced    text inside a fenced block or code: on one line, without backticks
    lines     the same for several lines
    percent   a share as a percentage
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from medzoo.text import LONGEST, as_markdown, one_line, printable

if TYPE_CHECKING:
    from jinja2 import Environment


class Markdown(str):
    """Text that is Markdown already, made here."""


def render(template: str, **values: Any) -> str:
    """The text of a file of ``cards/``."""
    return _environment().get_template(template).render(**values) + "\n"


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> Markdown:
    """Rows as a table, every cell made harmless."""
    lines = [header, [Markdown("---")] * len(header), *rows]
    return Markdown("\n".join("| " + " | ".join(_shown(cell) for cell in row) + " |" for row in lines))


def bibtex(kind: str, key: str, **fields: str | None) -> Markdown:
    """An entry of BibTeX; values stay inside their braces, and inside a fenced block."""
    named = {name: re.sub(r"[{}\\]", " ", _fenced(value)) for name, value in fields.items() if value}
    safe = {name: " ".join(value.split()) for name, value in named.items()}
    lines = [f"  {name} = {{{value}}}" for name, value in safe.items()]
    return Markdown(f"@{kind}{{{key},\n" + ",\n".join(lines) + "\n}")


def _shown(value: object) -> str:
    return value if isinstance(value, Markdown) else as_markdown(str(value))


def _fenced(value: object) -> Markdown:
    return Markdown(one_line(str(value), most=LONGEST).replace("`", "'"))


def _lines(value: object) -> Markdown:
    return Markdown(printable(str(value)).replace("`", "'").rstrip())


def _percent(value: float) -> Markdown:
    return Markdown(f"{value:.2%}")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medzoo.publishing", "cards"), finalize=_shown, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=False,
    )  # fmt: skip
    environment.filters |= {"fenced": _fenced, "lines": _lines, "percent": _percent}
    environment.globals["table"] = table
    return environment
