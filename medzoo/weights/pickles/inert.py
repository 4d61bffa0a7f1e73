"""What a file of weights is read into: values that do nothing."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.weights.pickles.items import Items

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
LONGEST_KEY = 1000  # characters
LARGEST_NUMBER = 2**62  # of a shape, a stride or an offset: what torch can count to, with room for a sum


class Refused(Exception):
    """The file is damaged, states a wrong size, or holds what would have to be run; the message says which."""


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


class Inert:
    """Stands in for an object of a class that is not known here.

    Attributes:
        name: of its class.
        arguments: what it would be made with.
        state: what would become its attributes.
        items, elements: what would be put in if it is a kind of mapping or list; None if there is nothing.
        array: the numbers, if it is a NumPy array.
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
