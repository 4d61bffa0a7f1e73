"""``latest.pt``: what ``torch.save`` writes, with the SHA-256 of all of it at its end.

The hash is the comment of the zip archive that such a file is, so ``torch.load`` reads it as it is, and a file and its
hash appear together or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from medzoo.errors import TrainingError
from medzoo.files.reading import open_regular
from medzoo.files.whole import sync_folder, writing

_MARK = b"sha256:"
_LENGTH = len(_MARK) + 64
_CHUNK = 1 << 20


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run whole or not at all. Raises OSError."""
    with writing(path) as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # torch's own word for a write that failed
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error
        size = file.seek(-2, 2) + 2  # the last two bytes of an archive without a comment are its length
        file.write(_LENGTH.to_bytes(2, "little"))
        file.flush()
        file.write(_MARK + _sha256(file, size).encode())
    sync_folder(path.parent)


def read_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state in a file, every byte of which is as it was written.

    Raises TrainingError: it is not there, is damaged, or is no state.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2) - _LENGTH
            if size <= 0 or _sha256(file, size) != _stated(file):
                raise ValueError("its checksum differs: it is damaged, or cut short")
            file.seek(0)
            state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        state["step"] = int(state["step"])
    except Exception as error:  # whatever an odd file makes of the reader
        why = str(error) if type(error) in (ValueError, OSError, FileNotFoundError) else type(error).__name__
        raise TrainingError(
            f"{path}: not a state that this program wrote ({why}); restore it from a copy, or move it away with the "
            "other files of the run, to begin anew"
        ) from None
    return state


def read_step(path: Path) -> int:
    """The step of a ``latest.pt``, without its tensors or its checksum. Raises TrainingError."""
    try:
        open_regular(path).close()
        return int(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["step"])
    except Exception as error:  # whatever a damaged file makes of the reader
        raise TrainingError(f"{path}: not a state that this program wrote ({type(error).__name__})") from None


def _stated(file: BinaryIO) -> str | None:
    file.seek(-_LENGTH, 2)
    end = file.read()
    return end.removeprefix(_MARK).decode("ascii", "replace") if end.startswith(_MARK) else None


def _sha256(file: BinaryIO, size: int) -> str:
    """Hash of the first ``size`` bytes; the file is at their end afterwards."""
    digest = hashlib.sha256()
    file.seek(0)
    while size and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()
