"""Folders of plug-ins: each file or folder without an underscore adds one thing, and is imported when it is asked for.

Metrics, features, families, recipes, techniques and file formats are such folders. An installed package adds its own
through an entry-point group with the name of the folder's package, for example ``medzoo.metrics``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, Generic, TypeVar

from medzoo.errors import MedzooError
from medzoo.text import did_you_mean

T = TypeVar("T")


class Folder(Generic[T]):
    """The plug-ins of one package, by name.

    Args:
        package: the package, such as ``medzoo.metrics``; also the group of entry points of other packages.
        what: one plug-in in words, such as ``metric``.
        pick: gives the plug-in that a module holds.
        fits: whether a thing that an entry point names is such a plug-in.
        error: what is raised for a name that nobody provides.
        hint: what to say behind the list of names.
    """

    def __init__(
        self,
        package: str,
        what: str,
        pick: Callable[[ModuleType], T],
        fits: Callable[[Any], bool],
        error: type[MedzooError] = MedzooError,
        hint: str = "",
    ) -> None:
        self.package, self.what, self.pick, self.fits = package, what, pick, fits
        self.error, self.hint = error, hint

    def names(self) -> list[str]:
        """Names that ``load`` takes, sorted; nothing is imported for it."""
        return sorted({*self.builtin(), *self._elsewhere()})

    def builtin(self) -> list[str]:
        """Names of the plug-ins that come along, sorted."""
        return builtin(self.package)

    def load(self, name: str) -> T:
        """The plug-in of that name.

        Raises:
            MedzooError: nobody provides it, or it does not load.
        """
        if name in self.builtin():
            return self.pick(importlib.import_module(f"{self.package}.{name}"))
        others = self._elsewhere()
        if name not in others:
            meant = did_you_mean(name, self.names())
            there = f"{meant} There" if meant else "; there"
            raise self.error(f"no {self.what} is named '{name}'{there} are {', '.join(self.names())}{self.hint}")
        return self._imported(name, others[name])

    def _elsewhere(self) -> dict[str, str]:
        """Name -> ``package.module:attribute`` of what installed packages provide."""
        return {point.name: point.value for point in installed(self.package)}

    def _imported(self, name: str, value: str) -> T:
        module, _, attribute = value.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise self.error(f"{self.what} '{name}' of an installed package does not load: {value}: {error}") from error
        if not self.fits(found):
            raise self.error(f"{self.what} '{name}' of an installed package: {value} is no {self.what}")
        thing: T = found
        return thing


def builtin(package: str) -> list[str]:
    """Names of the files and folders of a package that begin without an underscore, without importing them."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    found = pkgutil.iter_modules(spec.submodule_search_locations)
    return sorted(module.name for module in found if not module.name.startswith("_"))


@dataclass(frozen=True, order=True)
class Installed:
    """One entry point of an installed package: ``name = value``, where value is ``package.module:attribute``."""

    name: str
    value: str
    distribution: str


def installed(group: str) -> list[Installed]:
    """The entry points of a group, sorted. Nothing of the packages is imported."""
    return list(_installed(group, tuple(sys.path)))


@lru_cache(maxsize=64)
def _installed(group: str, search_path: tuple[str, ...]) -> tuple[Installed, ...]:
    if not any(_may_provide(folder or ".", group.encode()) for folder in search_path):
        return ()
    from importlib.metadata import entry_points  # its import alone takes a quarter of `medzoo list`

    points = entry_points(group=group)
    return tuple(sorted(Installed(it.name, it.value, it.dist.name if it.dist else "unknown") for it in points))


def _may_provide(folder: str, group: bytes) -> bool:
    """Whether the metadata of a package in a folder of Python's search path mentions the group."""
    if os.path.isfile(folder):  # a zip file
        return True
    with suppress(OSError), os.scandir(folder) as found:
        for item in found:
            if item.name.endswith((".dist-info", ".egg-info")):
                with suppress(OSError), open(os.path.join(item.path, "entry_points.txt"), "rb") as file:
                    if group in file.read():
                        return True
    return False
