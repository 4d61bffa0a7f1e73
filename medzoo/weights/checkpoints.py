"""Original checkpoint containers -> a plain state dict, without running anything that is inside.

The kind of a file is recognised by its content. ``medzoo.weights.pickles`` interprets torch files and pickles, and
imports and calls nothing; ``tensorfile`` reads safetensors; ``layout`` finds the state dict that an entry describes;
``tensors`` turns its numbers into tensors.

``container: torch`` stands for tensors and plain containers alone; a file that holds objects of other classes (SinGAN's
``Gs.pth``, StyleGAN's ``.pkl``) needs ``container: pickle``, which reads them as bags of numbers.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from medzoo.entry import Checkpoint, Entry
from medzoo.errors import CheckpointError
from medzoo.files import kind as filekind
from medzoo.files import reading
from medzoo.weights import layout, pickles, shards, tensorfile
from medzoo.weights.pickles import Mode
from medzoo.weights.tensors import as_tensors, check_finite, separate


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
        """Ordinary tensors on the CPU, together not much larger than the file.

        Args:
            state: values of ``content`` by name.

        Raises CheckpointError: one is not a tensor, or is damaged.
        """
        return as_tensors(state, self.path.name, self.size, self._storages)


def convert(original: Path, entry: Entry, target: Path) -> None:
    """Read an original as its entry describes it, and write its state dict to ``target`` as safetensors.

    Raises:
        CheckpointError: it is not what the entry describes, or is not safe to read.
        OSError: ``target`` cannot be written.
    """
    tensors = read(original, entry.checkpoint)
    facts = {
        "model_id": entry.model_id,
        "source_sha256": reading.sha256_of(original),
        "source_container": filekind.guess(original),
    }
    try:
        save_file(separate(tensors), target, metadata=facts)
    except SafetensorError as error:
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of a checkpoint: found by ``key``, prefix removed, parameters replaced by ``ema``.

    The family checks whether its keys and shapes are those of the network.

    Raises:
        CheckpointError: it is not what ``checkpoint`` describes, or is not safe to read.
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
        CheckpointError: it is damaged, not a safetensors file, or holds numbers that are not finite.
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
