"""The folder of one run of samples: what may be begun or gone on with in it, and which of its files are the run's."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from medzoo.errors import SavingError
from medzoo.files.reading import open_regular, read_sealed
from medzoo.files.whole import appending, check_local, disk_errors
from medzoo.samples import formats
from medzoo.samples.earlier import parsed

MANIFEST, RUN = "manifest.jsonl", "run.json"
BATCHES_AHEAD = 2  # how many written batches may wait while the next is computed

GRID = "grid.png"
# How names of files end that people may mean where a folder is needed.
_FILES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".webp",
        ".npy",
        ".npz",
        ".dcm",
        ".nii",
        ".gz",
        ".zip",
        ".tar",
        ".json",
        ".pt",
        ".safetensors",
    ]
)


def check_folder(folder: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Raises SavingError when ``folder`` is no folder, or holds something and neither was asked for."""
    check_local(folder, SavingError)
    folder = Path(folder)
    if resume and overwrite:
        raise SavingError("--resume and --overwrite contradict each other; type one of them")
    with saving_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise SavingError(f"{folder} is a file; give a folder")
        if folder.suffix.lower() in _FILES and not folder.exists():
            raise SavingError(
                f"samples are written into a folder, '{folder}' is the name of a file; give a folder (one picture of "
                "all, in Python: samples.grid().save('sheet.png'))"
            )
        names = [path.name for path in folder.iterdir() if not _is_rest(path)] if folder.exists() else []
    if resume and names and RUN not in names:
        raise SavingError(f"{folder} is not empty and holds no run to resume (no {RUN}); take another folder")
    if names and not (resume or overwrite):
        raise SavingError(
            f"{folder} is not empty; go on with its run by --resume, replace it by --overwrite (in Python: "
            "overwrite=True), or take another folder"
        )


def saving_errors(
    folder: Path, state: Callable[[], str] = lambda: "nothing was written"
) -> AbstractContextManager[None]:
    """Turn what the disk refuses into a ``SavingError``; ``state`` says what is whole."""
    return disk_errors(folder, SavingError, state=state, full="make room and type --resume")


def _is_rest(path: Path) -> bool:
    """Whether a run that was killed before its first sample may have left this."""
    return path.name.endswith(".part") or (path.name == MANIFEST and path.stat().st_size == 0)


def recorded(folder: str | Path) -> dict[str, Any] | None:
    """The content of run.json, None where there is none. Raises SavingError when it cannot be read."""
    path = Path(folder) / RUN
    try:
        return read_sealed(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SavingError(f"{path} cannot be read ({error}); begin anew with --overwrite") from None


def lock(manifest: BinaryIO, folder: Path) -> None:
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


def clear(folder: Path, manifest: BinaryIO) -> None:
    """Remove the files of an earlier run; the manifest stays and is emptied first."""
    endings = _endings(folder)
    named = _named(folder, endings)
    numbered = re.compile(rf"\d{{8,}}{endings}|\..*\.part")
    manifest.truncate(0)
    for path in sorted(folder.iterdir(), key=lambda path: path.name != RUN):
        if path.name in {RUN, GRID, *named} or numbered.fullmatch(path.name):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, or an empty folder in its place. Raises SavingError for a folder that holds something."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        path.rmdir()
    except OSError:
        raise SavingError(
            f"{path}: expected a file of the run, found a folder that is not empty; move it away"
        ) from None


def open_manifest(folder: Path) -> BinaryIO:
    """The manifest of a folder, to append to. Raises OSError, or SavingError: it leads elsewhere."""
    path = folder / MANIFEST
    try:
        return appending(path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO):
            raise SavingError(
                f"{path}: expected a regular file, found a link, a pipe or a folder; remove it, or take another folder"
            ) from None
        raise


def _endings(folder: Path) -> str:
    """A pattern for how files of samples end: of the formats that come along, and of the one of the run."""
    try:
        recorded_format = (recorded(folder) or {}).get("format")
    except SavingError:
        recorded_format = None  # no run that can be read
    known = {*formats.builtin(), recorded_format} & {*formats.names()}
    suffixes = {suffix for name in known for suffix in formats.load(name).suffixes}
    return rf"(_mask)?({'|'.join(map(re.escape, sorted(suffixes)))})"


def _named(folder: Path, endings: str) -> set[str]:
    """Files of a run whose samples bear the names of their inputs: those of the manifest, and those under way.

    A person may have such names too (``20240101_left.png``), so an index must be one that the run had come to.
    """
    with open_regular(folder / MANIFEST) as file:
        lines = [record for record in map(parsed, file) if record is not None]
    listed = {name for record in lines for name in (record["file"], record["mask_file"])}
    reached = range(0)
    try:
        run = recorded(folder) or {}
        first, size = run["start"] + len(lines), run["batch_size"]
        reached = range(first, first + (BATCHES_AHEAD + 2) * size)
    except (SavingError, KeyError, TypeError):
        pass  # no run that can be read
    pattern = re.compile(rf"(\d{{8,}})_[A-Za-z0-9_-]+{endings}")
    matches = [(path.name, pattern.fullmatch(path.name)) for path in folder.iterdir()]
    return {name for name, match in matches if match and (name in listed or int(match[1]) in reached)}
