"""The three kinds of files that hold pickles: bare ones, torch's zips, and torch's streams from before 1.6."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medzoo.errors import CheckpointError
from medzoo.files import kind as filekind
from medzoo.weights.pickles import machine
from medzoo.weights.pickles.allowed import STORAGES, Mode
from medzoo.weights.pickles.inert import Inert, Name, Refused, Storage, is_word, shown
from medzoo.weights.pickles.record import Record

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a torch stream
_PROTOCOL = 1001  # the second
# What a damaged stream leads the readers of the standard library to.
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError, OverflowError, struct.error)


@dataclass(frozen=True)
class Pickled:
    """What a file holds.

    Attributes:
        content: plain values, ``Array``s, and ``Inert`` objects.
        names: every Python object that the file names, in order.
        refused: why the file would have been refused (mode INSPECT only).
        source: characters of Python source code in it; none of it was run.
        only_numbers: whether ``Mode.NUMBERS`` reads it, too.
    """

    content: Any
    names: tuple[str, ...]
    refused: tuple[str, ...]
    source: int
    only_numbers: bool


def read(path: Path, mode: Mode, kind: filekind.Kind | None = None) -> Pickled:
    """Everything in a pickle or torch file, without running any of it. Numbers stay on disk until they are used.

    Args:
        kind: of the file, if it is known already.

    Raises:
        CheckpointError: it is damaged, not such a file, or does more than ``mode`` allows.
    """
    try:
        kind = kind or filekind.guess(path)
        if kind not in _READERS:
            raise CheckpointError(f"{path.name}: is {filekind.describe(kind)}; expected a torch file or a pickle")
        with path.open("rb") as file:
            # Private, so that tensors may be views of it: writing to one does not change the file.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        record = Record(mode, len(data))
        content = _READERS[kind](data, record)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Refused as reason:
        raise CheckpointError(f"{path.name}: {reason}") from None
    except (*_DAMAGE, zipfile.BadZipFile, NotImplementedError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            f"{path.name}: it is cut short, damaged or not plain numbers ({_short(error)})"
        ) from error
    only_numbers = record.only_numbers and not record.refused and kind != "pickle"
    return Pickled(content, tuple(record.names), tuple(record.refused), record.source, only_numbers)


class _Bytes:
    """Bytes that instructions are read from."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def read(self, count: int = -1, /) -> bytes:
        end = len(self.data) if count < 0 else min(self.at + count, len(self.data))
        found = bytes(self.data[self.at : end])
        self.at = end
        return found

    def readline(self) -> bytes:
        size = 256
        while True:
            found = bytes(self.data[self.at : self.at + size])
            if (length := found.find(b"\n") + 1) or self.at + size >= len(self.data):
                return self.read(length or len(found))
            size *= 4

    def tell(self) -> int:
        return self.at

    def window(self, count: int) -> memoryview:
        return self.data[self.at - count : self.at]

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes. Raises Refused if there are fewer."""
        if not 0 <= count <= len(self.data) - self.at:
            raise Refused("the torch file is cut short or damaged: it claims more numbers than it holds")
        self.at += count
        return self.window(count)


def _read_bare(data: memoryview, record: Record) -> Any:
    stream = _Bytes(data)
    content = machine.run(stream, record, embedded=_embedded(record))
    if type(content) is int and content == _MAGIC:  # a torch stream of another protocol than usual
        return _read_stream(data, record)
    if stream.at != len(data):
        raise Refused(f"{len(data) - stream.at} bytes follow the end of the pickle; the file is damaged")
    return content


def _embedded(record: Record) -> Callable[[Any], Storage]:
    """Reads the numbers of a plain pickle: each storage is a torch stream of its own, in a string of bytes."""

    def storage(data: Any) -> Storage:
        if not isinstance(data, bytes | memoryview):
            raise Refused("holds numbers that are not bytes")
        found = _read_stream(memoryview(data), record)
        if not isinstance(found, Storage):
            raise Refused("holds something other than numbers where numbers are expected")
        return found

    return storage


def _read_stream(data: memoryview, record: Record) -> Any:
    """Pickles one after the other: magic, protocol, machine, the object, keys of its storages; then their bytes."""
    stream, storages = _Bytes(data), _Storages()
    if machine.run(stream, record) != _MAGIC or machine.run(stream, record) != _PROTOCOL:
        raise Refused("the torch file has an unknown form")
    facts = machine.run(stream, record)
    if isinstance(facts, dict) and facts.get("little_endian") is False:
        raise Refused("it was written by a big-endian machine")
    content = machine.run(stream, record, persistent=storages.find)
    keys = machine.run(stream, record)
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise Refused("the torch file is damaged: it does not list its storages")
    for key in keys:
        (count,) = struct.unpack("<q", stream.take(8))
        storage = storages.known.get(key)
        if storage is None or storage.numel != count or storage.data is not None:
            raise Refused("the torch file is damaged: the numbers in it are not those that it describes")
        storage.data = stream.take(storage.nbytes)
    return content


def _read_zip(data: memoryview, record: Record) -> Any:
    records = _Records(data)
    if records.get("byteorder", b"little") != b"little":
        raise Refused("it was written by a big-endian machine")
    pickled = records.find("data.pkl")
    if not pickled.intact():
        raise Refused("the torch file is damaged: the checksum of its data.pkl differs")
    storages = _Storages(records)
    return machine.run(_Bytes(pickled.data), record, persistent=storages.find)


class _Storages:
    """The storages that a torch file refers to, by their keys."""

    def __init__(self, records: _Records | None = None) -> None:
        self.records = records
        self.known: dict[Any, Storage] = {}

    def find(self, reference: Any) -> Any:
        """What ('storage', kind, key, place, numel[, view]) or ('module', class, ...) refers to."""
        if not isinstance(reference, tuple) or len(reference) < 2:
            raise Refused("its pickle refers to something that is not a storage")
        if reference[0] == "module" and isinstance(reference[1], Name):
            return reference[1]  # the source code that follows is left out
        if reference[0] != "storage" or len(reference) not in (5, 6):
            raise Refused("its pickle refers to something that is not a storage")
        _, kind, key, _, numel, *view = reference
        plain = (isinstance(key, int) and abs(key) < 2**60) or is_word(key)
        if not (plain and type(numel) is int and 0 <= numel < 2**60):
            raise Refused("its pickle refers to an impossible storage")
        dtype = STORAGES.get(kind.name) if isinstance(kind, Name) else None
        if dtype is None:
            return Inert("torch.Storage", refused=f"holds numbers of an unknown type ({shown(kind)})")
        storage = self.known.get(key)
        if storage is None:
            storage = self.known[key] = Storage(dtype, numel)
            if self.records is not None:
                self._locate(storage, f"data/{key}")
        if storage.dtype != dtype or storage.numel != numel:
            raise Refused(f"its pickle describes the storage {key} in two ways")
        return _part(storage, view[0]) if view and view[0] is not None else storage

    def _locate(self, storage: Storage, name: str) -> None:
        assert self.records is not None
        member = self.records.find(name)
        if len(member.data) != storage.nbytes:
            raise Refused(
                f"the torch file is damaged: '{name}' has {len(member.data)} bytes, its pickle claims {storage.nbytes}"
            )
        storage.data, storage.crc = member.data, member.crc


def _part(storage: Storage, view: Any) -> Storage:
    if not isinstance(view, tuple) or len(view) != 3 or not all(type(number) is int for number in view[1:]):
        raise Refused("its pickle refers to an impossible part of a storage")
    _, start, numel = view
    if not (start >= 0 and numel >= 0 and start + numel <= storage.numel):
        raise Refused("its pickle refers to a part of a storage that is not in it")
    return Storage(storage.dtype, numel, root=storage, start=start)


@dataclass(frozen=True)
class _Member:
    data: memoryview
    crc: int

    def intact(self) -> bool:
        """Whether the checksum matches. It is 0 where torch was asked to leave checksums out."""
        return not self.crc or zlib.crc32(self.data) == self.crc


class _Records:
    """The members of a torch zip. They are never decompressed: torch stores them uncompressed."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        with zipfile.ZipFile(_File(data)) as archive:
            members = archive.infolist()
        self.members = {member.filename: member for member in members}
        if len(self.members) != len(members):
            raise Refused("the torch file is damaged: two members have the same name")
        roots = [name for name in self.members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            raise Refused("the torch file is damaged: it does not hold one data.pkl")
        self.root = roots[0].removesuffix("data.pkl")

    def get(self, name: str, default: bytes) -> bytes:
        return bytes(self.find(name).data[:100]) if self.root + name in self.members else default

    def find(self, name: str) -> _Member:
        """Raises Refused: it is not there, compressed, or not where the archive says."""
        member = self.members.get(self.root + name)
        if member is None:
            raise Refused(f"the torch file is damaged: there is no '{name}' in it")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise Refused(
                f"its member '{name}' is compressed or encrypted ({member.file_size} bytes from "
                f"{member.compress_size}), as no torch file is; save it again with torch.save"
            )
        head = bytes(self.data[member.header_offset : member.header_offset + 30])
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise Refused(f"the torch file is damaged: '{name}' is not where its directory says")
        start = member.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
        found = self.data[start : start + member.file_size]
        if len(found) != member.file_size or member.compress_size != member.file_size:
            raise Refused(f"the torch file is cut short or damaged: '{name}' goes beyond its end")
        return _Member(found, member.CRC)


class _File(_Bytes):
    """A file as zipfile needs it."""

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, len(self.data))[whence])
        return self.at

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        pass


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


_READERS: dict[str, Callable[[memoryview, Record], Any]] = {
    "torch": _read_zip,
    "torch-legacy": _read_stream,
    "pickle": _read_bare,
}
