"""Models of several files: one state dict, one hash, and text files as tensors of bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from medzoo.errors import CheckpointError
from medzoo.files import reading
from medzoo.weights import shards

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
LARGEST_TEXT = 64_000_000  # bytes


def joined(parts: Mapping[str | None, Mapping[str, T]]) -> dict[str, T]:
    """The state dicts of all parts as one with the keys ``part.key``; that of a single file unchanged."""
    if set(parts) == {None}:
        return dict(parts[None])
    return {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}


def joint_sha256(hashes: Mapping[str | None, str]) -> str:
    """One hash for all parts of a model; that of the file itself if there is only one."""
    if set(hashes) == {None}:
        return hashes[None]
    lines = "".join(f"{part} {sha256}\n" for part, sha256 in sorted(hashes.items(), key=str))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The hash of a file; of an index, that of it and of all files that it lists. Raises CheckpointError."""
    if not shards.is_index(path):
        return reading.sha256_of(path)
    return joint_sha256({file.name: reading.sha256_of(file) for file in (path, *shards.read(path))})


def as_text(path: Path) -> NDArray[np.uint8]:
    """The bytes uint8 [n] of a text file, which is ``text`` in the state dict of a model.

    Raises CheckpointError: it is not UTF-8 text, or is larger than 64 MB.
    """
    import numpy as np

    if path.stat().st_size > LARGEST_TEXT:
        raise CheckpointError(f"{path.name}: a text file of more than {LARGEST_TEXT} bytes")
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{path.name}: expected text in UTF-8, found other bytes") from None
    return np.frombuffer(content, np.uint8)


def save_text(original: Path, target: Path) -> None:
    """Write a text file as safetensors. Raises as ``as_text``."""
    from safetensors.numpy import save

    target.write_bytes(save({"text": as_text(original)}))
