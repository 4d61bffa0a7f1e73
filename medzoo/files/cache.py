"""The cache on disk: converted weights, locks of processes, hashes of first downloads, and what can be computed again.

    <cache>/weights/<model_id>/<sha256[:16]>-<layout>.safetensors   the weights, converted
    <cache>/weights/<model_id>/<sha256[:16]>-<layout>.json          their record (a ``Stored``)
    <cache>/downloads/<model_id>/                                   downloads in progress
    <cache>/locks/<model_id>.lock                                   held by the process that fills the two
    <cache>/lock.json                                               first hashes (``medzoo.weights.lockfile``)
    <cache>/features/                                               features of images (``medzoo.features``)
    <cache>/bench/                                                  images of benchmarks (``medzoo.bench``)

``<cache>`` is ``MEDZOO_CACHE``, else the user's cache folder. Nothing here opens a network connection.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from medzoo.errors import DownloadError, WeightsError
from medzoo.files import whole
from medzoo.files.lock import held
from medzoo.files.reading import expanded, read_sealed, sealed, sha256_of

_log = logging.getLogger("medzoo")


class DiskError(DownloadError):
    """The disk is full, or cannot be written."""


@dataclass(frozen=True)
class Stored:
    """One file of converted weights.

    Attributes:
        model_id: id of the entry it was made for.
        path: the safetensors file.
        size: its bytes.
        sha256: its own hash.
        source: where the original came from, in words.
        source_sha256: hash of the original checkpoint.
        date: when it was stored, ISO 8601, UTC.
    """

    model_id: str
    path: Path
    size: int
    sha256: str
    source: str
    source_sha256: str
    date: str


def root() -> Path:
    """The cache folder; it may not exist yet.

    Raises:
        DiskError: ``MEDZOO_CACHE`` names a user who is not known.
    """
    stated = os.environ.get("MEDZOO_CACHE")
    if stated:
        try:
            return expanded(stated).absolute()
        except OSError as error:
            raise DiskError(f"MEDZOO_CACHE={stated}: {error.strerror}") from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("medzoo", appauthor=False))


def in_paths(name: str) -> str:
    """The name of a model as a part of paths: ``hf://org/repo@<commit>`` becomes ``hf--org--repo--<12 digits>``.

    Ids stay as they are; of other names (``run@best-20``, the name of a file) what no path should hold becomes ``-``.
    """
    address = re.fullmatch(r"hf://([\w.-]+)/([\w.-]+)@([0-9a-f]{12})[0-9a-f]*", name)
    return f"hf--{address[1]}--{address[2]}--{address[3]}" if address else _plain(name)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"


@contextmanager
def locked(model_id: str) -> Iterator[Path]:
    """Hold the model's lock; yields the folder for its downloads.

    Raises:
        DiskError: the cache folder cannot be written.
    """
    folder = root() / "downloads" / model_id

    def waiting() -> None:
        _log.warning("%s: another process is fetching these weights; waiting for it", model_id)

    with _locked(model_id, waiting):
        with disk_errors(folder):  # under the lock: the previous holder may have removed them when it was done
            folder.mkdir(parents=True, exist_ok=True)
            _weights_folder(model_id).mkdir(parents=True, exist_ok=True)
            for part in _weights_folder(model_id).glob(whole.PARTS):  # of a killed process
                part.unlink(missing_ok=True)
        try:
            yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()  # only when nothing unfinished is left in it


def locked_for(path: Path, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
    """Be the only process that works on a file or folder; ``on_wait`` is called while another process does.

    Raises:
        DiskError: the cache folder, which holds the locks, cannot be written.
    """
    return _locked("path-" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16], on_wait)


def find(model_id: str, source_sha256: str, layout: str) -> Stored | None:
    """The converted weights of an original with that hash, if their size is the recorded one."""
    record = _record_path(model_id, source_sha256, layout)
    stored = _read_record(record)
    if stored is None or stored.source_sha256 != source_sha256:
        return None
    try:
        size = stored.path.stat().st_size
    except OSError:
        return None
    if size != stored.size:
        _log.warning("%s: %s has %d bytes instead of %d; not used", model_id, stored.path, size, stored.size)
        return None
    return stored


def is_intact(item: Stored) -> bool:
    """Whether the file still has the hash that it was stored with; a warning says if it has not."""
    try:
        if sha256_of(item.path) == item.sha256:
            return True
    except OSError as error:
        _log.warning("%s: %s cannot be read (%s); not used", item.model_id, item.path, error.strerror)
        return False
    _log.warning("%s: %s changed since it was stored; not used", item.model_id, item.path)
    return False


def temporary(model_id: str) -> Path:
    """A fresh path beside the model's stored weights, to write before ``store`` takes it."""
    return whole.part_of(_weights_folder(model_id) / "weights")


def store(written: Path, *, model_id: str, layout: str, source: str, source_sha256: str) -> Stored:
    """Move a written file to its place, whole or not at all, and record what it is."""
    record = _record_path(model_id, source_sha256, layout)
    stored = Stored(
        model_id=model_id,
        path=record.with_suffix(".safetensors"),
        size=written.stat().st_size,
        sha256=sha256_of(written),
        source=source,
        source_sha256=source_sha256,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    # The record goes last: without it the weights do not count, so a kill in between costs one conversion.
    whole.put(written, stored.path)
    whole.write_json(record, sealed({key: value for key, value in asdict(stored).items() if key != "path"}))
    return stored


def stored() -> list[Stored]:
    """Everything in the cache that has a whole record, sorted by model id."""
    return [item for record in _records() if (item := _read_record(record)) is not None]


def damaged() -> list[Path]:
    """Records that are not as they were written; what they stood for is made again when it is needed."""
    return [record for record in _records() if _read_record(record) is None]


def models() -> list[str]:
    """Ids of the models that have files in the cache, finished or not."""
    return sorted({folder.name for folder in (*root().glob("weights/*"), *root().glob("downloads/*"))})


def unfinished() -> list[Path]:
    """Interrupted downloads, which the next attempt continues."""
    return sorted(root().glob("downloads/*/*.part"))


def problems() -> list[tuple[str, Path, str]]:
    """Hash everything again: (model id, file, what is wrong) of each file that changed since it was stored."""
    found = []
    for record in _records():
        item = _read_record(record)
        if item is None:
            found.append((record.parent.name, record, "the record is not what was written"))
        elif not item.path.is_file():
            found.append((item.model_id, item.path, "the file is missing"))
        elif (problem := _difference(item)) is not None:
            found.append((item.model_id, item.path, problem))
    for path in sorted(root().glob("weights/*/*.safetensors")):
        if not path.with_suffix(".json").exists():
            found.append((path.parent.name, path, "there is no record of it"))
    return found


def _difference(item: Stored) -> str | None:
    try:
        actual = sha256_of(item.path)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None if actual == item.sha256 else f"sha256 is {actual}, recorded was {item.sha256}"


def clear(model_id: str | None = None) -> int:
    """Delete the weights and downloads of one model; with None those of all models, features and images of benchmarks.

    Returns the bytes freed.

    Raises:
        WeightsError: a file cannot be deleted.
    """
    freed = 0
    for parent in (root() / "weights", root() / "downloads"):
        for folder in [parent / model_id] if model_id else sorted(parent.glob("*")):
            freed += _remove(folder)
    if model_id is None:
        freed += _remove(root() / "features") + _remove(root() / "bench")
    return freed


def _remove(folder: Path) -> int:
    try:
        freed = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        if folder.is_symlink() or folder.is_file():  # somebody put it there; what it leads to is theirs
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be deleted ({error.strerror or error}); delete it by hand") from error
    return freed


def disk_errors(folder: Path) -> AbstractContextManager[None]:
    """Turn an ``OSError`` into a ``DiskError`` that says what to type next."""
    return whole.disk_errors(
        folder,
        DiskError,
        full="make room with `medzoo cache clear --all`, or set MEDZOO_CACHE to a folder on another disk",
        denied="set MEDZOO_CACHE to a folder that can be written",
    )


@contextmanager
def _locked(name: str, on_wait: Callable[[], None]) -> Iterator[None]:
    path = root() / "locks" / f"{name}.lock"
    with ExitStack() as stack:
        with disk_errors(path.parent):
            stack.enter_context(held(path, on_wait))
        yield


def _weights_folder(model_id: str) -> Path:
    return root() / "weights" / model_id


def _record_path(model_id: str, source_sha256: str, layout: str) -> Path:
    return _weights_folder(model_id) / f"{source_sha256[:16]}-{layout}.json"


def _records() -> list[Path]:
    return sorted(root().glob("weights/*/*.json"))


def _read_record(record: Path) -> Stored | None:
    """What a record says; None where it is not, byte for byte in its meaning, what ``store`` wrote there."""
    try:
        stored = Stored(path=record.with_suffix(".safetensors"), **read_sealed(record))
    except (OSError, ValueError, TypeError):
        return None
    words = (stored.model_id, stored.sha256, stored.source, stored.source_sha256, stored.date)
    fits = all(isinstance(word, str) for word in words) and type(stored.size) is int
    return stored if fits and stored.model_id == record.parent.name else None
