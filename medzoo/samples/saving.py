"""Samples -> files and a manifest: whole or not there, resumable, written while the next batch is computed.

    <index>.png, <index>_mask.png    the files of a sample (``medzoo.samples.formats``); <index>_<input> if it has one
    <first index>.tar                or shards, of at least 256 samples and whole batches
    manifest.jsonl                   one line a sample, in the order of the run
    run.json                         what decides the bytes of the run, with a checksum; only the same run is resumed

A file gets its name when it is whole (write, fsync, rename), and a sample its line when its files are. A killed run
therefore leaves a manifest that is true up to a torn last line. Batches and shards lie on a fixed grid from
``start``, so that a resumed run computes the very batches of an undisturbed one, and begins the last shard anew: its
files come out byte for byte the same. Every line and file that is there is checked first (``medzoo.samples.earlier``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from medzoo import __version__
from medzoo.errors import SavingError
from medzoo.files.png import encode_png
from medzoo.files.reading import sealed
from medzoo.files.whole import PARTS, sync_folder, write_bytes
from medzoo.samples import Samples, formats
from medzoo.samples.earlier import read_earlier
from medzoo.samples.folder import (
    BATCHES_AHEAD,
    MANIFEST,
    RUN,
    check_folder,
    clear,
    lock,
    open_manifest,
    recorded,
    remove,
    saving_errors,
)
from medzoo.samples.formats import Bits, Run, check_format, encode, origin, png_words, stem
from medzoo.samples.shard import Shard

__all__ = ["Run", "Writer", "check_folder", "check_format", "recorded", "save", "write_picture"]

_log = logging.getLogger("medzoo")
SHARD = 256  # samples in a shard, at least
_THREADS = 4  # most of their time goes into waiting for the disk

Member = tuple[str, bytes]


class Writer:
    """Writes the samples of one run into a folder, in threads; a context manager.

    Leaving it, also after Ctrl-C, finishes what was put; whatever happens, the folder can be resumed.

    Args:
        resume: go on with the run that the folder holds (or begin one, if it holds none).
        overwrite: remove the files of an earlier run first; files that no run made are left alone.
        shard: least number of samples in a shard, of sharded formats; the same one when a run is resumed.

    Raises SavingError: the folder is not empty and neither was asked for, holds another run, or cannot be written.
    """

    def __init__(
        self, folder: str | Path, run: Run, *, resume: bool = False, overwrite: bool = False, shard: int = SHARD
    ) -> None:
        self.folder, self.run = Path(folder), run
        check_folder(self.folder, resume=resume, overwrite=overwrite)
        self._missing: set[int] = set()  # in the manifest, but a file is gone or damaged
        self._lines = 0  # samples in the manifest
        self._pending: deque[list[Future[tuple[dict[str, Any], list[Member]]]]] = deque()
        self._sharded = formats.load(run.format).sharded
        # Samples between which a run may be cut: files of several samples are made anew from their first.
        self._unit = run.batch_size * (-(-shard // run.batch_size) if self._sharded else 1)
        self._shard: Shard | None = None
        self._waiting: list[dict[str, Any]] = []  # lines of samples in the open shard
        with saving_errors(self.folder, self._whole):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manifest = open_manifest(self.folder)
            try:
                lock(self._manifest, self.folder)
                if overwrite:
                    clear(self.folder, self._manifest)
                self._begin(resume)
            except BaseException:
                self._manifest.close()
                raise
        self._done = range(run.start, run.start + self._lines)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="medzoo-write")

    @property
    def written(self) -> int:
        """Samples in the manifest."""
        return self._lines

    def pending(self, n: int) -> list[range]:
        """Indices still to be made for a run of ``n``: whole batches (shards) of the run's grid, merged."""
        size, start, end = self._unit, self.run.start, max(n, len(self._done))
        unfinished = len(self._done) // size * size if len(self._done) < n else n
        torn = {(index - start) // size * size for index in self._missing}
        ranges = [range(start + at, start + min(end, at + size)) for at in sorted(torn) if at < unfinished]
        return ranges + ([range(start + unfinished, start + n)] if unfinished < n else [])

    def put(self, samples: Samples) -> None:
        """Queue one batch; waits when too many are queued. Samples already written are passed over."""
        check_format(self.run, samples.images.shape[1:], 0 if samples.masks is None else samples.masks.shape[1])
        jobs = []
        for i, index in enumerate(samples.indices.tolist()):
            if self._sharded or index not in self._done or index in self._missing:
                jobs.append(self._pool.submit(self._write, samples, i))
        self._pending.append(jobs)
        while len(self._pending) > BATCHES_AHEAD:
            self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while self._pending and not isinstance(error, SavingError):
                self._settle()
            with saving_errors(self.folder, self._whole):
                self._finish_shard()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._abandon_shard()
            self._manifest.close()

    def _begin(self, resume: bool) -> None:
        """Read or begin run.json and manifest.jsonl."""
        wanted = json.loads(json.dumps({"medzoo": __version__, **asdict(self.run)}))  # lists for tuples
        before = recorded(self.folder) if resume else None
        if before is None:
            write_bytes(self.folder / RUN, json.dumps(sealed(wanted), indent=1).encode() + b"\n", sweep=False)
        elif before != wanted:
            differences = "; ".join(
                f"{key} was {before.get(key)!r}, now {value!r}"
                for key, value in wanted.items()
                if before.get(key) != value
            )
            raise SavingError(
                f"{self.folder} holds another run: {differences}. Take another folder, or type --overwrite"
            )
        for path in self.folder.glob(PARTS):
            remove(path)
        earlier = read_earlier(self.folder / MANIFEST, self.run)
        self._missing, self._lines = earlier.broken, earlier.lines
        if earlier.broken:
            _log.warning(
                "%s: files of %d samples, %d the first, are missing or damaged; these samples are made anew",
                self.folder, len(earlier.broken), min(earlier.broken),
            )  # fmt: skip
        if earlier.refused:
            _log.warning(
                "%s: line %d is not what this run writes; samples are made anew from there",
                self.folder / MANIFEST, earlier.lines + 1,
            )  # fmt: skip
        self._manifest.truncate(earlier.size)

    def _settle(self) -> None:
        """Wait for the oldest batch and enter it in the manifest, or in its shard."""
        with saving_errors(self.folder, self._whole):
            written = [job.result() for job in self._pending[0]]
            if self._sharded:
                self._add_to_shard(written)
            else:
                self._enter([record for record, _ in written])
        self._pending.popleft()

    def _add_to_shard(self, encoded: list[tuple[dict[str, Any], list[Member]]]) -> None:
        try:
            for record, members in encoded:
                if self._shard is None:
                    self._shard = Shard(self.folder / f"{record['index']:08d}.tar")
                self._shard.add(members)
                self._waiting.append({"shard": self._shard.path.name, **record})
                if len(self._waiting) == self._unit:
                    self._finish_shard()
        except BaseException:  # it may hold half a sample, and what follows would begin in its middle
            self._abandon_shard()
            self._pending.clear()
            raise

    def _finish_shard(self) -> None:
        """Give the open shard its name, if any, unless it holds less than what bears that name already."""
        if self._shard is None:
            return
        first, last = self._waiting[0]["index"], self._waiting[-1]["index"]
        if last + 1 < min(first + self._unit, self._done.stop):
            return self._abandon_shard()
        if self._shard.path.is_dir():
            remove(self._shard.path)
        self._shard.finish()
        self._shard = None
        self._enter(self._waiting)
        self._waiting = []

    def _abandon_shard(self) -> None:
        if self._shard is not None:
            self._shard.abandon()
        self._shard, self._waiting = None, []

    def _enter(self, records: list[dict[str, Any]]) -> None:
        """Write the lines of samples whose files are whole."""
        # A batch that a signal interrupted is settled once more: what the manifest has is not entered again.
        new = [record for record in records if record["index"] >= self.run.start + self._lines]
        sync_folder(self.folder)
        self._append(b"".join(json.dumps(record).encode() + b"\n" for record in new))
        self._lines += len(new)

    def _append(self, lines: bytes) -> None:
        end = os.fstat(self._manifest.fileno()).st_size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._manifest.write(rest) :]
            os.fsync(self._manifest.fileno())
        except BaseException:  # also a signal: the batch is entered whole, or not at all
            self._manifest.truncate(end)
            raise

    def _write(self, samples: Samples, i: int) -> tuple[dict[str, Any], list[Member]]:
        """Write the files of one sample, or prepare them for a shard; gives its line and what is for the shard."""
        record = origin(samples, i)
        name = stem(record)
        encoded = encode(samples, i, self.run, record)
        files = [(name + suffix, data) for suffix, data in encoded.files]
        if not self._sharded:
            for file, data in files:
                if record["index"] in self._missing:
                    remove(self.folder / file)  # it may be a folder
                write_bytes(self.folder / file, data, sweep=False)
        masked = encoded.mask is not None
        line = {
            "file": files[0][0],
            "mask_file": files[1][0] if masked else None,
            **record,
            "sha256": hashlib.sha256(files[0][1]).hexdigest(),
            "mask_sha256": hashlib.sha256(files[1][1]).hexdigest() if masked else None,
        }
        return line, files if self._sharded else []

    def _whole(self) -> str:
        return f"{self._lines} samples are whole"


def save(
    samples: Samples,
    folder: str | Path,
    *,
    format: str = "png",
    bits: Bits = 8,
    spacing: tuple[float, ...] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write samples into a folder of their own; gives the folder. ``bits`` and ``spacing`` as in ``Run``.

    Args:
        spacing: None for that of the samples.

    Raises SavingError.
    """
    if len(set(samples.indices.tolist())) < len(samples):
        raise SavingError("several samples have the same index, which names their files; save each of them once")
    run = Run(
        model_id=samples.model_id,
        revision=samples.revision,
        weights_sha256=samples.weights_sha256,
        seed=samples.seed,
        start=int(samples.indices[0]) if len(samples) else 0,
        condition=None if samples.condition is None else ", ".join(dict.fromkeys(samples.condition)),
        precision=samples.precision,
        batch_size=max(1, len(samples)),
        format=format,
        bits=bits,
        spacing=samples.spacing if spacing is None else spacing,
    )
    check_format(run, samples.images.shape[1:], 0 if samples.masks is None else samples.masks.shape[1])
    with Writer(folder, run, overwrite=overwrite) as writer:
        writer.put(samples)
    return Path(folder)


def write_picture(path: Path, samples: Samples, *, size: int) -> Path:
    """Write the contact sheet of ``samples`` with the words that say it is synthetic. Raises SavingError."""
    sheet = np.asarray(samples.grid(size=size))
    record = {**origin(samples, 0), "index": samples.indices.tolist()}
    with saving_errors(path.parent):
        write_bytes(path, encode_png(sheet, png_words(record)))
    return path
