"""The user's lock file: the hashes of first downloads, for weights whose entry states no hash.

A registry entry may say ``sha256: null`` where the file could not be obtained yet. The hash of the first download
is then written to ``<cache>/lock.json``, and every later download must match it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medzoo.errors import WeightsError
from medzoo.files import cache, whole
from medzoo.files.reading import read_sealed, sealed


def path() -> Path:
    """The lock file; it may not exist yet."""
    return cache.root() / "lock.json"


def recorded(model_id: str, source: str) -> str | None:
    """SHA-256 of the first download from that source of that model; None if there was none.

    Raises:
        WeightsError: the lock file is damaged.
    """
    found = _read().get(model_id, {}).get(source)
    return None if found is None else found["sha256"]


def record(model_id: str, source: str, sha256: str, size: int) -> None:
    """Record what a source delivered. Safe with several processes."""
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with _writing() as content:
        content.setdefault(model_id, {})[source] = {"sha256": sha256, "size": size, "date": date}


def forget(model_id: str | None = None) -> None:
    """Forget one model, or with None all of them (and a damaged file), so that any next download is accepted."""
    if model_id is None:
        with cache.disk_errors(path().parent):
            path().unlink(missing_ok=True)
    elif model_id in _read():
        with _writing() as content:
            content.pop(model_id, None)


def models() -> list[str]:
    """Ids of the models with a recorded hash."""
    return sorted(_read())


@contextmanager
def _writing() -> Iterator[dict[str, Any]]:
    """Read the file, yield its content, write it back, all under one lock."""
    import filelock

    with cache.disk_errors(path().parent):
        path().parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path().with_suffix(".json.lock")):
            content = _read()
            yield content
            whole.write_json(path(), sealed({"version": 1, "models": content}))


def _read() -> dict[str, Any]:
    try:
        models = read_sealed(path())["models"]
        if not all(_is_seen(seen) for sources in models.values() for seen in sources.values()):
            raise ValueError("expected a sha256, a size and a date for each source")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path()}: the lock file cannot be read ({error}); restore it, or delete it to accept the next downloads"
        ) from error
    return dict(models)


def _is_seen(seen: Any) -> bool:
    return (
        isinstance(seen, dict)
        and seen.keys() == {"sha256", "size", "date"}
        and isinstance(seen["sha256"], str)
        and len(seen["sha256"]) == 64
        and type(seen["size"]) is int
        and isinstance(seen["date"], str)
    )
