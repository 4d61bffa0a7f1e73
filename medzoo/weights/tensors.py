"""What a checkpoint describes -> tensors: plain, finite, hardly larger than the file, and ready for safetensors.

Numbers keep the precision they were published in, but for 8-bit floats, which no network computes with: they become
float32, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.text import first_line
from medzoo.weights.pickles import Array, Refused, Storage, shown

_DTYPES = frozenset(
    ("float64", "float32", "float16", "bfloat16")
    + ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
)
# All of their numbers are among those of float32.
_SMALL = frozenset(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"))
# Tensors may share numbers, but nothing makes a file whose tensors are many times as large as itself.
_LARGEST_GROWTH = 4
_ALWAYS_ALLOWED = 2**24  # bytes


def as_tensors(state: Mapping[str, Any], name: str, size: int, storages: dict[int, Tensor]) -> dict[str, Tensor]:
    """Ordinary tensors on the CPU, together not much larger than the file that they come from.

    Args:
        state: ``Array``s and plain numbers by name.
        name: of the file, for errors.
        size: of the file, in bytes.
        storages: the numbers of storages that were read before, by the identity of those; tensors of one share them.

    Raises CheckpointError: numbers of an unknown type, damaged ones, or more than the file stores.
    """
    room = _LARGEST_GROWTH * size + _ALWAYS_ALLOWED
    tensors = {}
    for key, value in state.items():
        try:
            tensors[key] = _tensor(value, storages)
        except Refused as reason:
            raise CheckpointError(f"{name}: '{key}' {reason}") from None
        room -= value.nbytes if isinstance(value, Array) else 0
        if room < 0:
            raise CheckpointError(f"{name}: its tensors claim far more numbers than the file stores")
    return tensors


def _tensor(value: Any, storages: dict[int, Tensor]) -> Tensor:
    """A tensor that is a view of the file where it can be; tensors of one storage share it."""
    if not isinstance(value, Array):
        if not isinstance(value, int | float):
            raise Refused(f"is {shown(value)}, expected a tensor")
        if isinstance(value, int) and value.bit_length() > 63:
            raise Refused("is a whole number of more than 64 bits")
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if value.dtype not in _DTYPES and value.dtype not in _SMALL:
        raise Refused(f"has dtype torch.{value.dtype}; expected plain numbers")
    value.check()
    try:
        if value.numel == 0:
            return torch.empty(value.shape, dtype=getattr(torch, value.dtype))
        if id(value.storage) not in storages:
            storages[id(value.storage)] = _of_storage(value.storage)
        found = storages[id(value.storage)].as_strided(value.shape, value.strides, value.offset)
        return found.float() if value.dtype in _SMALL else found
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # whatever torch rejects beyond that
        raise Refused(f"is not a tensor of torch ({first_line(error, most=200)})") from None


def _of_storage(storage: Storage) -> Tensor:
    data, dtype = storage.read(), getattr(torch, storage.dtype)
    numbers = torch.frombuffer(bytearray(data) if data.readonly else data, dtype=torch.uint8)
    aligned = numbers.data_ptr() % dtype.itemsize == 0  # in old files, numbers begin where the bytes before them end
    return (numbers if aligned else numbers.clone()).view(dtype)


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Raise CheckpointError where a tensor of the file of that name holds NaN or infinity."""
    for key, value in state.items():
        # One NaN or infinity makes the sum one, too, and a sum is much faster than testing each number.
        if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
            continue
        if count := int((~torch.isfinite(value)).sum()):
            raise CheckpointError(f"{name}: '{key}' holds {count} numbers that are NaN or infinite")


def separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as safetensors needs them."""
    seen: set[int] = set()
    contiguous = {}
    for key, value in state.items():
        storage = value.untyped_storage()
        alone = storage.data_ptr() not in seen and storage.nbytes() == value.numel() * value.element_size()
        seen.add(storage.data_ptr())
        contiguous[key] = value.contiguous() if alone else value.clone(memory_format=torch.contiguous_format)
    return contiguous
