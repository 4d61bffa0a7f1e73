"""Conditions in words: a run is resumed only with the same ones, and its record must not tell whose files they were."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.samples import Samples


def described(condition: Any, *, files: bool = False) -> str | None:
    """A condition in words, different for different ones: a run is only resumed with the same.

    Args:
        files: it names files or folders, of which the last name is enough: their contents are hashed, and the folders
            above may tell whose they are.
    """
    if condition is None:
        return None
    if isinstance(condition, str | Path | int | float):
        text = last_name(str(condition)) if files and isinstance(condition, str | Path) else str(condition)
    elif isinstance(condition, Mapping):
        text = "; ".join(f"{name}={described(value, files=files)}" for name, value in condition.items())
    elif isinstance(condition, list | tuple):
        text = "; ".join(str(described(value, files=files)) for value in condition)
    else:  # an array, a tensor, a picture, Samples
        held = condition.images if isinstance(condition, Samples) else condition
        array = np.ascontiguousarray(held.detach().cpu() if hasattr(held, "detach") else held)
        return f"array {list(array.shape)} sha256:{hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    if len(text) <= 1000:
        return text
    return f"{text[:100]}... sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


def nameless(described: str) -> str:
    """A condition told apart from others by a hash, which shows no names."""
    return f"sha256:{hashlib.sha256(described.encode('utf-8', 'replace')).hexdigest()[:16]}"


def last_name(stated: str) -> str:
    """``left=/home/a/b.png`` -> ``left=b.png``."""
    start, is_named, path = stated.partition("=")
    if not is_named or set(start) & {"/", os.sep}:
        start, path = "", stated
    return (f"{start}=" if start else "") + os.path.basename(os.path.abspath(os.path.expanduser(path)))
