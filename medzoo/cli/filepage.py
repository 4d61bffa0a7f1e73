"""The page of ``medzoo info FILE``: what is in a file of weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from medzoo.cli import table

if TYPE_CHECKING:
    from medzoo.cli.table import Section
    from medzoo.weights.inspection import Contents, Part, StateDict

_MOST = 40  # lines of one section; --json has them all


def page(contents: Contents) -> str:
    """The whole page as text."""
    sections: list[Section] = [
        ("Refused", _cut(contents.refused)),
        ("Read as", [f"container: {contents.container}"] if contents.container else []),
        ("Names", _cut(contents.names)),
        ("Source code", [_source(contents.source)] if contents.source else []),
        ("Metadata", _cut(f"{name}: {text}" for name, text in contents.metadata.items())),
        ("Holds", _cut(_tree(contents.parts, 0))),
        ("Weights", _cut(line for state in contents.state_dicts for line in _choice(state))),
    ]
    title = [contents.path, f"{contents.kind}, {_size(contents.size)}"]
    return table.page(title, sections, "Nothing of the file was run.")


def _cut(lines: Iterable[str]) -> list[str]:
    shown = list(lines)
    if len(shown) > _MOST:
        shown = [*shown[:_MOST], f"... and {len(shown) - _MOST} more lines; --json shows more"]
    return shown


def _tree(parts: Iterable[Part], level: int) -> Iterator[str]:
    for part in parts:
        counts = f"  {_counts(part.tensors, part.numbers)}" if part.tensors and not part.what.endswith("]") else ""
        yield f"{'  ' * level}{part.key}: {part.what}{counts}"
        if part.arguments:
            yield f"{'  ' * (level + 1)}made with {json.dumps(part.arguments, ensure_ascii=False)}"
        yield from _tree(part.parts, level + 1)


def _choice(state: StateDict) -> Iterator[str]:
    stated = ", ".join(f"{name}: {value}" for name, value in state.checkpoint.items() if value is not None)
    yield f"checkpoint: {{{stated}}}"
    kind = f"{state.class_name}, " if state.class_name else ""
    names = ", ".join(f"{name} {shape}" for name, shape in state.names.items())
    more = ", ..." if state.tensors > len(state.names) else ""
    yield f"  {kind}{_counts(state.tensors, state.numbers)}: {names}{more}"


def _counts(tensors: int, numbers: int) -> str:
    return f"{tensors:,} tensor{'s' if tensors != 1 else ''} of {numbers:,} numbers"


def _source(characters: int) -> str:
    return f"{characters:,} characters of Python in the file are left out"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"
