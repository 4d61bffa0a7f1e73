"""Weights that diffusers and transformers split: ``*.index.json`` and the files that it lists, as one state dict."""

from __future__ import annotations

from pathlib import Path

from medzoo import entry, limits
from medzoo.errors import CheckpointError
from medzoo.files import reading

_MOST_FILES = 1000


def is_index(path: Path) -> bool:
    """Whether a file is called as such indices are: ``model.safetensors.index.json``, ``....index.fp16.json``."""
    return entry.is_index(path.name)


def read(path: Path) -> dict[Path, tuple[str, ...]]:
    """The files of an index, in its order, and the names of the tensors in each.

    Raises CheckpointError: it is no index, or lists a file that is missing or lies elsewhere.
    """
    try:
        content = reading.read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    listed = content.get("weight_map") if isinstance(content, dict) else None
    pairs = listed.items() if isinstance(listed, dict) else ()
    if not pairs or not all(isinstance(name, str) for _, name in pairs):
        raise CheckpointError(f"{path}: expected 'weight_map', the file of each tensor by its name")
    limits.check("tensors", len(pairs), path.name, CheckpointError)
    files: dict[str, list[str]] = {}
    for tensor, name in pairs:
        files.setdefault(name, []).append(tensor)
    outside = [name for name in files if not _is_plain(name)]
    if outside:
        raise CheckpointError(f"{path}: '{outside[0]}' is no file of the folder that the index lies in")
    if len(files) > _MOST_FILES:
        raise CheckpointError(f"{path}: lists {len(files)} files, more than any model has")
    if missing := [name for name in files if not (path.parent / name).is_file()]:
        raise CheckpointError(f"{path}: of the files that it lists, {', '.join(missing[:5])} missing; fetch them, too")
    return {path.parent / name: tuple(tensors) for name, tensors in files.items()}


def _is_plain(name: str) -> bool:
    plain = name not in ("", ".", "..") and not set(name) & set("/\\:\0")
    return plain and name.isprintable() and len(name) <= 255 and not is_index(Path(name))
