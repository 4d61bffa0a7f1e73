"""Where in a file a generator may lie: every state dict, every prefix in it, averaged weights first.

The order is that of the file, never that of a set: one file gives one network in every process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medzoo import limits
from medzoo.weights import averages, layout, pickles
from medzoo.weights.pickles import Array, Refused

_DEEPEST = 6  # keys that lead to a state dict
_LONGEST_LIST = 1000  # things of a list that are looked into
_MOST_NAMES = 300_000  # that are looked at for prefixes, each once at every dot
_GENERATOR = frozenset(("g", "netg", "gen", "generator", "gs"))
_LIKELY = _GENERATOR | {"decoder", "unet", "model", "net", "network"}


@dataclass(frozen=True, eq=False)
class Place:
    """One state dict, or list of tensors, of a file.

    Attributes:
        path: the keys that lead to it.
        names: what lies in it: tensors, and whatever else is saved among them.
        whole: the value itself.
        is_list: whether it is a list of tensors without names.
    """

    path: tuple[str, ...]
    names: dict[str, Any]
    whole: Any
    is_list: bool

    @property
    def key(self) -> str | None:
        return ".".join(self.path) or None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A state dict that may be that of the generator.

    Attributes:
        key, strip_prefix: fields of ``checkpoint`` that choose it.
        names: its names in the file.
        values: what the file has under them.
        averaged: whether its names say that it is averaged.
    """

    key: str | None
    strip_prefix: str | None
    names: Sequence[str]
    values: Mapping[str, Any]
    averaged: bool

    @property
    def full(self) -> dict[str, str]:
        """The names that are left of it -> those in the file. Raises Refused: two become one."""
        return layout.stripped(self.names, self.strip_prefix)

    @property
    def state(self) -> dict[str, Any]:
        """Its tensors under the names that are left, and whatever else lies among them."""
        return {new: self.values[old] for new, old in self.full.items()}

    @property
    def name(self) -> str:
        """The last of the names that lead to it."""
        return (self.strip_prefix or self.key or "").rstrip(".").rpartition(".")[2]

    @property
    def is_named(self) -> bool:
        """Whether its name says that it is a generator."""
        words = averages.words(self.name)
        return bool(_GENERATOR & {*words, "".join(words)})

    def contains(self, other: Candidate) -> bool:
        """Whether the other one is a part of this one."""
        inside = (other.strip_prefix or "").startswith(self.strip_prefix or "")
        return self.key == other.key and self.strip_prefix != other.strip_prefix and inside


@dataclass(frozen=True, eq=False)
class Average:
    """Something in a file that is called averaged.

    Attributes:
        name: ``ema`` of a ``checkpoint`` that lays it over other weights.
        key, prefix: where it lies, as a candidate states it.
        parts: the names that lead to it.
        tensors: its tensors by name, or by number.
    """

    name: str
    key: str | None
    prefix: str | None
    parts: tuple[str, ...]
    tensors: dict[str, Array]

    @property
    def has_names(self) -> bool:
        """Whether it may be a state dict of its own: most of its tensors have the names of parts of a network."""
        return 2 * sum("." in name for name in self.tensors) >= len(self.tensors)


def places(content: Any) -> list[Place]:
    """Every mapping with tensors in it, module, and list of tensors in a file, in its order, the outermost first."""
    content = pickles.settled(content)
    if isinstance(content, list | tuple) and not _is_list(content):
        whole = _flat_list(content)
        if whole is not None:
            return [Place((), whole, content, False)]
    found: list[Place] = []
    ahead: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    seen = {id(content)}
    left, dotted = limits.most("values"), False
    while ahead and left > 0 and len(found) < limits.most("places"):
        path, value = ahead.popleft()
        left -= 1 + pickles.width(value)
        inner = _inner(value)
        if inner is None:
            continue
        if (place := _place(path, value, inner)) is not None:
            found.append(place)
        if len(path) >= _DEEPEST or pickles.module_class(value) is not None or _is_optimizer(inner):
            continue
        further = {n: item for n, item in inner.items() if isinstance(item, dict | list | tuple | pickles.Inert)}
        dotted = dotted or (bool(further) and any("." in name for name in inner))
        for name, item in further.items():
            if id(item) not in seen:
                seen.add(id(item))
                ahead.append(((*path, name), item))
    # A key with dots may hide the path to another place.
    return [one for one in found if not dotted or one.key is None or layout.is_there(content, one.key, one.whole)]


def candidates(found: Sequence[Place]) -> list[Candidate]:
    """Every state dict and what lies under every prefix in it: averaged ones first, then the largest.

    What contains another goes before it.
    """
    every = [candidate for place in found if not place.is_list for candidate in _prefixes(place)]
    every.sort(key=lambda candidate: (not candidate.averaged, -len(candidate.names)))
    return every[: limits.most("places")]


def averaged(found: Sequence[Place]) -> list[Average]:
    """Everything that is called averaged, as it may be laid over a state dict; discriminators are left out."""
    every: list[Average] = []
    for place in found:
        if averages.is_averaged(place.path) and (tensors := averages.tensors(place.whole)):
            every.append(Average(place.key or "", place.key, None, place.path, tensors))
        if place.is_list:
            continue
        for name, value in place.names.items():  # one tensor of all parameters
            vector = isinstance(value, Array) and len(value.shape) == 1 and not averages.BUFFER.search(name)
            if vector and averages.is_averaged([name.rpartition(".")[2]]):
                parts = (*place.path, name)
                every.append(Average(".".join(parts), place.key, None, parts, {"0": value}))
        for prefix, names in _nodes(place.names):
            parts = (*place.path, *prefix.rstrip(".").split("."))
            if prefix and averages.is_averaged(parts[-1:]):
                inner = {n[len(prefix) :]: value for n in names if isinstance(value := place.names[n], Array)}
                every += [Average(".".join(parts), place.key, prefix, parts, inner)] if inner else []
    return [one for one in every if averages.is_of_generator(one.parts) and not _is_of_another(one.tensors)]


def fitting(average: Average, raw: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that averaged weights can be laid over; those of the same name alone, where there are any."""
    fits = [candidate for candidate in raw if _lies_over(average, candidate)]
    named = set(averages.plain_words(average.parts))
    own = [set(averages.plain_words([candidate.name])) for candidate in fits]
    longest = max((len(words) for words in own if words <= named), default=0)
    return [
        candidate
        for candidate, words in zip(fits, own, strict=True)
        if not longest or (words <= named and len(words) == longest)
    ]


def _lies_over(average: Average, candidate: Candidate) -> bool:
    if 1 < len(average.tensors) < len(candidate.names) / 4:  # far too few, whatever they are
        return False
    try:
        averages.laid_over(candidate.state, candidate.full, average.tensors)
    except Refused:
        return False
    return True


def _is_of_another(tensors: Mapping[str, Array]) -> bool:
    """Whether every name is one of a discriminator, a loss or the like."""
    return not any(averages.is_of_generator(name.split(".")[:_DEEPEST]) for name in tensors)


def _inner(value: Any) -> dict[str, Any] | None:
    try:
        if isinstance(value, list | tuple):
            return {str(i): pickles.settled(item) for i, item in enumerate(value[:_LONGEST_LIST])}
        return pickles.inside(value)
    except Refused:  # names that no state dict has
        return None


def _place(path: tuple[str, ...], value: Any, inner: Mapping[str, Any]) -> Place | None:
    if _is_list(value):
        return Place(path, {str(i): pickles.settled(item) for i, item in enumerate(value)}, value, True)
    if isinstance(value, list | tuple):
        return None
    try:
        if pickles.module_class(value) is not None:
            return Place(path, dict(pickles.leaves(value)), value, False)
    except Refused:
        return None
    arrays = [item for item in inner.values() if isinstance(item, Array)]
    if not (len(arrays) == len(inner) or any(array.shape for array in arrays)) or not arrays:
        return None  # a single number of NumPy among settings makes no state dict
    if pickles.children(value) is None:  # attributes of an object, which no key leads to
        return None
    return Place(path, dict(inner), value, averages.is_list(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and averages.is_list(value)


def _flat_list(value: Sequence[Any]) -> dict[str, Any] | None:
    """A file that is a list of modules or of numbers, as SinGAN saves them."""
    if any(isinstance(item, dict) for item in value):
        return None
    try:
        found = dict(pickles.leaves(value))
    except Refused:
        return None
    return found if found and all(isinstance(item, Array | int | float) for item in found.values()) else None


def _is_optimizer(inner: Mapping[str, Any]) -> bool:
    return "param_groups" in inner and "state" in inner


def _prefixes(place: Place) -> Iterator[Candidate]:
    """The whole state dict first, then what lies under each prefix of its names."""
    networks = set(pickles.networks_among(place.names))
    for prefix, names in _nodes(place.names):
        if networks.isdisjoint(names) and any(isinstance(place.names[name], Array) for name in names):
            averaged = averages.is_averaged((*place.path, *prefix.rstrip(".").split(".")))
            yield Candidate(place.key, prefix or None, names, place.names, averaged)


def _nodes(names: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(prefix, names with it) of a state dict, the shortest prefixes first; those of one name are left out."""
    left, most = _MOST_NAMES, limits.most("places")
    level: list[tuple[str, list[str]]] = [("", list(names))]
    count = 0
    while level:
        below: list[tuple[str, list[str]]] = []
        for prefix, group in level:
            yield prefix, group
            left, count = left - len(group), count + 1
            if left < 0 or count >= most:
                return
            parts: dict[str, list[str]] = {}
            for name in group:
                part, dot, _ = name[len(prefix) :].partition(".")
                if dot:
                    parts.setdefault(part, []).append(name)
            below += [(f"{prefix}{part}.", inner) for part, inner in parts.items() if len(inner) > 1]
        below.sort(key=lambda node: (not _is_likely(node[0]), -len(node[1])))
        level = below


def _is_likely(prefix: str) -> bool:
    words = averages.words(prefix.rstrip(".").rpartition(".")[2])
    return bool(_LIKELY & {*words, "".join(words)}) or averages.is_averaged([prefix])
