"""The text of one registry file -> plain fields -> its record, with the line of every problem.

Plain fields are read without pydantic, whose import alone takes longer than ``medzoo list`` may: a listing reads
fields, everything else validates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from medzoo import limits
from medzoo.errors import EntryError, fields_at, sentence
from medzoo.text import one_line, printable

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from medzoo.entry import Record

    R = TypeVar("R", bound=Record)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is eight times faster, where it is there
_PARAGRAPHS = ("notes", "about", "text")  # fields that may go over several lines
_LONGEST = 100  # characters of a wrong value that a message repeats
_DEEPEST = 50  # an entry needs about six levels; some parsers crash at ten thousand


def fields(text: str, name: str) -> dict[str, Any]:
    """Text of a YAML file -> its fields, not validated.

    Args:
        text: the YAML.
        name: what messages call it, a path or an address.

    Raises:
        EntryError: not YAML, not a mapping, aliases, or duplicate keys; with the line.
    """
    root = _compose(text, name)
    problems = list(_duplicates(root))
    if problems:
        raise _entry_error(name, problems)
    return _construct(root, name)


def parse(text: str, name: str, record: type[R], what: str = "entry") -> R:
    """Text of a YAML file -> a record, such as ``Entry``.

    Args:
        text: the YAML.
        name: what messages call it, a path or an address.
        record: the type.
        what: what messages call the record as a whole.

    Raises:
        EntryError: as for ``fields``, or fields that do not fit; every problem is listed with its line.
    """
    from pydantic import ValidationError

    root = _compose(text, name)
    problems = list(_duplicates(root))
    try:
        found = record.model_validate(_construct(root, name))
    except ValidationError as error:
        details = error.errors(include_url=False)
        shown = details[: limits.most("problems")]
        problems += [_problem(root, detail, record, what) for detail in shown]
        raise _entry_error(name, problems, more=len(details) - len(shown)) from None
    if problems:
        raise _entry_error(name, problems)
    return found


def line_of(text: str, name: str, *path: int | str) -> int:
    """The line on which the value at ``path`` is stated, or the nearest one around it."""
    return _line(_compose(text, name), path)


def _compose(text: str, name: str) -> yaml.MappingNode:
    """The node tree of a document that is one mapping."""
    try:
        _refuse_traps(text, name)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise EntryError(f"{name}{_mark(error)}: not YAML: {_first_line(error)}") from None
    if not isinstance(root, yaml.MappingNode):
        found = "nothing" if root is None else _shown(root)
        raise EntryError(f"{name}:1: expected the fields of an entry, found {found}")
    if problems := list(_unreadable(root)):
        raise _entry_error(name, problems)
    return root


def _refuse_traps(text: str, name: str) -> None:
    """Refuse, before anything is built, what no entry needs and a small hostile file can blow up."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1 if event.start_mark else 1
        if depth > _DEEPEST:
            raise EntryError(f"{name}:{line}: more than {_DEEPEST} levels deep; no entry is")
        if isinstance(event, yaml.AliasEvent):
            raise EntryError(f"{name}:{line}: *{event.anchor} repeats an anchor (&); write the value out")


def _construct(root: yaml.Node, name: str) -> dict[str, Any]:
    loader = _LOADER("")
    try:
        return dict(loader.construct_document(root))
    except (yaml.YAMLError, ValueError, TypeError) as error:  # a tag that runs code, or a date such as 2025-02-31
        raise EntryError(f"{name}{_mark(error)}: {_first_line(error)}") from None
    finally:
        loader.dispose()


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).partition("\n")[0]


def _duplicates(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Keys that are stated twice; YAML would keep the last silently."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _duplicates(child)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else str(key.tag)
            if name in first:
                yield line, f"{name}: stated twice, first on line {first[name]}; keep one"
            first.setdefault(name, line)
            yield from _duplicates(value)


def _unreadable(node: yaml.Node, field: str = "") -> Iterator[tuple[int, str]]:
    """Characters that steer a terminal, hide or reorder what a person reads, or forge a line of a listing."""
    if isinstance(node, yaml.ScalarNode):
        value = node.value.rstrip("\n")
        if value.isprintable():  # nearly always, and a listing reads much text
            return
        wrong = sorted({character for character in value if character != "\n" and printable(character) != character})
        if "\n" in value and field not in _PARAGRAPHS:
            wrong.insert(0, "\n")
        if wrong:
            names = ", ".join(map(one_line, wrong[:4]))
            yield node.start_mark.line + 1, f"{field or 'a value'}: holds {names}; remove what is no readable text"
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _unreadable(child, field)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _unreadable(key, "a field's name")
            yield from _unreadable(value, str(key.value) if isinstance(key, yaml.ScalarNode) else "")


def _entry_error(name: str, problems: list[tuple[int, str]], more: int = 0) -> EntryError:
    most = limits.most("problems")
    lines = [f"{name}:{line}: {one_line(text, most=500)}" for line, text in sorted(problems)[:most]]
    if (left := more + len(problems) - len(lines)) > 0:
        lines.append(f"{name}: and {left} more problems")
    return EntryError("\n".join(lines))


def _problem(root: yaml.Node, detail: ErrorDetails, record: type[Record], what: str) -> tuple[int, str]:
    """One finding of pydantic -> (line, sentence that says what was expected and what was found)."""
    loc, kind = detail["loc"], detail["type"]
    node, path = _find(root, loc)
    where = ".".join(str(part) for part in path)
    if kind == "missing":
        where = f"{where}.{loc[-1]}" if where else str(loc[-1])
        words = "missing; state it (null where unknown)"
    elif kind == "extra_forbidden":
        around, _ = _find(root, loc[:-1])
        absent = [name for name in fields_at(record, loc[:-1]) if _child(around, name) is None]
        words = sentence(detail, fields=absent)
    elif kind == "value_error":
        words = sentence(detail)
    else:
        words = sentence(detail, _shown(node)) + _hint(kind, node)
    return _line(root, loc), f"{where or what}: {words}"


def _find(root: yaml.Node, loc: tuple[int | str, ...]) -> tuple[yaml.Node, list[int | str]]:
    """The node at a pydantic location, and the parts of the location that are in the file (union tags are not)."""
    node, path = root, []
    for part in loc:
        child = _child(node, part)
        if child is not None:
            node, _ = child
            path.append(part)
    return node, path


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, int] | None:
    """A direct child and its line (that of its key, in a mapping)."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    return None


def _line(root: yaml.Node, loc: tuple[int | str, ...]) -> int:
    node, line = root, root.start_mark.line + 1
    for part in loc:
        child = _child(node, part)
        if child is not None:
            node, line = child
    return line


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        value = node.value if len(node.value) <= _LONGEST else node.value[:_LONGEST] + "..."
        return repr(value) if node.style in ("'", '"') else value or "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _hint(kind: str, node: yaml.Node) -> str:
    """What to type where YAML made something else of a value than its author meant."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    reads = {"bool": "true or false", "int": "a number", "float": "a number", "null": "null", "timestamp": "a date"}
    tag = node.tag.rpartition(":")[2]
    if kind.startswith("string") and tag in reads:
        return f' (YAML reads {node.value} as {reads[tag]}; quote it: "{node.value}")'
    if tag == "str" and kind.startswith(("float", "int")):
        return _number_hint(node)
    if tag == "str" and kind.startswith("date"):
        return " (write a date without quotes: 2025-01-31)"
    return ""


def _number_hint(node: yaml.ScalarNode) -> str:
    try:
        float(node.value)
    except ValueError:
        return ""
    if node.style in ("'", '"'):
        return " (write the number without quotes)"
    return f" (YAML reads {node.value} as text: a power of ten needs a dot and a sign, such as 1.0e-4)"
