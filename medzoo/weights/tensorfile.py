"""The safetensors format, read without torch: names, kinds and shapes from the header, numbers left in the file.

https://huggingface.co/docs/safetensors: eight bytes of length, a JSON header, then the numbers, without gaps.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from pathlib import Path
from typing import Any

from medzoo import limits
from medzoo.errors import CheckpointError
from medzoo.weights.pickles import BITS, Array, Storage

# The format's names, and those of torch.
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "C128": "complex128", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
    "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn", "F4": "float4_e2m1fn",
}  # fmt: skip
_LARGEST_RANK = 64  # of a tensor of torch
_FIELDS = {"dtype", "shape", "data_offsets"}


class _Damaged(ValueError):
    """What the file describes cannot be."""


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a safetensors file and its metadata. Numbers stay on disk until they are used.

    Raises:
        CheckpointError: it is damaged, cannot be read, or goes beyond ``limits``.
    """
    try:
        with path.open("rb") as file:
            # Private, so that tensors may be views of it: whoever writes to one does not change the file.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        return _read(data, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, struct.error) as error:
        raise CheckpointError(f"{path}: the safetensors file is cut short or damaged ({error})") from None


def _read(data: memoryview, path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise _Damaged(f"its header claims {length} bytes")
    limits.check("header_bytes", length, f"header of {path.name}", CheckpointError)
    header = json.loads(bytes(data[8 : 8 + length]), object_pairs_hook=_without_repetition)
    if not isinstance(header, dict):
        raise _Damaged("its header holds no names")
    metadata = header.pop("__metadata__", None) or {}
    if not all(isinstance(text, str) for text in metadata.values()):
        raise _Damaged("its metadata is no text")
    limits.check("tensors", len(header), path.name, CheckpointError)
    numbers = data[8 + length :]
    tensors, end = {}, 0
    for name, item in sorted(header.items(), key=lambda pair: _offsets(pair[1])):
        start, stop = _offsets(item)
        if start != end or stop > len(numbers):
            raise _Damaged(f"the numbers of '{name[:100]}' are not where those before it end, or go beyond the file")
        tensors[name] = _tensor(item, numbers[start:stop])
        end = stop
    if end != len(numbers):
        raise _Damaged(f"{len(numbers) - end} bytes follow its last tensor")
    return {name: tensors[name] for name in header}, metadata


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Damaged("a name comes twice")
    return found


def _offsets(item: Any) -> tuple[int, int]:
    if not isinstance(item, dict) or item.keys() != _FIELDS:
        raise _Damaged("a tensor does not state dtype, shape and data_offsets")
    start, stop = item["data_offsets"]
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop < 2**63:
        raise _Damaged("a tensor lies in no place")
    return start, stop


def _tensor(item: dict[str, Any], data: memoryview) -> Array:
    dtype, shape = item["dtype"], item["shape"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > _LARGEST_RANK:
        raise _Damaged("a tensor has no dtype, or a shape that is none")
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise _Damaged("a tensor has a shape that is none")
    numel = math.prod(shape)
    known = DTYPES.get(dtype)
    if known is None:  # of a later version of the format: described by its name, its bytes taken as they are
        return Array(Storage(dtype[:20].lower(), numel, data), 0, tuple(shape), (1,) * len(shape))
    if numel * BITS[known] != 8 * len(data):
        raise _Damaged("a tensor has not as many numbers as its shape says")
    strides, step = [], 1
    for side in reversed(shape):
        strides.append(step)
        step *= side
    return Array(Storage(known, numel, data), 0, tuple(shape), tuple(reversed(strides)))
