"""What of a model has to be downloaded before it runs, as its file states it, without validating it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from medzoo.catalog import RawEntry, RegistryWarning, text_of, yamlfile
from medzoo.errors import EntryError, MedzooError
from medzoo.files import cache as cached

_TEXT = (".json", ".txt", ".model")  # configurations and vocabularies: small beside any weights


def missing(raw: RawEntry) -> int | None:
    """Bytes to download before the model runs; 0 where its weights are on this machine, None where nobody stated them.

    A listing asks this of every entry, so that only those in the cache whose hashes nobody stated are validated.
    """
    sources = [source for source in raw.fields["weights"] if isinstance(source, Mapping)]
    parts: dict[str | None, list[Mapping[str, Any]]] = {}
    for source in sources:
        parts.setdefault(source.get("part"), []).append(source)
    if not parts:
        return None
    if all(any(_is_file(source, raw) for source in same) for same in parts.values()) or _are_cached(parts, raw):
        return 0
    sizes = [_size(same) for same in parts.values()]
    return None if None in sizes else sum(size for size in sizes if size)


def in_words(raw: RawEntry) -> str:
    """For a listing: "here", "1.3 MB", "~91 MB" where a size is known only about, "download" where it is not."""
    size = missing(raw)
    if size == 0:
        return "here"
    known = _about(raw.registry).get(raw.path.stem) if size is None else size / 1e6
    if known is None:
        return "download"
    return f"{'~' if size is None else ''}{known:,.{1 if known < 10 else 0}f} MB"


@cache
def _about(registry: Path) -> dict[str, float]:
    """MB by id, as ``downloads.yaml`` of a registry folder states them."""
    path = registry / "downloads.yaml"
    try:
        stated = yamlfile.fields(text_of(path), str(path)) if path.is_file() else {}
    except EntryError as error:
        warnings.warn(str(error), RegistryWarning, stacklevel=3)
        return {}
    return {name: float(size) for name, size in stated.items() if isinstance(size, int | float) and size > 0}


def _is_file(source: Mapping[str, Any], raw: RawEntry) -> bool:
    folder, name = {"package": (raw.registry, "file"), "local": (raw.path.parent, "path")}.get(
        str(source.get("kind")), (None, "")
    )
    stated = source.get(name)
    with suppress(OSError, ValueError):  # a name that no file has
        return folder is not None and isinstance(stated, str) and (folder / stated).is_file()
    return False


def _are_cached(parts: Mapping[str | None, list[Mapping[str, Any]]], raw: RawEntry) -> bool:
    with suppress(MedzooError, OSError):
        records = [path.name for path in (cached.root() / "weights" / cached.in_paths(raw.path.stem)).glob("*.json")]
        hashes = [[str(source.get("sha256") or "")[:16] for source in same] for same in parts.values()]
        if len(records) < len(parts):
            return False
        if all(all(same) for same in hashes):
            return all(any(name.startswith(one) for one in same for name in records) for same in hashes)
        from medzoo import weights

        located = raw.load()
        return weights.is_available_offline(located.entry, located.registry, located.path)
    return False


def _size(same: list[Mapping[str, Any]]) -> int | None:
    """Bytes of one part, by the first of its sources that states them."""
    for source in same:
        if isinstance(size := source.get("size"), int):
            return size
        if str(source.get("file", "")).endswith(_TEXT):
            return 0
    return None
