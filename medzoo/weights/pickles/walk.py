"""The walk over what a file holds: what lies in a value, by name, and which values are networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medzoo import limits
from medzoo.weights.pickles.inert import LONGEST_KEY, Array, Inert, Name, Refused, shown

# Far more than any network has; a file that goes beyond is meant to exhaust its reader.
LARGEST_DEPTH = 100


def module_class(value: Any) -> str | None:
    """The class of a stored module; None for anything else."""
    if isinstance(value, Inert) and all(
        isinstance(value.attributes.get(name), dict) for name in ("_parameters", "_buffers", "_modules")
    ):
        return value.name
    return None


def settled(value: Any) -> Any:
    """The numbers of a NumPy array; anything else unchanged."""
    return value.array if isinstance(value, Inert) and value.array is not None else value


def children(value: Any) -> dict[str, Any] | None:
    """What lies directly in a value, by name; None for a value that holds nothing.

    A module gives its parameters, its persistent buffers and its modules, in the order of its ``state_dict()``.

    Raises Refused: a mapping whose keys cannot be shown, or read the same.
    """
    if isinstance(value, dict):
        return _named(value)
    if isinstance(value, list | tuple):
        return {str(i): settled(item) for i, item in enumerate(value)}
    if module_class(value) is not None:
        own = value.attributes
        passing = own.get("_non_persistent_buffers_set")
        dropped = {name for name in passing if type(name) is str} if isinstance(passing, list) else set()
        buffers = {name: item for name, item in _named(own["_buffers"]).items() if name not in dropped}
        inner = _named(own["_parameters"]) | buffers | _named(own["_modules"])
        return {name: item for name, item in inner.items() if item is not None}
    return _named(value.items) if isinstance(value, Inert) and value.items is not None else None


def inside(value: Any) -> dict[str, Any] | None:
    """``children``, and the attributes of any other object, such as one that keeps averaged weights."""
    found = children(value)
    if found is None and isinstance(value, Inert) and isinstance(value.state, dict):
        return _named(value.state)
    return found


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below a value that itself holds nothing, under its dotted name: arrays, numbers, texts, ...

    Raises:
        Refused: it goes deeper, or holds more, than any network.
    """
    ahead: list[tuple[str, Any, int]] = [(key, settled(value), 0)]
    looked_at, most = 0, limits.most("values")
    while ahead:
        name, found, depth = ahead.pop()
        looked_at += 1 + width(found)  # values may be shared, so that a short file describes an endless tree
        if looked_at > most:
            raise Refused(f"it holds more than {most:,} values; if you trust it, set MEDZOO_LIMIT_VALUES")
        inner = children(found)
        if inner is None:
            yield name, found
            continue
        if depth == LARGEST_DEPTH:
            raise Refused(f"'{name[:80]}...' lies more than {LARGEST_DEPTH} levels deep")
        below = [(joined(name, part), item, depth + 1) for part, item in inner.items()]
        ahead.extend(reversed(below))


def is_state_dict(value: Any) -> bool:
    """Whether a value is a mapping of tensors."""
    if isinstance(value, Inert):
        value = value.items if module_class(value) is None else None
    if not isinstance(value, dict) or getattr(value, "refused", None) is not None:
        return False
    return bool(value) and all(isinstance(settled(item), Array) for item in value.values())


def is_network(value: Any) -> bool:
    """Whether a value can be read as the weights of a network: a mapping of tensors, or a module."""
    return is_state_dict(value) or module_class(value) is not None


def networks_among(items: Mapping[str, Any]) -> list[str]:
    """The names of those items that are networks; values that are shared are looked at once."""
    known: dict[int, bool] = {}
    for item in items.values():
        if id(item) not in known:
            known[id(item)] = is_network(item)
    return [name for name, item in items.items() if known[id(item)]]


def width(value: Any) -> int:
    """How many values ``children`` has to look at."""
    if isinstance(value, Inert):
        own = [*value.attributes.values()] if module_class(value) else [value.items]
        return sum(len(item) for item in own if isinstance(item, dict | list))
    return len(value) if isinstance(value, dict | list | tuple) else 0


def joined(name: str, part: str) -> str:
    """A dotted name and a part of it. Raises Refused: it is too long, or cannot be printed."""
    whole = f"{name}.{part}" if name else part
    if len(whole) > LONGEST_KEY or not whole.isprintable():
        raise Refused(f"a name in it is longer than {LONGEST_KEY} characters, or cannot be printed")
    return whole


def _named(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """A mapping by names, whatever its keys are."""
    if (refused := getattr(mapping, "refused", None)) is not None:
        raise Refused(refused)
    named = {
        key if type(key) is str else _as_name(key, i): settled(item) for i, (key, item) in enumerate(mapping.items())
    }
    if len(named) != len(mapping):
        raise Refused("two keys of a mapping in it read the same, such as 1 and '1'")
    return named


def _as_name(key: Any, index: int) -> str:
    if isinstance(key, bytes):
        text = key.decode("utf-8", "surrogateescape")
        return text if text.isprintable() else repr(key)
    if isinstance(key, tuple):
        return f"({', '.join(_as_name(part, index) for part in key)})"
    if key is None or isinstance(key, str | int | float | Name):
        return str(key)
    return f"<{shown(key)} {index}>"
