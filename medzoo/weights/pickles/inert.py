"""What a file of weights is read into: values that do nothing, and the walk over them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medzoo import limits

# Bits of one number, by the names of torch; those of fewer than eight are of safetensors' names for packed numbers.
BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "int64": 64, "int32": 32, "int16": 16, "int8": 8,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "bool": 8,
    "complex32": 32, "complex64": 64, "complex128": 128,
    "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8, "float8_e8m0fnu": 8,
    "float4_e2m1fn_x2": 8, "float6_e2m3fn": 6, "float6_e3m2fn": 6, "float4_e2m1fn": 4,
    "qint8": 8, "quint8": 8, "qint32": 32, "quint4x2": 8, "quint2x4": 8, "bits8": 8, "bits16": 16,
}  # fmt: skip
ITEM_SIZES = {name: bits // 8 for name, bits in BITS.items() if bits >= 8}
# Far more than any network has; a file that goes beyond is made to keep its reader busy.
LARGEST_DEPTH = 100
LONGEST_KEY = 1000  # characters
LARGEST_NUMBER = 2**62  # of a shape, a stride or an offset: what torch can count to, with room for a sum
MOST_EQUAL_HASHES = 50  # keys of one mapping


class Refused(Exception):
    """The file is damaged, lies about its size, or holds what has to be run; the message says which."""


class Aside(Refused):
    """One value of the file is none that numbers need: it is refused where it is used, and harms nothing beside."""


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a Python object that the file refers to. Never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Storage:
    """A run of numbers in the file.

    Attributes:
        data: its bytes; None until its place in the file is known (old torch files state it last).
        crc: CRC-32 that the bytes must have; None or 0 where the file states none.
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
        return -(-self.numel * BITS[self.dtype] // 8)

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
        self.crc = None  # once is enough
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
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * BITS[self.dtype] // 8

    def check(self) -> None:
        """Raises Refused: the view does not lie inside its storage, or repeats numbers of it (a stride of 0 makes
        terabytes out of one number)."""
        numbers = (self.offset, *self.shape, *self.strides)
        # An empty tensor of long sides has no numbers, but torch multiplies the others for its strides.
        product = math.prod(side for side in self.shape if side)
        if min(numbers) < 0 or max(*numbers, product) >= LARGEST_NUMBER:
            raise Refused("states a shape, strides or an offset that no tensor has")
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        if self.numel > self.storage.numel or (self.numel > 0 and last >= self.storage.numel):
            raise Refused(f"claims {self.numel} numbers, more than the file stores")


class Items(dict[Any, Any]):
    """A mapping of the file.

    Attributes:
        refused: why it cannot be used, if something was put in under a key that no mapping of tensors has.
    """

    __slots__ = ("_hashes", "refused")

    def __init__(self) -> None:
        super().__init__()
        self.refused: str | None = None
        self._hashes: dict[int, int] | None = None

    def put(self, key: Any, value: Any) -> None:
        """Put an item in. Raises Refused: its keys are made to have equal hashes, so that each takes longer."""
        if type(key) is str:
            if is_word(key):
                self[key] = value
            else:
                self.refused = "a key of a mapping is a text that is too long, or cannot be printed"
            return
        key = _hashable(key)
        if isinstance(key, tuple | float):
            self._hashes = {} if self._hashes is None else self._hashes
            count = self._hashes[hash(key)] = self._hashes.get(hash(key), 0) + 1
            if count > MOST_EQUAL_HASHES:
                raise Refused(f"a mapping in it has more than {MOST_EQUAL_HASHES} keys that look the same to Python")
        self[key] = value


class Inert:
    """Stands in for an object of a class that is not known here.

    Attributes:
        name: of its class.
        arguments: what it would be made with.
        state: what would become its attributes.
        items, elements: what would be put in if it is a kind of mapping or list; None if nothing is.
        array: the numbers, if it is an array of NumPy.
        refused: why it cannot be used, if making it would take a call that is not known here.
    """

    __slots__ = ("arguments", "array", "elements", "items", "name", "refused", "state")

    def __init__(
        self, name: str, arguments: tuple[Any, ...] = (), state: Any = None, *, refused: str | None = None
    ) -> None:
        self.name, self.arguments, self.state, self.refused = name, arguments, state, refused
        self.items: Items | None = None
        self.elements: list[Any] | None = None
        self.array: Array | None = None

    @property
    def attributes(self) -> Mapping[Any, Any]:
        return self.state if isinstance(self.state, dict) else {}


def shown(value: Any) -> str:
    """A value in a few words; never its content, which may be shared without end."""
    if isinstance(value, Name):
        return str(value)
    return value.name if isinstance(value, Inert) else f"a {type(value).__name__}"


def is_word(value: Any) -> bool:
    """Whether a value is a text that can be a name, and be shown on a terminal."""
    return isinstance(value, str) and len(value) <= LONGEST_KEY and value.isprintable()


def module_class(value: Any) -> str | None:
    """The class of a stored module, None for anything else."""
    if isinstance(value, Inert) and all(
        isinstance(value.attributes.get(name), dict) for name in ("_parameters", "_buffers", "_modules")
    ):
        return value.name
    return None


def settled(value: Any) -> Any:
    """The numbers of an array of NumPy; anything else as it is."""
    return value.array if isinstance(value, Inert) and value.array is not None else value


def children(value: Any) -> dict[str, Any] | None:
    """What lies directly in a value, by name; None for a value that holds nothing further.

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
    """Everything below a value that holds nothing further, under its dotted name: arrays, numbers, words, ...

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


def _hashable(key: Any) -> Any:
    """The key that stands in for one of the file: equal ones stay equal if they are names or numbers.

    Hashing a tuple could take for ever, or all of the stack; two whole numbers beyond 2^61 may have one hash.
    """
    if isinstance(key, int):
        return key if abs(key) < 2**61 - 1 else str(key)
    if key is None or isinstance(key, float | Name):
        return key
    if isinstance(key, bytes | memoryview) and len(key) <= LONGEST_KEY:
        return bytes(key)
    if isinstance(key, tuple) and len(key) < 10:
        parts = [_hashable(part) if isinstance(part, int | float | Name) else part for part in key]
        words = sum(len(part) for part in parts if isinstance(part, str))
        if words <= 400 and all(isinstance(part, int | float | Name) or is_word(part) for part in parts):
            return tuple(parts)
    return key if isinstance(key, Inert) else Inert(f"builtins.{type(key).__name__}", (key,))
