"""Registry folders -> entries, and the search for the one that an id means.

One file of ``models/`` is one entry, and the file name is its id: an id is therefore found without reading
any other file, and a broken file hides only itself.
"""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import cards
from medzoo.catalog import ids, yamlfile
from medzoo.catalog.places import (
    ENVIRONMENT,
    RegistryWarning,
    each_once,
    folders,
    own_folders,
    package_folders,
)
from medzoo.errors import EntryError, RegistryError, UnknownModelError
from medzoo.files.reading import read_text

if TYPE_CHECKING:
    from medzoo.entry import Entry


__all__ = [
    "ENVIRONMENT",
    "FIELDS",
    "Located",
    "RawEntry",
    "RegistryWarning",
    "folders",
    "load_all",
    "load_file",
    "model_files",
    "named_files",
    "parse",
    "read_all",
    "resolve",
    "scan",
]


@dataclass(frozen=True)
class Located:
    """An entry and where it came from.

    Attributes:
        entry: the validated record.
        path: its YAML file; relative ``local`` weights start at the folder of this file.
        registry: its registry folder; ``package`` weights are relative to it.
        address: ``hf://organisation/repository@<commit>`` of an entry of the Hub, which lies in no folder of this
            machine: then the other two are None.
        label: what samples call a model without an id of its own: a run with its step, the name of a file.
    """

    entry: Entry
    path: Path | None
    registry: Path | None
    address: str | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """What samples, manifests and pages call it: where it is from, if it has no id that was given here."""
        return self.address or self.label or self.entry.model_id

    @property
    def named(self) -> Entry:
        """The entry to be shown: with ``name`` for its id, since a stranger's entry may call itself anything."""
        return self.entry.model_copy(update={"model_id": self.name})


@dataclass(frozen=True)
class RawEntry:
    """What a YAML file states, read but not validated: enough for a listing, and quick.

    Attributes:
        fields: the mapping of the file; those that a listing shows have the right shape.
        path, registry: as in ``Located``.
    """

    fields: Mapping[str, Any]
    path: Path
    registry: Path

    def load(self) -> Located:
        """The validated entry (``EntryError`` where the file is broken after all)."""
        return load_file(self.path, self.registry)


def resolve(model: str | int | Path) -> Located:
    """The one entry that is meant.

    Accepted are a full id, its number (``10``, ``"10"``, ``"00010"``), the beginning of an id or any part of it in
    upper or lower case, as long as it is unique, and the path of whatever carries an entry: a YAML file, a run, a
    published folder (``medzoo.catalog.paths``).

    Raises:
        UnknownModelError: nothing fits, or several entries do; the closest ids are in ``matches``.
        EntryError: the entry exists and is broken.
    """
    from medzoo.catalog import modelfolders, paths

    text = str(model).strip()
    found = paths.what_is(model)
    if found is None:
        files = model_files()
        try:
            return load_file(*files[ids.resolve(text, files)])
        except UnknownModelError as error:
            if os.path.isdir(text):
                raise UnknownModelError(
                    f"{error}. The folder {text} {paths.why_not(Path(text))}", error.matches
                ) from None
            raise
    if found.kind == "run":
        return modelfolders.of_run(found.path, found.checkpoint)
    if found.kind == "published":
        return modelfolders.of_published(found.path)
    if found.kind == "entry":
        return load_file(found.path)
    raise UnknownModelError(f"{text} has no entry; draft one: medzoo new model --weights {shlex.quote(text)}")


def load_all() -> list[Located]:
    """Every entry that can be read, sorted by id; each broken file gives a ``RegistryWarning`` instead."""
    found, broken = scan()
    for error in broken:
        warnings.warn(str(error), RegistryWarning, stacklevel=2)
    return found


def scan() -> tuple[list[Located], list[EntryError]]:
    """Every entry that can be read, sorted by id, and one error for each file that cannot."""
    found: list[Located] = []
    broken: list[EntryError] = []
    for path, registry in model_files().values():
        try:
            found.append(load_file(path, registry))
        except EntryError as error:
            broken.append(error)
    return found, broken


def read_all() -> tuple[list[RawEntry], list[EntryError]]:
    """What every file states, sorted by id, and one error for each file that does not even fit a listing.

    A file that looks wrong is validated, so that its error lists everything.
    """
    found: list[RawEntry] = []
    broken: list[EntryError] = []
    for path, registry in model_files().values():
        try:
            stated = yamlfile.fields(text_of(path), str(path))
            if not _fits_a_listing(stated, path):
                load_file(path, registry)
            found.append(RawEntry(stated, path, registry))
        except EntryError as error:
            broken.append(error)
    return found, broken


def load_file(path: Path, registry: Path | None = None) -> Located:
    """Read one YAML file, whose name must be the id of its entry.

    Args:
        path: the file.
        registry: its registry folder; by default the folder of the file, or the one above when that is ``models``.

    Raises:
        EntryError: the file cannot be read, or its entry is broken; every problem is listed with its line.
    """
    path = Path(path)
    text = text_of(path)
    entry = parse(text, str(path))
    if entry.model_id != path.stem:
        raise EntryError(
            f"{path}:{yamlfile.line_of(text, str(path), 'model_id')}: model_id: '{entry.model_id}' differs from "
            f"the file name; name the file {entry.model_id}.yaml or correct the id"
        )
    if registry is None:
        registry = path.parent.parent if path.parent.name == "models" else path.parent
    return Located(entry, path, registry)


def parse(text: str, name: str) -> Entry:
    """Text of a YAML file -> Entry; ``name`` is what messages call it, a path or an address.

    Raises:
        EntryError: not YAML, duplicate keys, or fields that do not fit; every problem is listed with its line.
    """
    from medzoo.entry import Entry

    return yamlfile.parse(text, name, Entry)


def model_files() -> dict[str, tuple[Path, Path]]:
    """id -> (file, registry folder), over all registry folders, sorted by id.

    An id that an installed package defines once more gives a ``RegistryWarning``, and the first file counts.

    Raises:
        RegistryError: two folders of this machine define the same id.
    """
    files: dict[str, tuple[Path, Path]] = {}
    own = own_folders()
    for registry in each_once(*own, *package_folders()):
        models = registry / "models"
        for path in sorted((models if models.is_dir() else registry).glob("*.y*ml")):  # .yaml and .yml
            if path.stem not in files:
                files[path.stem] = (path, registry)
            elif registry not in own:
                message = f"two files define {path.stem}: {files[path.stem][0]} and {path}; the first is taken"
                warnings.warn(message, RegistryWarning, stacklevel=2)
            else:
                raise RegistryError(
                    f"two files define {path.stem}: {files[path.stem][0]} and {path}; "
                    f"give one of them an id of its own, or take its folder out of {ENVIRONMENT}"
                )
    return dict(sorted(files.items()))


def named_files(kind: str) -> dict[str, Path]:
    """Name -> ``<registry>/<kind>/<name>.yaml``; what came along goes before what the variable and packages add."""
    files: dict[str, Path] = {}
    for registry in folders():
        for path in sorted((registry / kind).glob("*.yaml")):
            files.setdefault(path.stem, path)
    return files


def text_of(path: Path) -> str:
    """The text of a registry file. Raises EntryError: it is not there, is no file, too large, or no UTF-8 text."""
    try:
        return read_text(path, "entry_bytes")
    except FileNotFoundError:
        raise EntryError(f"{path}: no such file; try: medzoo list") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EntryError(f"{path}: cannot be read as UTF-8 text ({error})") from None


# The fields of Entry; the tests compare the two. Entry itself is not imported for a listing.
FIELDS = frozenset(
    {
        "model_id",
        "title",
        "family",
        "modality",
        "organ",
        "tags",
        "output",
        "condition",
        "config",
        "sampling",
        "weights",
        "checkpoint",
        "license",
        "training_data",
        "reported",
        "citation",
        "contact",
        "verified",
        "notes",
    }
)


def _fits_a_listing(stated: Mapping[str, Any], path: Path) -> bool:
    """Whether everything that a listing, a search or a ranking looks at is there and of the right type."""
    if set(stated) != FIELDS or stated["model_id"] != path.stem:
        return False
    output, condition, license = stated["output"], stated["condition"], stated["license"]
    return (
        all(isinstance(stated[name], str) for name in ("title", "family", "modality"))
        and all(isinstance(stated[name], str | None) for name in ("organ", "notes"))
        and all(isinstance(stated[name], list) for name in ("tags", "weights", "reported", "verified"))
        and all(
            isinstance(score, dict) and {"metric", "value", "protocol"} <= score.keys() for score in stated["reported"]
        )
        and all(isinstance(check, dict) and {"what", "how", "when"} <= check.keys() for check in stated["verified"])
        and all(isinstance(tag, str) for tag in stated["tags"])
        and isinstance(output, dict)
        and {"type", "size", "channels", "masks"} <= output.keys()
        and isinstance(output["size"], list | None)
        and (condition is None or (isinstance(condition, dict) and isinstance(condition.get("kind"), str)))
        and isinstance(license, dict)
        and isinstance(license.get("weights"), str | None)
        and isinstance(stated["training_data"], dict)
        and isinstance(stated["training_data"].get("datasets"), list)
    )


def _thumbnail(model_id: str) -> bytes | None:
    from medzoo.catalog.thumbnails import thumbnail

    return thumbnail(model_id)


cards.PICTURES.append(_thumbnail)
