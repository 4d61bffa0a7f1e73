"""Registry folders: that of medzoo, those of the environment variable MEDZOO_REGISTRY, those of installed packages.

A package brings its own through the entry-point group ``medzoo.registries``: ``my_zoo`` for the folder ``registry`` of
that package, ``my_zoo:data.models`` for another folder of it. The package is found, not imported.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from medzoo.errors import RegistryError
from medzoo.files.reading import expanded
from medzoo.plugins import installed

ENVIRONMENT = "MEDZOO_REGISTRY"
GROUP = "medzoo.registries"


class RegistryWarning(UserWarning):
    """An entry, or the registry of an installed package, was left out because it is broken."""


def folders() -> list[Path]:
    """All of them, medzoo's own first, then those of the variable, then those of packages; each once.

    Raises:
        RegistryError: a folder that the variable names does not exist. (That of a package is a ``RegistryWarning``.)
    """
    return each_once(*own_folders(), *package_folders())


def own_folders() -> list[Path]:
    """That of medzoo, then those of the variable. Raises RegistryError as ``folders`` does."""
    return each_once(_own_registry(), *_of_the_variable())


def package_folders() -> list[Path]:
    """Those of installed packages; a ``RegistryWarning`` for each that is not there."""
    folders = []
    for point in installed(GROUP):
        try:
            folders.append(_folder_of(point.value))
        except (ImportError, ValueError, OSError) as error:
            warnings.warn(
                f"the registry '{point.name}' of package {point.distribution} is left out: {error}; "
                f"correct {point.value!r} in its "
                f'[project.entry-points."{GROUP}"], or uninstall it',
                RegistryWarning,
                stacklevel=2,
            )
    return folders


def each_once(*folders: Path) -> list[Path]:
    """Folders without those that were named before, perhaps by another path."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _own_registry() -> Path:
    """The registry inside an installed medzoo, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "registry"
    return inside if inside.is_dir() else package.parent / "registry"


def _of_the_variable() -> Iterator[Path]:
    for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep):
        if not part.strip():
            continue
        try:
            folder = expanded(part.strip())
        except OSError as error:
            raise RegistryError(f"{ENVIRONMENT} names {part.strip()}: {error.strerror}") from None
        if not folder.is_dir():
            raise RegistryError(f"{ENVIRONMENT} names {folder}, which is not a folder; correct or unset the variable")
        yield folder


def _folder_of(value: str) -> Path:
    """The folder that ``package`` or ``package:folder`` names. Nothing is imported: that could take seconds.

    Raises ImportError (no such package), ValueError (no package name) or OSError (no such folder).
    """
    package, _, inside = value.replace(" ", "").partition(":")
    top, *below = package.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"there is no package {top}")
    parts = (*below, *(inside or "registry").split("."))
    candidates = [Path(place, *parts) for place in spec.submodule_search_locations]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise OSError(f"{candidates[0]} is not a folder")
