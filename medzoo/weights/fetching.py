"""From an entry to its weights on this disk: downloaded, verified, converted once.

The sources of an entry hold the same numbers and are tried in order. No file is read as a checkpoint before
its size and hash are those that the entry states (or, where it states none, those of the first download).
The caller's ``convert`` interprets the file, so torch is not needed here.
Nothing but this module and ``medzoo.weights.sources`` uses the network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medzoo.entry import Checkpoint, Entry, HttpSource, HubSource, LocalSource, PackageSource, Source
from medzoo.errors import CheckpointError, DownloadError, IntegrityError, TryLaterError, WeightsError
from medzoo.files import cache, whole
from medzoo.files.reading import expanded
from medzoo.weights import lockfile, shards
from medzoo.weights.parts import save_text, sha256_of
from medzoo.weights.sources import PATIENCE, Patience, Progress
from medzoo.weights.sources.verify import verify

Convert = Callable[[Path, Entry, Path], None]
"""Reads the original as the entry describes it and writes it to the given path as safetensors."""

_LAYOUT_VERSION = 1  # raise it when conversion changes, so that files of the old form are converted again
_LARGEST_TEXT = 1_000_000  # bytes
_log = logging.getLogger("medzoo")


@dataclass(frozen=True)
class Weights:
    """Weights ready to be read.

    Attributes:
        path: a safetensors file: in the medzoo cache, or that of the registry if it is one already.
        sha256: hash of the original checkpoint file.
        source: where that file came from, in words.
        part: which of the entry's files it is; None if there is only one.
    """

    path: Path
    sha256: str
    source: str
    part: str | None = None


@dataclass(frozen=True)
class HubText:
    """A small text file of a Hub repository, and the full commit it belongs to."""

    text: str
    commit: str


def fetch(
    entry: Entry,
    *,
    base: Path | None,
    convert: Convert,
    yaml_path: Path | None = None,
    offline: bool | None = None,
    progress: Progress | None = None,
    part: str | None = None,
    patience: Patience = PATIENCE,
    public_only: bool = False,
) -> Weights:
    """The weights of an entry: from this disk if they are there, else from the first source that delivers them.

    Args:
        base: registry folder that ``file`` of a package source is relative to; None if there is none.
            A path on this machine is refused when neither ``base`` nor ``yaml_path`` is given: such an entry comes
            from the Hub, and may not name files of this machine.
        convert: reads an original and writes safetensors (``checkpoints.convert``).
        yaml_path: file of the entry, whose folder ``path`` of a local source is relative to; ``base`` if None.
        offline: never use the network. None: as ``HF_HUB_OFFLINE`` says.
        progress: called with (bytes, total) during downloads; None for a bar on a terminal.
        part: which of ``entry.parts``; each needs a call of its own.
        patience: attempts and time-outs of downloads.
        public_only: the entry is a stranger's (``hf://``): its URLs may not lead to this machine or its own network.

    Raises:
        DownloadError: no source could be reached (TryLaterError: for now), or the disk cannot be written.
        IntegrityError: the file is not the one that the entry states.
        CheckpointError: the file cannot be read as the entry describes it.
        WeightsError: the entry states no source.
    """
    sources = [source for source in entry.weights if source.part == part]
    if not sources:
        raise WeightsError(f"{entry.model_id}: the entry states no source of weights; add one under 'weights'")
    offline = network_is_off() if offline is None else offline
    failures: dict[str, WeightsError] = {}
    for source in sources:
        try:
            if (found := _on_disk(source, entry, base, yaml_path, convert)) is not None:
                _log.info("%s: %s is on this machine: %s", entry.model_id, _name(source), found.path)
                _warn(entry, failures)
                return found
        except WeightsError as error:
            failures[_name(source)] = error
    for source in sources:
        if not isinstance(source, HubSource | HttpSource):
            continue
        try:
            _log.info("%s: not on this machine; asking %s", entry.model_id, _name(source))
            found = _download(source, entry, convert, offline, progress, patience, public_only=public_only)
            _log.info("%s: converted and stored: %s", entry.model_id, found.path)
            _warn(entry, failures)
            return found
        except WeightsError as error:
            _log.info("%s: %s: %s", entry.model_id, _name(source), error)
            failures[_name(source)] = error
    of_the_hub = base is None and yaml_path is None  # has no id that another command takes
    raise _failure(
        entry, failures, offline, "try again" if of_the_hub else f"type `medzoo cache warm {entry.model_id}`"
    )


def fetch_source(
    source: Source | Sequence[Source],
    name: str,
    *,
    container: str,
    convert: Convert,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Weights:
    """Weights that belong to no entry, such as those of a feature extractor.

    Args:
        source: where they are; of several, which hold the same file, the first that gives it.
        name: of their folder in the cache, and in the lock file and errors.
        container: what the file is, as ``checkpoint.container`` of an entry.
        convert, offline, progress: as in ``fetch``.

    Raises WeightsError, as ``fetch`` does.
    """
    sources = tuple(source) if isinstance(source, Sequence) else (source,)
    checkpoint = Checkpoint.model_validate({"container": container, "key": None, "strip_prefix": None})
    # The rest of an entry describes a generator, and none of it decides how a file is fetched.
    entry = Entry.model_construct(model_id=name, weights=sources, checkpoint=checkpoint)
    return fetch(entry, base=None, convert=convert, offline=offline, progress=progress)


def is_available_offline(entry: Entry, base: Path | None, yaml_path: Path | None = None) -> bool:
    """Whether ``fetch`` needs no network: of every part some source is a file here, or is in the cache. Cheap."""

    def here(source: Source) -> bool:
        try:
            if isinstance(source, PackageSource | LocalSource):
                return _resolve(source, base, yaml_path).is_file()
            expected = source.sha256 or lockfile.recorded(entry.model_id, _name(source))
            return expected is not None and cache.find(entry.model_id, expected, _layout(entry)) is not None
        except (WeightsError, OSError):
            return False

    present = {source.part for source in entry.weights if here(source)}
    return bool(present) and present == set(entry.parts)


def fetch_text(repo: str, revision: str | None, filename: str, *, offline: bool | None = None) -> HubText:
    """A small text file of a Hub repository, for example the ``medzoo.yaml`` of ``hf://org/name@revision``.

    Raises:
        DownloadError: it is not available, is larger than 1 MB, or is not UTF-8 text.
    """
    from medzoo.weights.sources import hub

    address = hub.Address(repo, filename, revision)
    offline = network_is_off() if offline is None else offline
    try:
        found = hub.obtain(address, offline=offline, largest=_LARGEST_TEXT)
        if found.path.stat().st_size > _LARGEST_TEXT:
            raise DownloadError(f"the file is larger than {_LARGEST_TEXT} bytes")
        return HubText(found.path.read_text(encoding="utf-8"), found.commit)
    except UnicodeDecodeError as error:
        raise DownloadError(f"hf://{address}: is not a text file in UTF-8") from error
    except WeightsError as error:
        raise type(error)(f"hf://{address}: {error}") from error


def network_is_off() -> bool:
    """Whether ``HF_HUB_OFFLINE`` says never to use the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def _on_disk(
    source: Source, entry: Entry, base: Path | None, yaml_path: Path | None, convert: Convert
) -> Weights | None:
    """The weights of a source without any network; None if that is not possible."""
    if isinstance(source, HubSource | HttpSource):
        stored = _cached(source, entry)
        return None if stored is None else Weights(stored.path, stored.source_sha256, stored.source, source.part)
    assert isinstance(source, PackageSource | LocalSource)
    path = _resolve(source, base, yaml_path)
    try:
        if not path.is_file():
            raise DownloadError(f"there is no file '{path}'")
        sha256 = _verify(path, source)
    except OSError as error:
        raise DownloadError(f"{path} cannot be read ({error.strerror})") from error
    if _is_ready(entry) and not source.is_text and not shards.is_index(path):
        return Weights(path, sha256, _name(source), source.part)
    stored = _intact(entry, sha256)
    if stored is None:
        with cache.locked(entry.model_id):
            stored = _intact(entry, sha256) or _convert(path, sha256, source, entry, convert)
    return Weights(stored.path, sha256, _name(source), source.part)


def _cached(source: Source, entry: Entry) -> cache.Stored | None:
    expected = source.sha256 or lockfile.recorded(entry.model_id, _name(source))
    return _intact(entry, expected) if expected else None


def _intact(entry: Entry, source_sha256: str) -> cache.Stored | None:
    """The converted weights of that original, if every byte is as it was stored."""
    stored = cache.find(entry.model_id, source_sha256, _layout(entry))
    return stored if stored is not None and cache.is_intact(stored) else None


def _download(
    source: HubSource | HttpSource,
    entry: Entry,
    convert: Convert,
    offline: bool,
    progress: Progress | None,
    patience: Patience,
    *,
    public_only: bool,
) -> Weights:
    name = _name(source)
    with cache.locked(entry.model_id) as folder:
        # Another process may have done it while this one waited for the lock.
        if (stored := _cached(source, entry)) is not None:
            return Weights(stored.path, stored.source_sha256, stored.source, source.part)
        expected = source.sha256 or lockfile.recorded(entry.model_id, name)
        if isinstance(source, HubSource):
            original = _from_hub(source, expected, offline, progress, patience)
        else:
            original = _from_http(source, folder, offline, progress, patience, public_only)
        try:
            sha256 = _verify(original, source)
            if expected is not None and sha256 != expected:
                raise _changed(entry, expected, sha256)
            stored = _convert(original, sha256, source, entry, convert)
            if source.sha256 is None and expected is None:
                lockfile.record(entry.model_id, name, sha256, original.stat().st_size)
                _log.warning(
                    "%s: the entry states no hash for %s; sha256 %s was recorded in %s, and later downloads must "
                    "match it. Please report it, so that the entry can state it.",
                    entry.model_id, name, sha256, lockfile.path(),
                )  # fmt: skip
        except BaseException:
            _forget(source, folder)
            raise
        if not _needed_again(source, entry):
            _forget(source, folder)
    return Weights(stored.path, sha256, name, source.part)


def _needed_again(source: Source, entry: Entry) -> bool:
    """Whether the archive holds another part of the model that has not been taken out yet."""
    return isinstance(source, HttpSource) and any(
        isinstance(other, HttpSource)
        and (other.url == source.url and other.part != source.part)
        and _cached(other, entry) is None
        for other in entry.weights
    )


def _forget(source: Source, folder: Path) -> None:
    if isinstance(source, HttpSource):
        for path in folder.glob(f"{_key(source)}*"):
            path.unlink(missing_ok=True)


def _from_hub(
    source: HubSource, expected: str | None, offline: bool, progress: Progress | None, patience: Patience
) -> Path:
    from medzoo.weights.sources import hub

    address = hub.Address(source.repo, source.file, source.revision)
    options = {
        "offline": offline, "sha256": expected, "size": source.size, "progress": progress, "patience": patience
    }  # fmt: skip
    found = hub.obtain(address, **options)  # type: ignore[arg-type]
    if found.cached and not offline:
        try:
            _verify(found.path, source)
        except IntegrityError as error:
            _log.warning("%s: the copy in the Hub client's cache is damaged (%s); downloading it again", address, error)
            found = hub.obtain(address, force=True, **options)  # type: ignore[arg-type]
    return found.path


def _from_http(
    source: HttpSource,
    folder: Path,
    offline: bool,
    progress: Progress | None,
    patience: Patience,
    public_only: bool,
) -> Path:
    from medzoo.weights.sources import archive, http
    from medzoo.weights.sources.mirror import mirrored

    if offline:
        raise DownloadError("the network is switched off; unset HF_HUB_OFFLINE")
    url = mirrored(source.url)
    if url != source.url:  # the user's own choice, which may well be a machine of this network
        _log.info("%s: asking the mirror, %s", source.url, url)
        public_only = False
    original = folder / f"{_key(source)}.download"
    if not original.exists():
        size = source.size if source.member is None else None
        http.download(url, original, size=size, public_only=public_only, progress=progress, patience=patience)
    if source.member is None:
        return original
    member = folder / f"{_key(source)}.member"
    try:
        verify(original, sha256=source.archive_sha256, md5=source.archive_md5)
        archive.extract_member(original, source.member, member, size=source.size)
    except BaseException:
        member.unlink(missing_ok=True)
        original.unlink(missing_ok=True)
        raise
    return member


def _convert(original: Path, sha256: str, source: Source, entry: Entry, convert: Convert) -> cache.Stored:
    """Convert a verified original into the cache. The caller holds the model's lock."""
    folder = cache.root()
    with cache.disk_errors(folder):
        whole.need_space(folder, original.stat().st_size)
        written = cache.temporary(entry.model_id)
        mode = stat.S_IMODE(written.stat().st_mode)
        try:
            if source.is_text:
                save_text(original, written)
            else:
                convert(original, entry, written)
            written.chmod(mode)  # safetensors leaves a file that its owner alone may read
            return cache.store(
                written,
                model_id=entry.model_id,
                layout=_layout(entry),
                source=_name(source),
                source_sha256=sha256,
            )
        finally:
            written.unlink(missing_ok=True)


def _verify(path: Path, source: Source) -> str:
    """SHA-256 of an original. Raises IntegrityError if it is not what the source states."""
    if isinstance(source, LocalSource) and shards.is_index(path):  # the files that it lists are of the model, too
        sha256 = sha256_of(path)
        if source.sha256 not in (None, sha256):
            raise IntegrityError(f"index and files have sha256 {sha256}, the entry states {source.sha256}")
        return sha256
    md5 = getattr(source, "md5", None)
    return verify(path, sha256=source.sha256, md5=md5, size=source.size, text=source.is_text)


def _resolve(source: PackageSource | LocalSource, base: Path | None, yaml_path: Path | None) -> Path:
    if isinstance(source, LocalSource):
        folder = yaml_path.parent if yaml_path is not None else base
        if folder is None:
            raise WeightsError(f"'{source.path}' is a file of this machine, which an entry of the Hub may not name")
        try:
            return folder / expanded(source.path)
        except OSError as error:  # ~somebody
            raise WeightsError(f"'{source.path}': {error.strerror}") from None
    if base is None:
        raise WeightsError(f"'{source.file}' should lie in a registry folder, but an entry of the Hub has none")
    path = (base / source.file).resolve()
    if not path.is_relative_to(base.resolve()):
        raise WeightsError(f"'{source.file}' points outside of the registry folder {base}")
    return path


def _is_ready(entry: Entry) -> bool:
    """Whether the original is already in the form that the rest of the program reads."""
    layout = entry.checkpoint
    return layout.container == "safetensors" and not (layout.key or layout.strip_prefix or layout.ema)


def _layout(entry: Entry) -> str:
    """Eight hex digits over everything that decides how an original is converted."""
    text = json.dumps([_LAYOUT_VERSION, entry.checkpoint.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _name(source: Source) -> str:
    """A source in words; also its name in the lock file."""
    match source:
        case PackageSource():
            return f"package {source.file}"
        case HubSource():
            return f"hub {source.repo}@{source.revision or 'main'}/{source.file}"
        case HttpSource():
            return f"http {source.url}" + (f" member {source.member}" if source.member else "")
        case LocalSource():
            return f"local {source.path}"
    raise TypeError(type(source).__name__)


def _key(source: HttpSource) -> str:
    return hashlib.sha256(source.url.encode()).hexdigest()[:16]


def _changed(entry: Entry, expected: str, actual: str) -> IntegrityError:
    return IntegrityError(
        f"the file has sha256 {actual}, but the first download had {expected} ({lockfile.path()}). If its authors "
        f"replaced it and you trust the new one, type `medzoo cache clear {entry.model_id}` and try again"
    )


def _warn(entry: Entry, failures: dict[str, WeightsError]) -> None:
    """Another source was used, but say so where a file was not what it should be."""
    for name, error in failures.items():
        if isinstance(error, IntegrityError | CheckpointError):
            _log.warning("%s: %s was not used: %s", entry.model_id, name, error)


def _failure(entry: Entry, failures: dict[str, WeightsError], offline: bool, then: str) -> WeightsError:
    """One error for all sources: the most serious kind, every reason, what to do."""
    kinds = (IntegrityError, CheckpointError, cache.DiskError, TryLaterError, DownloadError, WeightsError)
    kind = next(kind for kind in kinds if any(isinstance(error, kind) for error in failures.values()))
    reasons = [f"\n  {name}: {error}" for name, error in failures.items()]
    advice = ""
    if any(isinstance(source, HubSource | HttpSource) for source in entry.weights) and issubclass(kind, DownloadError):
        advice = f"\nOnce the reason is gone, {then}"
        advice += "; the network is switched off (HF_HUB_OFFLINE)." if offline else "; behind a proxy, set HTTPS_PROXY."
    return kind(f"{entry.model_id}: no weights could be obtained." + "".join(reasons) + advice)
