"""Samples -> files and a manifest: whole or not there, resumable, written while the next batch is computed.

    <index>.png, <index>_mask.png    8-bit images, masks as 0 and 255; or .npy and _mask.npy; or one .npz
    manifest.jsonl                   one line a sample, in the order of the run
    run.json                         what decides the bytes of the run; a run is only resumed as the same

A file gets its name when it is whole (write, fsync, rename), and a sample its line when its files are. A killed run
therefore leaves a manifest that is true up to a torn last line. Batches lie on a fixed grid from ``start``, so that
a resumed run computes the very batches of an undisturbed one, and its files come out byte for byte the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medzoo import __version__
from medzoo.errors import SavingError
from medzoo.samplefiles import (
    FORMATS,
    Format,
    check_format,
    contents,
    origin,
    saying_why,
    sync_folder,
    write_picture,
    write_whole,
)
from medzoo.samples import Samples

__all__ = ["FORMATS", "Format", "Run", "Writer", "check_folder", "check_format", "recorded", "save", "write_picture"]

MANIFEST, RUN = "manifest.jsonl", "run.json"

_THREADS = 4  # most of their time goes into waiting for the disk
_BATCHES_AHEAD = 2  # how many written batches may wait while the next is computed
_OURS = re.compile(r"\d{8,}(_mask)?\.(png|npy|npz)|manifest\.jsonl|run\.json|grid\.png|\..*\.part")


@dataclass(frozen=True)
class Run:
    """What decides the bytes of a run, beside the version of medzoo. ``n`` does not: a run may be made longer."""

    model_id: str | None
    revision: str | None
    weights_sha256: str | None
    seed: int | None
    start: int
    condition: str | None
    precision: str
    batch_size: int
    format: Format


class Writer:
    """Writes the samples of one run into a folder, in threads; a context manager.

    Leaving it, also after Ctrl-C, finishes what was put; whatever happens, the folder can be resumed.

    Args:
        resume: go on with the run that the folder holds (or begin one, if it holds none).
        overwrite: remove the files of an earlier run first; files that no run made are left alone.

    Raises SavingError: the folder is not empty and neither was asked for, holds another run, or cannot be written.
    """

    def __init__(self, folder: str | Path, run: Run, *, resume: bool = False, overwrite: bool = False) -> None:
        self.folder, self.run = Path(folder), run
        check_folder(self.folder, resume=resume, overwrite=overwrite)
        self._missing: set[int] = set()  # in the manifest, but somebody deleted the file
        self._lines = 0  # samples in the manifest
        self._pending: deque[list[tuple[int, Future[dict[str, Any]]]]] = deque()
        with saying_why(self.folder, self._whole):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manifest = (self.folder / MANIFEST).open("ab", buffering=0)
            try:
                _lock(self._manifest, self.folder)
                if overwrite:
                    _clear(self.folder, self._manifest)
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
        """Indices still to be made for a run of ``n``: whole batches of the run's grid, merged."""
        size, start = self.run.batch_size, self.run.start
        unfinished = len(self._done) // size * size if len(self._done) < n else n
        torn = {(index - start) // size * size for index in self._missing}
        ranges = [range(start + at, start + min(n, at + size)) for at in sorted(torn) if at < unfinished]
        return ranges + ([range(start + unfinished, start + n)] if unfinished < n else [])

    def put(self, samples: Samples) -> None:
        """Queue one batch; waits when too many are queued. Samples already written are passed over."""
        check_format(self.run.format, samples.images.shape[1:], 0 if samples.masks is None else samples.masks.shape[1])
        jobs = []
        for i, index in enumerate(samples.indices.tolist()):
            if index not in self._done or index in self._missing:
                jobs.append((index, self._pool.submit(self._write, samples, i)))
        self._pending.append(jobs)
        while len(self._pending) > _BATCHES_AHEAD:
            self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while self._pending and not isinstance(error, SavingError):
                self._settle()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._manifest.close()

    def _begin(self, resume: bool) -> None:
        """Read or begin run.json and manifest.jsonl."""
        wanted = {"medzoo": __version__, **asdict(self.run)}
        found = recorded(self.folder) if resume else None
        if found is None:
            write_whole(self.folder / RUN, json.dumps(wanted, indent=1).encode() + b"\n")
        elif found != wanted:
            told = "; ".join(
                f"{key} was {found.get(key)!r}, now {value!r}"
                for key, value in wanted.items()
                if found.get(key) != value
            )
            raise SavingError(f"{self.folder} holds another run: {told}. Take another folder, or type --overwrite")
        for path in self.folder.glob(".*.part"):
            path.unlink()
        end = 0
        with (self.folder / MANIFEST).open("rb") as lines:
            for line in lines:
                record = _parsed(line)
                if record is None or record.get("index") != self.run.start + self._lines:
                    break
                if not all((self.folder / name).exists() for name in (record["file"], record["mask_file"]) if name):
                    self._missing.add(record["index"])
                end += len(line)
                self._lines += 1
        self._manifest.truncate(end)

    def _settle(self) -> None:
        """Wait for the oldest batch and enter it in the manifest."""
        lines = b""
        added = 0
        with saying_why(self.folder, self._whole):
            for index, job in self._pending[0]:
                record = job.result()
                if index not in self._done:
                    lines += json.dumps(record).encode() + b"\n"
                    added += 1
            sync_folder(self.folder)
            self._append(lines)
        self._lines += added
        self._pending.popleft()

    def _append(self, lines: bytes) -> None:
        end = os.fstat(self._manifest.fileno()).st_size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._manifest.write(rest) :]
            os.fsync(self._manifest.fileno())
        except OSError:
            self._manifest.truncate(end)
            raise

    def _write(self, samples: Samples, i: int) -> dict[str, Any]:
        """Write the files of one sample; gives its line."""
        index = int(samples.indices[i])
        record = origin(samples, i)
        names, hashes = [], []
        for suffix, content in contents(samples, i, self.run.format, record):
            name = f"{index:08d}{suffix}"
            write_whole(self.folder / name, content)
            names.append(name)
            hashes.append(hashlib.sha256(content).hexdigest())
        masked = len(names) == 2
        return {
            "file": names[0],
            "mask_file": names[1] if masked else None,
            **record,
            "sha256": hashes[0],
            "mask_sha256": hashes[1] if masked else None,
        }

    def _whole(self) -> str:
        return f"{self._lines} samples are whole"


def save(samples: Samples, folder: str | Path, *, format: Format = "png", overwrite: bool = False) -> Path:
    """Write samples into a folder of their own; gives the folder. Raises SavingError."""
    check_format(format, samples.images.shape[1:], 0 if samples.masks is None else samples.masks.shape[1])
    start = int(samples.indices[0]) if len(samples) else 0
    if len(set(samples.indices.tolist())) < len(samples):
        raise SavingError("several samples have the same index, which names their files; save each of them once")
    condition = None if samples.condition is None else ", ".join(dict.fromkeys(samples.condition))
    run = Run(
        model_id=samples.model_id,
        revision=samples.revision,
        weights_sha256=samples.weights_sha256,
        seed=samples.seed,
        start=start,
        condition=condition,
        precision="float32",
        batch_size=max(1, len(samples)),
        format=format,
    )
    with Writer(folder, run, overwrite=overwrite) as writer:
        writer.put(samples)
    return Path(folder)


def check_folder(folder: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Raises SavingError when ``folder`` is no folder, or holds something and neither was asked for."""
    folder = Path(folder)
    if resume and overwrite:
        raise SavingError("--resume and --overwrite contradict each other; type one of them")
    with saying_why(folder):
        if folder.exists() and not folder.is_dir():
            raise SavingError(f"{folder} is a file; give a folder")
        names = [path.name for path in folder.iterdir() if not _is_rest(path)] if folder.exists() else []
    if resume and names and RUN not in names:
        raise SavingError(f"{folder} is not empty and holds no run to resume (no {RUN}); take another folder")
    if names and not (resume or overwrite):
        raise SavingError(
            f"{folder} is not empty; go on with its run by --resume, replace it by --overwrite (in Python: "
            "overwrite=True), or take another folder"
        )


def _is_rest(path: Path) -> bool:
    """Whether a run that was killed before its first sample may have left this."""
    return path.name.endswith(".part") or (path.name == MANIFEST and path.stat().st_size == 0)


def recorded(folder: str | Path) -> dict[str, Any] | None:
    """The content of run.json, None where there is none. Raises SavingError when it cannot be read."""
    path = Path(folder) / RUN
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SavingError(f"{path} cannot be read ({error}); begin anew with --overwrite") from None
    if not isinstance(found, dict):
        raise SavingError(f"{path} holds no run; begin anew with --overwrite")
    return found


def _lock(manifest: FileIO, folder: Path) -> None:
    """Two processes must not write one run. The system drops the lock of a killed one.

    Raises SavingError when another process holds it.
    """
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SavingError(f"another process is writing into {folder}; wait for it, or take another folder") from None
    except OSError:
        pass  # a file system without locks


def _clear(folder: Path, manifest: FileIO) -> None:
    """Remove the files of an earlier run; the manifest stays and is emptied first."""
    manifest.truncate(0)
    for path in sorted(folder.iterdir(), key=lambda path: path.name != RUN):
        if _OURS.fullmatch(path.name) and path.name != MANIFEST:
            path.unlink()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A manifest line, None for a torn one."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"file", "mask_file"} <= record.keys() else None
