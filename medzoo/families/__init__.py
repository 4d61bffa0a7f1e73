"""Families of generators: one file (or folder) each, imported only when an entry names it.

A file or folder without an underscore is a family of that name; other packages add theirs through the entry-point
group ``medzoo.families`` (name -> the Generator class). See ``docs/families.md``.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from medzoo.errors import RegistryError
from medzoo.lazy import exports
from medzoo.plugins import Folder

if TYPE_CHECKING:
    from medzoo.families._base import FamilyConfig as FamilyConfig
    from medzoo.families._base import Generator as Generator
    from medzoo.families._condition import Conditions as Conditions
    from medzoo.families._condition import Given as Given
    from medzoo.families._translate import InstanceNorm as InstanceNorm
    from medzoo.families._translate import Translator as Translator
    from medzoo.families._translate import norm_layer as norm_layer

__all__ = [
    "Conditions",
    "FamilyConfig",
    "Generator",
    "Given",
    "InstanceNorm",
    "Translator",
    "builtin_families",
    "get_family",
    "known_families",
    "norm_layer",
]

# What the author of a family needs beside medzoo.randomness (Noise, Replay), medzoo.nets (norms) and medzoo.errors.
__getattr__, __dir__ = exports(
    __name__,
    {
        "Conditions": "medzoo.families._condition",
        "FamilyConfig": "medzoo.families._base",
        "Generator": "medzoo.families._base",
        "Given": "medzoo.families._condition",
        "InstanceNorm": "medzoo.families._translate",
        "Translator": "medzoo.families._translate",
        "norm_layer": "medzoo.families._translate",
    },
)


def get_family(name: str) -> type[Generator]:
    """The Generator class of a family. Raises RegistryError for a name that nobody provides."""
    return _FOLDER.load(name)


def known_families() -> tuple[str, ...]:
    """Names that ``get_family`` takes, without importing any of them."""
    return tuple(_FOLDER.names())


def builtin_families() -> tuple[str, ...]:
    """Names of the families that come along."""
    return tuple(_FOLDER.builtin())


def _class_in(module: ModuleType) -> type[Generator]:
    """The one Generator that a module defines."""
    own = [thing for thing in vars(module).values() if _is_family(thing) and thing.__module__ == module.__name__]
    if len(own) != 1:
        raise RegistryError(f"{module.__name__} must define one medzoo.families.Generator, found {len(own)}")
    family: type[Generator] = own[0]
    return family


def _is_family(thing: Any) -> bool:
    from medzoo.families._base import Generator

    return isinstance(thing, type) and issubclass(thing, Generator)


_FOLDER: Folder[type[Generator]] = Folder(
    __name__, "family", _class_in, _is_family, RegistryError, hint="; a package can add one: see docs/families.md"
)
