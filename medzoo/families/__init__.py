"""Families of generators: one file each, imported only when an entry names it.

A file without an underscore is a family of that name; other packages add theirs through the entry-point group
``medzoo.families`` (name -> the Generator class). See ``docs/families.md``.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medzoo.errors import RegistryError

if TYPE_CHECKING:
    from medzoo.families._base import Generator

GROUP = "medzoo.families"


def get_family(name: str) -> type[Generator]:
    """The Generator class of a family. Raises RegistryError for a name that nobody provides."""
    if name in builtin_families():
        return _class_in(f"{__name__}.{name}")
    others = _other_families()
    if name in others:
        return _from_elsewhere(name, others[name])
    known = ", ".join(known_families())
    raise RegistryError(f"no family '{name}'; there are: {known}. A package can add one: see docs/families.md")


def known_families() -> tuple[str, ...]:
    """Names that ``get_family`` takes, without importing any of them."""
    return tuple(sorted({*builtin_families(), *_other_families()}))


@cache
def builtin_families() -> tuple[str, ...]:
    """Names of the files beside this one."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def _other_families() -> dict[str, str]:
    """Name -> ``package.module:Class`` of the families that installed packages provide."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP)}


def _from_elsewhere(name: str, value: str) -> type[Generator]:
    from medzoo.families._base import Generator

    module, _, attribute = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RegistryError(f"family '{name}' of an installed package does not load: {value}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Generator)):
        raise RegistryError(f"family '{name}': {value} must be a subclass of medzoo.families._base.Generator")
    return found


def _class_in(module_name: str) -> type[Generator]:
    """The one Generator that a module defines."""
    from medzoo.families._base import Generator

    module = importlib.import_module(module_name)
    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Generator) and thing.__module__ == module_name
    ]
    if len(found) != 1:
        raise RegistryError(f"{module_name} must define one Generator, found {len(found)}")
    return found[0]
