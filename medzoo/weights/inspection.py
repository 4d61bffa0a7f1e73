"""What is in a file of weights, without running any of it: ``medzoo info FILE``.

Torch is not needed: only the header of a safetensors file is read, or the description of the numbers in a torch file or
a pickle. Files that the loader refuses are described, too, with the reason.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medzoo.errors import CheckpointError, WeightsError
from medzoo.files import kind as filekind
from medzoo.files.reading import expanded
from medzoo.weights import pickles
from medzoo.weights.pickles import Array, Inert, Mode, Refused, Storage

_SUFFIXES = frozenset((".pkl", ".pickle", ".pth", ".pt", ".ckpt", ".bin", ".model", ".safetensors", ".tar"))
_LARGEST_HEADER = 8_000_000  # bytes; that of sixty thousand tensors
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_MOST = 1000  # parts of one thing that are listed
_SHOWN = 60  # characters of a text that are shown


@dataclass(frozen=True)
class Part:
    """One thing that lies directly in the file, or in a network of it.

    Attributes:
        key: its name.
        what: in words: a class, a tensor with its shape, a text.
        tensors, numbers: how many lie in it.
        arguments: what its class was made with, if the file states it (``_init_kwargs`` of StyleGAN).
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
        checkpoint: fields of ``checkpoint`` in an entry that choose it.
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
        container: what ``checkpoint.container`` of an entry must be; None where the file is refused.
        names: the Python objects that the file names.
        source: characters of Python source code in it; never run.
        refused: why the loader refuses it; empty where it does not.
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


def is_file(argument: str) -> bool:
    """Whether an argument means a file of weights, whether the file exists or not."""
    path = Path(argument)
    named = len(path.parts) > 1 and path.is_file()  # a bare word is the id of a model
    return not argument.startswith("hf://") and (named or path.suffix.lower() in _SUFFIXES)


def inspect(path: Path) -> Contents:
    """What is in a safetensors, torch or pickle file.

    Raises:
        WeightsError: there is no such file.
        CheckpointError: it is damaged, or of another kind.
    """
    try:
        path = expanded(path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    try:
        kind, size = filekind.guess(path), path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    facts: dict[str, Any] = {"path": str(path), "size": size, "kind": filekind.describe(kind)}
    if kind == "safetensors":
        state, metadata = _header(path, size)
        return Contents(container="safetensors", metadata=metadata, **facts, **_listed(state, path, "safetensors"))
    found = pickles.read(path, Mode.INSPECT)
    container = "torch" if kind != "pickle" and _is_numbers(path) else "pickle"
    listed = _listed(found.content, path, container)
    return Contents(
        container=None if found.refused else container,
        names=found.names[:_MOST],
        source=found.source,
        refused=found.refused,
        **facts,
        **(listed | {"state_dicts": ()} if found.refused else listed),
    )


def _is_numbers(path: Path) -> bool:
    try:
        pickles.read(path, Mode.NUMBERS)
    except CheckpointError:
        return False
    return True


def _listed(content: Any, path: Path, container: str) -> dict[str, Any]:
    """``parts`` and ``state_dicts`` of what a file holds."""
    try:
        for _ in pickles.leaves(content):  # refuses what has no end, so that all that follows has one
            pass
        return {
            "parts": _parts(content, 2),
            "state_dicts": tuple(_state_dict(content, key, container) for key in pickles.networks(content)),
        }
    except Refused as reason:
        raise CheckpointError(f"{path.name}: {reason}") from None


def _parts(value: Any, depth: int) -> tuple[Part, ...]:
    """What lies in a value; modules and mappings in it are opened until ``depth`` is 0."""
    inner = pickles.children(value) or {}
    return tuple(_part(str(key), item, depth - 1) for key, item in list(inner.items())[:_MOST])


def _part(key: str, value: Any, depth: int) -> Part:
    arrays = [leaf for _, leaf in pickles.leaves(value) if isinstance(leaf, Array)]
    opened = depth > 0 and pickles.children(value) is not None and not pickles.is_state_dict(value)
    arguments = value.attributes.get("_init_kwargs") if isinstance(value, Inert) else None
    return Part(
        key=key,
        what=_what(value),
        tensors=len(arrays),
        numbers=sum(array.numel for array in arrays),
        arguments=_keywords(arguments),
        parts=_parts(value, depth) if opened else (),
    )


def _state_dict(content: Any, key: str | None, container: str) -> StateDict:
    value = content
    for part in key.split(".") if key else ():
        value = (pickles.children(value) or {}).get(part)
    arrays = {name: leaf for name, leaf in pickles.leaves(value) if isinstance(leaf, Array)}
    return StateDict(
        checkpoint={"container": container, "key": key},
        class_name=pickles.module_class(value),
        tensors=len(arrays),
        numbers=sum(array.numel for array in arrays.values()),
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


def _keywords(value: Any) -> dict[str, Any] | None:
    """Keyword arguments, which StyleGAN stores in a mapping class of its own; None if there are none."""
    items = value.items if isinstance(value, Inert) else value
    return _plain(items) if isinstance(items, dict) and items else None


def _plain(value: Any, depth: int = 3) -> Any:
    """Keyword arguments as JSON can hold them; other objects in words."""
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


def _header(path: Path, size: int) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors that the header of a safetensors file describes, without their numbers; its metadata."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _LARGEST_HEADER):
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        state = {name: _described(item, size - 8 - length) for name, item in header.items()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise CheckpointError(f"{path}: the safetensors file is cut short or damaged ({error})") from None
    return state, {_text(str(name)): _text(str(text)) for name, text in metadata.items()}


def _described(item: Mapping[str, Any], room: int) -> Array:
    shape, (start, end) = [int(side) for side in item["shape"]], item["data_offsets"]
    numel = math.prod(shape)
    storage = Storage(_DTYPES[item["dtype"]], numel)
    if not 0 <= start <= end <= room or storage.nbytes != end - start or min(shape, default=0) < 0:
        raise ValueError("a tensor goes beyond its end")
    return Array(storage, 0, tuple(shape), (1,) * len(shape))
