"""What a checkpoint describes -> tensors: plain, finite, hardly larger than the file, and ready for safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.weights.pickles import Array, Refused, Storage

_DTYPES = frozenset(
    ("float64", "float32", "float16", "bfloat16") + ("int64", "int32", "int16", "int8", "uint8", "bool")
)
# Tensors may share numbers, but nothing makes a file whose tensors are many times as large as itself.
_LARGEST_GROWTH = 4
_ALWAYS_ALLOWED = 2**24  # bytes


def as_tensors(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Ordinary tensors on the CPU, together not much larger than the file ``path`` that they come from.

    Raises CheckpointError: numbers of an unknown type, damaged ones, or more than the file stores.
    """
    room = _LARGEST_GROWTH * path.stat().st_size + _ALWAYS_ALLOWED
    room -= sum(value.nbytes for value in state.values() if isinstance(value, Array | Tensor))
    storages: dict[int, Tensor] = {}
    tensors = {}
    for key, value in state.items():
        try:
            tensors[key] = value if isinstance(value, Tensor) else _tensor(value, storages)
        except Refused as reason:
            raise CheckpointError(f"{path.name}: '{key}' {reason}") from None
    if room < 0:
        raise CheckpointError(f"{path.name}: its tensors claim far more numbers than the file stores")
    return tensors


def _tensor(value: Array | float, storages: dict[int, Tensor]) -> Tensor:
    """A tensor that is a view of the file where it can be; tensors of one storage share it."""
    if not isinstance(value, Array):
        if isinstance(value, int) and value.bit_length() > 63:
            raise Refused("is a whole number of more than 64 bits")
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if value.dtype not in _DTYPES:
        raise Refused(f"has dtype torch.{value.dtype}; expected plain numbers")
    value.check()
    if value.numel == 0:
        return torch.empty(value.shape, dtype=getattr(torch, value.dtype))
    if id(value.storage) not in storages:
        storages[id(value.storage)] = _of_storage(value.storage)
    return storages[id(value.storage)].as_strided(value.shape, value.strides, value.offset)


def _of_storage(storage: Storage) -> Tensor:
    data, dtype = storage.read(), getattr(torch, storage.dtype)
    numbers = torch.frombuffer(bytearray(data) if data.readonly else data, dtype=torch.uint8)
    aligned = numbers.data_ptr() % dtype.itemsize == 0  # in old files, numbers begin where the bytes before them end
    return (numbers if aligned else numbers.clone()).view(dtype)


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError where a tensor of the file ``path`` holds NaN or infinity."""
    for key, value in state.items():
        # One NaN or infinity makes the sum one, too, and a sum is much faster than testing each number.
        if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
            continue
        if count := int((~torch.isfinite(value)).sum()):
            raise CheckpointError(f"{path.name}: '{key}' holds {count} numbers that are NaN or infinite")


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
