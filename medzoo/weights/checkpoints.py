"""Original checkpoint containers -> a plain state dict, without running anything that is inside.

The content says what a file is. Torch files and pickles are followed on paper by ``medzoo.weights.pickles``, which
imports and calls nothing; here the numbers found become tensors. Numbers keep the precision they were published in,
but for 8-bit floats, which no network computes with: they become float32, exactly.

``container: torch`` stands for tensors and plain containers alone; a file that holds objects of other classes (SinGAN's
``Gs.pth``, StyleGAN's ``.pkl``) needs ``container: pickle``, which takes them as bags of numbers.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from medzoo.entry import Checkpoint, Entry
from medzoo.errors import CheckpointError
from medzoo.files import kind as filekind
from medzoo.files import reading
from medzoo.weights import layout, pickles, shards, tensorfile
from medzoo.weights.pickles import Array, Mode, Refused

_DTYPES = frozenset(
    ("float64", "float32", "float16", "bfloat16")
    + ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
)
# Kinds that become float32: all of their numbers are among those of float32.
_SMALL = frozenset(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"))
# Tensors may share numbers, but nothing makes a file whose tensors are many times as large as itself.
_LARGEST_GROWTH = 4
_ALWAYS_ALLOWED = 2**24  # bytes


@dataclass(frozen=True, eq=False)
class Opened:
    """A file of weights that was read once; numbers stay on disk until they are used.

    Attributes:
        path: of the file, or of the index of several.
        content: what it holds: plain values, ``Array``s, and ``Inert`` objects.
        container: what to state as ``checkpoint.container`` for all of it to be read.
        size: bytes of all files.
    """

    path: Path
    content: Any
    container: str
    size: int
    # The numbers of storages, by the identity of those: tensors of one share its memory.
    _storages: dict[int, Tensor] = field(default_factory=dict)

    def state(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """The state dict that ``checkpoint`` describes, all numbers finite. Raises CheckpointError."""
        tensors = self.found(checkpoint)
        check_finite(tensors, self.path.name)
        return tensors

    def found(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """The same with whatever numbers it has. Raises CheckpointError."""
        return self.tensors(layout.state(self.content, checkpoint, self.path.name))

    def tensors(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """Ordinary tensors on the CPU, together hardly larger than the file.

        Args:
            state: values of ``content`` by name.

        Raises CheckpointError: one is no tensor, or is damaged.
        """
        room = _LARGEST_GROWTH * self.size + _ALWAYS_ALLOWED
        tensors = {}
        for key, value in state.items():
            try:
                tensors[key] = _tensor(value, self._storages)
            except Refused as reason:
                raise CheckpointError(f"{self.path.name}: '{key}' {reason}") from None
            room -= value.nbytes if isinstance(value, Array) else 0
            if room < 0:
                raise CheckpointError(f"{self.path.name}: its tensors claim far more numbers than the file stores")
        return tensors


def convert(original: Path, entry: Entry, target: Path) -> None:
    """Read an original as its entry describes it and write its state dict to ``target`` as safetensors.

    Raises:
        CheckpointError: it is not what the entry describes, or not safe to read.
        OSError: ``target`` cannot be written.
    """
    tensors = read(original, entry.checkpoint)
    facts = {
        "model_id": entry.model_id,
        "source_sha256": reading.sha256_of(original),
        "source_container": filekind.guess(original),
    }
    try:
        save_file(_separate(tensors), target, metadata=facts)
    except SafetensorError as error:
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of a checkpoint: found by ``key``, prefix taken off, parameters replaced by ``ema``.

    Whether its keys and shapes are those of the network is for the family to say.

    Raises:
        CheckpointError: it is not what ``checkpoint`` describes, or not safe to read.
    """
    return opened(path, checkpoint.container).state(checkpoint)


def opened(path: Path, container: str = "pickle") -> Opened:
    """A torch, safetensors or pickle file, or the index of several, read once.

    Args:
        container: how far the file may go: objects of other classes only with ``pickle``.

    Raises CheckpointError: it is damaged, none of these, or not safe to read.
    """
    if shards.is_index(path):
        return _joined(path, container)
    try:
        kind, size = filekind.guess(path), path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if kind == "safetensors":
        return Opened(path, tensorfile.read(path)[0], "safetensors", size)
    if kind == "pickle" and container != "pickle":
        raise CheckpointError(
            f"{path.name}: is {filekind.describe(kind)}; state `container: pickle` in the entry, and the numbers in it "
            "are read without running it"
        )
    if kind not in ("torch", "torch-legacy", "pickle"):
        raise CheckpointError(f"{path.name}: is {filekind.describe(kind)}; expected a torch or safetensors file")
    found = pickles.read(path, Mode.CLASSES if container == "pickle" else Mode.NUMBERS, kind)
    return Opened(path, pickles.settled(found.content), "pickle", size)


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: it is damaged, no safetensors file, or holds numbers that are not finite.
    """
    try:
        kind = filekind.guess(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if kind != "safetensors":
        raise CheckpointError(f"{path}: is {filekind.describe(kind)}; expected a safetensors file")
    file = opened(path)
    if not file.content:
        raise CheckpointError(f"{path}: holds no tensors")
    tensors = file.tensors(file.content)
    check_finite(tensors, path.name)
    return tensors


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Raises CheckpointError, which begins with ``name``: a number is NaN or infinite."""
    for key, value in state.items():
        # One NaN or infinity makes the sum one, too, and a sum takes a tenth of the time of a look at each number.
        if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
            continue
        if count := int((~torch.isfinite(value)).sum()):
            raise CheckpointError(f"{name}: '{key}' holds {count} numbers that are NaN or infinite")


def _joined(path: Path, container: str) -> Opened:
    """The files of an index as one."""
    content: dict[str, Any] = {}
    size = 0
    for file, names in shards.read(path).items():
        one = opened(file, container)
        found = layout.state(one.content, Checkpoint(container="torch", key=None, strip_prefix=None), file.name)
        listed = set(names)
        absent, beside = [name for name in names if name not in found], [name for name in found if name not in listed]
        if absent or beside:
            reason = f"'{absent[0]}' is not in {file.name}" if absent else f"it does not list '{beside[0]}'"
            raise CheckpointError(f"{path.name}: {reason}; the index and the file are not of one model")
        content |= found
        size += one.size
    return Opened(path, content, "pickle", size)


def _tensor(value: Array | float, storages: dict[int, Tensor]) -> Tensor:
    """A tensor that is a view of the file where it can be; tensors of one storage share it."""
    if not isinstance(value, Array):
        if not isinstance(value, int | float):
            raise Refused(f"is {layout.what(value)}, expected a tensor")
        if isinstance(value, int) and value.bit_length() > 63:
            raise Refused("is a whole number of more than 64 bits")
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if value.dtype not in _DTYPES and value.dtype not in _SMALL:
        raise Refused(f"is of kind torch.{value.dtype}; expected plain numbers")
    value.check()
    try:
        if value.numel == 0:
            return torch.empty(value.shape, dtype=getattr(torch, value.dtype))
        if id(value.storage) not in storages:
            storages[id(value.storage)] = _run_of_numbers(value.storage)
        found = storages[id(value.storage)].as_strided(value.shape, value.strides, value.offset)
        return found.float() if value.dtype in _SMALL else found
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # whatever torch finds wrong beyond that
        raise Refused(f"is no tensor of torch ({str(error).partition(chr(10))[0][:200]})") from None


def _run_of_numbers(storage: pickles.Storage) -> Tensor:
    data, dtype = storage.read(), getattr(torch, storage.dtype)
    numbers = torch.frombuffer(bytearray(data) if data.readonly else data, dtype=torch.uint8)
    aligned = numbers.data_ptr() % dtype.itemsize == 0  # old files put numbers wherever the bytes before them end
    return (numbers if aligned else numbers.clone()).view(dtype)


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    separate = {}
    for key, value in state.items():
        storage = value.untyped_storage()
        alone = storage.data_ptr() not in seen and storage.nbytes() == value.numel() * value.element_size()
        seen.add(storage.data_ptr())
        separate[key] = value.contiguous() if alone else value.clone(memory_format=torch.contiguous_format)
    return separate
