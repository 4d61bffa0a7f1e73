"""What is in a file of weights, without running any of it: ``medzoo info FILE``.

Torch is not needed: only the header of a safetensors file is read, or the description of the numbers in a torch file or
a pickle. Files that the loader refuses are described, too, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo import limits
from medzoo.errors import CheckpointError, WeightsError
from medzoo.files import kind as filekind
from medzoo.files.reading import expanded
from medzoo.weights import pickles, places, shards, tensorfile
from medzoo.weights.pickles import Array, Inert, Mode, Refused
from medzoo.weights.places import Place

_MOST = 1000  # parts of one thing that are listed
_MOST_AVERAGED = 50
_SHOWN = 60  # characters of a text


@dataclass(frozen=True)
class Part:
    """One thing that lies directly in the file, or in a network of it.

    Attributes:
        key: its name.
        what: in words: a class, a tensor with its shape, a text.
        tensors, numbers: how many lie in it.
        arguments: what its class was made with, if the file tells (``_init_kwargs`` of StyleGAN).
        parts: what lies in it.
    """

    key: str
    what: str
    tensors: int
    numbers: int
    arguments: dict[str, Any] | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class StateDict:
    """Something that can be read as the weights of a network.

    Attributes:
        checkpoint: fields of ``checkpoint`` in an entry that choose it; of averaged weights also ``strip_prefix`` or
            ``ema`` where they need one.
        class_name: class of the module; None for a plain state dict.
        names: the first names in it, with their shapes.
    """

    checkpoint: dict[str, str | None]
    class_name: str | None
    tensors: int
    numbers: int
    names: dict[str, list[int]]


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        kind: in words.
        container: what ``checkpoint.container`` of an entry has to be; None where the file is refused.
        names: the Python objects that the file names.
        source: characters of Python source code in it; never run.
        refused: why the loader will not read it; empty where it does.
        metadata: of a safetensors file.
    """

    path: str
    size: int
    kind: str
    container: str | None
    names: tuple[str, ...] = ()
    source: int = 0
    refused: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    state_dicts: tuple[StateDict, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


def inspect(path: Path) -> Contents:
    """What is in a safetensors, torch or pickle file, or in the files of an index.

    Raises:
        WeightsError: there is no such file.
        CheckpointError: it is damaged, or none of these.
    """
    try:
        path = expanded(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    if not path.is_file():
        raise WeightsError(f"there is no file '{path}'")
    if shards.is_index(path):
        return _index(path)
    try:
        kind, size = filekind.guess(path), path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    facts: dict[str, Any] = {"path": str(path), "size": size, "kind": filekind.describe(kind)}
    if kind == "safetensors":
        state, metadata = tensorfile.read(path)
        shown = {_text(name): _text(text) for name, text in metadata.items()}
        return Contents(container="safetensors", metadata=shown, **facts, **_described(state, path, "safetensors"))
    found = pickles.read(path, Mode.INSPECT, kind)
    container = "torch" if found.only_numbers else "pickle"
    described = _described(found.content, path, container)
    return Contents(
        container=None if found.refused else container,
        names=found.names[:_MOST],
        source=found.source,
        refused=found.refused,
        **facts,
        **(described | {"state_dicts": ()} if found.refused else described),
    )


def arguments(content: Any, key: str) -> dict[str, Any]:
    """What the class of a pickled network was made with, if the file tells (``_init_kwargs`` of StyleGAN)."""
    value = (pickles.children(content) or {}).get(key)
    return (_settings(value.attributes.get("_init_kwargs")) if isinstance(value, Inert) else None) or {}


def _index(path: Path) -> Contents:
    """Of several files as one."""
    files = list(shards.read(path))
    found = [inspect(file) for file in files]
    content: dict[str, Any] = {}
    for file, one in zip(files, found, strict=True):
        own = tensorfile.read(file)[0] if one.container == "safetensors" else pickles.read(file, Mode.INSPECT).content
        content |= pickles.children(own) or {}
    refused = tuple(reason for one in found for reason in one.refused)
    container = found[0].container or "torch"
    described = _described(content, path, container)
    return Contents(
        path=str(path),
        size=sum(one.size for one in found),
        kind=f"an index of {len(found)} files, each {found[0].kind}",
        container=None if refused else container,
        names=tuple(dict.fromkeys(name for one in found for name in one.names)),
        source=sum(one.source for one in found),
        refused=refused,
        **(described | {"state_dicts": ()} if refused else described),
    )


def _described(content: Any, path: Path, container: str) -> dict[str, Any]:
    try:
        look = _Look()
        found = places.places(content)
        return {
            "parts": look.parts(content, 2),
            "state_dicts": tuple(_state_dicts(found, container)),
        }
    except Refused as reason:
        raise CheckpointError(f"{path.name}: {reason}") from None


class _Look:
    """A walk over what a file holds; values that are shared are counted once, and all of them together bounded."""

    def __init__(self) -> None:
        self.left = limits.most("values")
        self.counted: dict[int, tuple[int, int]] = {}

    def parts(self, value: Any, depth: int) -> tuple[Part, ...]:
        """What lies in a value; modules and mappings in it are opened until ``depth`` is 0."""
        inner = pickles.children(value) or {}
        for key in inner:
            pickles.joined("", key)  # refuses names that cannot be shown
        return tuple(self.part(key, item, depth - 1) for key, item in list(inner.items())[:_MOST])

    def part(self, key: str, value: Any, depth: int) -> Part:
        tensors, numbers = self.count(value)
        stated = value.attributes.get("_init_kwargs") if isinstance(value, Inert) else None
        try:
            opened = depth > 0 and not pickles.is_state_dict(value) and pickles.children(value) is not None
            parts = self.parts(value, depth) if opened and self.left > 0 else ()
        except Refused:  # names in it that cannot be shown
            parts = ()
        return Part(key, _what(value), tensors, numbers, _settings(stated), parts)

    def count(self, value: Any) -> tuple[int, int]:
        """(tensors, numbers) in a value."""
        if isinstance(value, Array):
            return 1, min(value.numel, value.storage.numel)
        if not isinstance(value, dict | list | tuple | Inert):
            return 0, 0
        if id(value) not in self.counted:
            self.counted[id(value)] = (0, 0)  # of a value that lies in itself
            self.counted[id(value)] = self._count(value)
        return self.counted[id(value)]

    def _count(self, value: Any) -> tuple[int, int]:
        tensors = numbers = 0
        ahead, seen = [value], {id(value)}
        while ahead and self.left > 0:
            found = ahead.pop()
            if isinstance(found, Array):
                tensors, numbers = tensors + 1, numbers + min(found.numel, found.storage.numel)
                continue
            self.left -= 1 + pickles.width(found)
            try:
                inner = (pickles.children(found) or {}).values()
            except Refused:
                continue
            for item in inner:
                if isinstance(item, Array) or (isinstance(item, dict | list | tuple | Inert) and id(item) not in seen):
                    seen.add(id(item))
                    ahead.append(item)
        return tensors, numbers


def _state_dicts(found: list[Place], container: str) -> list[StateDict]:
    """What may be stated as ``checkpoint``: every state dict, and generators and averaged weights in one of them."""
    every = places.candidates(found)
    listed = [
        _state_dict({"container": container, "key": place.key}, place.names, pickles.module_class(place.whole))
        for place in found
        if not place.is_list and all(isinstance(value, Array | int | float) for value in place.names.values())
    ]
    averaged = places.averaged(found)[:_MOST_AVERAGED]
    known = {(one.key, one.prefix) for one in averaged if one.has_names}
    for one in every:
        if one.strip_prefix is not None and (one.is_named or (one.key, one.strip_prefix) in known):
            stated = {"container": container, "key": one.key, "strip_prefix": one.strip_prefix}
            listed.append(_state_dict(stated, one.state))
    raw = [one for one in every if not one.averaged][:_MOST_AVERAGED]
    for average in averaged:
        if average.has_names:
            continue
        below = places.fitting(average, raw)
        if len(average.tensors) == 1 and not below:  # an average of something else, such as StyleGAN's of latents
            continue
        base = {"key": below[0].key, "strip_prefix": below[0].strip_prefix} if below else {"key": None}
        stated = {"container": container, **base, "ema": average.name}
        listed.append(_state_dict({k: v for k, v in stated.items() if v is not None or k == "key"}, average.tensors))
    return listed[:_MOST]


def _state_dict(
    checkpoint: dict[str, str | None], names: Mapping[str, Any], class_name: str | None = None
) -> StateDict:
    arrays = {name: value for name, value in names.items() if isinstance(value, Array)}
    return StateDict(
        checkpoint=checkpoint,
        class_name=class_name,
        tensors=len(arrays),
        numbers=sum(min(array.numel, array.storage.numel) for array in arrays.values()),
        names={name: list(array.shape) for name, array in list(arrays.items())[:8]},
    )


def _what(value: Any) -> str:
    if isinstance(value, Array):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, Inert):
        return value.name
    if isinstance(value, Mapping | list | tuple):
        return f"{'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
        return ascii(short) if not short.isprintable() else repr(short)
    if isinstance(value, bytes | memoryview):
        return f"{len(value)} bytes"
    return str(value)


def _settings(value: Any) -> dict[str, Any] | None:
    """Keyword arguments, which StyleGAN keeps in a mapping of its own kind; None where there are none."""
    items = value.items if isinstance(value, Inert) else value
    return _plain(items) if isinstance(items, dict) and items else None


def _plain(value: Any, depth: int = 3) -> Any:
    """Settings as JSON has them; whatever is none, in words."""
    if isinstance(value, Inert) and value.items is not None:
        value = value.items
    if isinstance(value, dict) and depth:
        return {_text(str(key)): _plain(item, depth - 1) for key, item in list(value.items())[:50]}
    if isinstance(value, list | tuple) and depth:
        return [_plain(item, depth - 1) for item in value[:50]]
    finite = isinstance(value, float) and math.isfinite(value)
    return value if value is None or finite or isinstance(value, bool | int) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _SHOWN and value.isprintable() else _what(value)
