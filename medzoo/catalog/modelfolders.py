"""Folders that carry an entry of their own: a run of ``medzoo train``, and what ``medzoo publish`` wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medzoo import catalog
from medzoo.catalog import Located
from medzoo.catalog.paths import BEST, HUB_FILE, LAST
from medzoo.errors import EntryError, RegistryError
from medzoo.files.reading import parse_json, sha256_of

if TYPE_CHECKING:
    from medzoo.entry import Entry


def of_run(folder: Path, checkpoint: Literal["best", "last"] | None = None) -> Located:
    """The model of a training run as it is now: its best snapshot, or its last state where none was measured.

    Samples call it ``NAME@best-STEP`` or ``NAME@last-STEP``, and the hash of the weights is part of its revision: a run
    that goes on is another model.

    Args:
        checkpoint: which of them; None for the best there is.

    Raises RegistryError: nothing was saved yet, or not that; EntryError: its entry is missing or broken.
    """
    name = _name(folder)
    file = folder / (LAST if checkpoint == "last" or (checkpoint is None and not (folder / BEST).is_file()) else BEST)
    if not file.is_file():
        raise RegistryError(f"{folder}: the run has no {file.name} yet; train it first, with the command that began it")
    path = folder / HUB_FILE
    if not path.is_file():
        raise EntryError(
            f"{path}: no such file, which says what the run makes; type the command that began the run once more, "
            "and it is written"
        )
    entry = catalog.parse(catalog.text_of(path), str(path))
    best = file.name == BEST
    step = _step_of_best(file) if best else _step_of_last(file)
    known = {
        "model_id": f"00000_{re.sub(r'[^A-Z0-9]+', '_', name.upper()).strip('_') or 'RUN'}",
        "weights": [
            {"kind": "local", "path": file.name, "sha256": sha256_of(file), "size": file.stat().st_size}
        ],
        "checkpoint": {"container": "safetensors" if best else "torch", "key": None if best else "average",
                       "strip_prefix": None},
    }  # fmt: skip
    stated = type(entry).model_validate(entry.model_dump() | known)
    return Located(stated, path, folder, label=f"{name}@{'best' if best else 'last'}-{step}")


def of_published(folder: Path) -> Located:
    """The model of a folder with ``medzoo.yaml``; weights that lie beside it are read from there.

    Raises EntryError: its entry is broken.
    """
    path = folder / HUB_FILE
    entry = catalog.parse(catalog.text_of(path), str(path))
    return Located(_beside(entry, folder), path, folder)


def _beside(entry: Entry, folder: Path) -> Entry:
    """The entry with files of the folder in place of files of the repository that it was or will be uploaded to."""
    from medzoo.entry import HubSource, LocalSource

    def here(source: object) -> object:
        if not isinstance(source, HubSource) or source.revision is not None or not (folder / source.file).is_file():
            return source
        return LocalSource(kind="local", path=source.file, sha256=source.sha256, size=source.size, part=source.part)

    return entry.model_copy(update={"weights": tuple(here(source) for source in entry.weights)})


def _name(folder: Path) -> str:
    """The last name of a folder, as samples and files carry it."""
    return re.sub(r"[^\w.-]+", "-", folder.resolve().name).strip("-.") or "run"


def _step_of_best(path: Path) -> int:
    from medzoo.weights import tensorfile

    try:
        return int(parse_json(tensorfile.read(path)[1]["medzoo"])["step"])
    except (LookupError, ValueError, TypeError) as error:
        raise EntryError(f"{path}: is no snapshot of `medzoo train` ({type(error).__name__})") from None


def _step_of_last(path: Path) -> int:
    from medzoo.weights import pickles

    step = (pickles.children(pickles.read(path, pickles.Mode.INSPECT).content) or {}).get("step")
    if not isinstance(step, int):
        raise EntryError(f"{path}: is no state of `medzoo train`: it states no step")
    return step
