"""What a pickle is read into: values that do nothing, and functions that walk over them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint8": 1, "bool": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip
# Far more than any network has; a file that goes beyond is meant to exhaust its reader.
LARGEST_DEPTH = 100
LARGEST_WALK = 200_000  # values
LONGEST_KEY = 1000  # characters


class Refused(Exception):
    """The file is damaged, states a wrong size, or holds what would have to be run; the message says which."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a Python object that the file refers to. Never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Storage:
    """A contiguous block of numbers in the file.

    Attributes:
        data: its bytes; None until its place in the file is known (old torch files state it last).
        crc: CRC-32 that the bytes must have; None or 0 if the file states none.
        root, start: the storage that this one is a part of, and where in it the part begins, in numbers.
    """

    dtype: str
    numel: int
    data: memoryview | None = None
    crc: int | None = None
    root: Storage | None = None
    start: int = 0

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_SIZES[self.dtype]

    def read(self) -> memoryview:
        """The bytes. Raises Refused: they are not in the file, or not those that were written."""
        if self.root is not None:
            first = self.start * ITEM_SIZES[self.dtype]
            data = self.root.read()[first : first + self.nbytes] if first >= 0 else None
        else:
            data = self.data
        if data is None or len(data) != self.nbytes:
            raise Refused(f"claims {self.numel} numbers that are not in the file")
        if self.crc and zlib.crc32(data) != self.crc:
            raise Refused("is damaged: its bytes are not those that were written (the checksum differs)")
        self.crc = None  # comparing once is enough
        return data


@dataclass(frozen=True, eq=False, slots=True)
class Array:
    """A tensor: a view of a storage. Offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    @property
    def numel(self) -> int:
        total = 1
        for side in self.shape:
            total *= side
        return total

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_SIZES[self.dtype]

    def check(self) -> None:
        """Raises Refused: the view does not lie inside its storage, or repeats numbers of it (a stride of 0 makes
        terabytes out of one number)."""
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        outside = self.numel > 0 and last >= self.storage.numel
        if outside or self.numel > self.storage.numel or min((self.offset, *self.shape, *self.strides)) < 0:
            raise Refused(f"claims {self.numel} numbers, more than the file stores")


class Inert:
    """Stands in for an object of a class that is not known here.

    Attributes:
        name: of its class.
        arguments: what it would be made with.
        state: what would become its attributes.
        items, elements: what would be put in if it is a kind of mapping or list; None if there is nothing.
        array: the numbers, if it is a NumPy array.
    """

    __slots__ = ("arguments", "array", "elements", "items", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...] = (), state: Any = None) -> None:
        self.name, self.arguments, self.state = name, arguments, state
        self.items: dict[Any, Any] | None = None
        self.elements: list[Any] | None = None
        self.array: Array | None = None

    @property
    def attributes(self) -> Mapping[Any, Any]:
        return self.state if isinstance(self.state, dict) else {}


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


def children(value: Any) -> Mapping[Any, Any] | None:
    """What lies directly in a value, by name; None for a value that holds nothing.

    A module gives its parameters, its persistent buffers and its modules, in the order of its ``state_dict()``.
    """
    inner: Mapping[Any, Any] | None = None
    if isinstance(value, dict):
        inner = value
    elif isinstance(value, list | tuple):
        inner = {str(i): item for i, item in enumerate(value)}
    elif module_class(value) is not None:
        own = value.attributes
        passing = own.get("_non_persistent_buffers_set")
        dropped = [name for name in passing if isinstance(name, str)] if isinstance(passing, list) else []
        buffers = {name: item for name, item in own["_buffers"].items() if name not in dropped}
        inner = {**own["_parameters"], **buffers, **own["_modules"]}
        inner = {name: item for name, item in inner.items() if item is not None}
    elif isinstance(value, Inert):
        inner = value.items
    return None if inner is None else {name: settled(item) for name, item in inner.items()}


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below a value that itself holds nothing, under its dotted name: arrays, numbers, texts, ...

    Raises:
        Refused: it goes deeper, or holds more, than any network.
    """
    ahead: list[tuple[str, Any, int]] = [(key, settled(value), 0)]
    looked_at = 0
    while ahead:
        name, found, depth = ahead.pop()
        looked_at += 1 + _width(found)  # values may be shared, so that a short file describes an endless tree
        if looked_at > LARGEST_WALK:
            raise Refused(f"it holds more than {LARGEST_WALK} values")
        inner = children(found)
        if inner is None:
            yield name, found
            continue
        if depth == LARGEST_DEPTH:
            raise Refused(f"'{name[:80]}...' lies more than {LARGEST_DEPTH} levels deep")
        below = [(_joined(name, part), item, depth + 1) for part, item in inner.items()]
        ahead.extend(reversed(below))


def is_state_dict(value: Any) -> bool:
    """Whether a value is a mapping of tensors."""
    inner = children(value) if isinstance(value, dict | Inert) and module_class(value) is None else None
    return bool(inner) and all(isinstance(item, Array) for item in inner.values())  # type: ignore[union-attr]


def networks(value: Any) -> dict[str | None, tuple[str, ...]]:
    """The networks in a file: where each lies (mapping keys, dots between them) and the names of its tensors.

    A network is a module, a mapping of tensors, or, where it is all that the file holds, a list of such or of numbers.

    Raises:
        Refused: it goes deeper, or holds more, than any network.
    """
    value = settled(value)
    if isinstance(value, list | tuple) or module_class(value) is not None or is_state_dict(value):
        names = [(name, leaf) for name, leaf in leaves(value)]
        fits = bool(names) and all(isinstance(leaf, Array | int | float) for _, leaf in names)
        return {None: tuple(name for name, _ in names)} if fits else {}
    found: dict[str | None, tuple[str, ...]] = {}
    ahead: list[tuple[str, Any, int]] = [("", value, 0)]
    while ahead and len(found) < 100:
        key, item, depth = ahead.pop(0)
        for name, below in (children(item) or {}).items():
            if not isinstance(name, str | int):
                continue
            place = _joined(key, name)
            if module_class(below) is not None or is_state_dict(below):
                found[place] = tuple(name for name, _ in leaves(below))
            elif isinstance(below, dict) and depth < 2 and len(ahead) < 1000:
                ahead.append((place, below, depth + 1))
    return found


def _width(value: Any) -> int:
    """How many values ``children`` has to look at."""
    if isinstance(value, Inert):
        own = [*value.attributes.values()] if module_class(value) else [value.items]
        return sum(len(item) for item in own if isinstance(item, dict | list))
    return len(value) if isinstance(value, dict | list | tuple) else 0


def _joined(name: str, part: Any) -> str:
    whole = f"{name}.{part}" if name else str(part)
    if len(whole) > LONGEST_KEY or not whole.isprintable():
        raise Refused(f"a name in it is longer than {LONGEST_KEY} characters, or cannot be printed")
    return whole
