"""What a model is conditioned on: one file a kind.

A kind says which field its entries must state, what a caller may give and how it is spread over samples, and how it is
described and shown. The name of a file is the name of its kind, as entries write it (``kind: class``); each ends with
``KIND``. Nothing here needs torch, and the names alone need nothing at all: a listing asks for them.

``Kind`` is what a file subclasses; ``Conditions`` is what ``Kind.parse`` gives.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from medzoo.errors import ConditionError
from medzoo.lazy import exports
from medzoo.plugins import Folder

if TYPE_CHECKING:
    from medzoo.conditions._base import Conditions as Conditions
    from medzoo.conditions._base import Input as Input
    from medzoo.conditions._base import Kind as Kind
    from medzoo.entry import Condition

_HOMES = {name: "medzoo.conditions._base" for name in ("Conditions", "Input", "Kind")}

__getattr__, __dir__ = exports(__name__, _HOMES)


def _pick(module: ModuleType) -> Kind:
    kind: Kind = module.KIND
    return kind


def _fits(thing: Any) -> bool:
    from medzoo.conditions._base import Kind

    return isinstance(thing, Kind)


KINDS: Folder[Kind] = Folder("medzoo.conditions", "kind of condition", _pick, _fits, ConditionError)


def kind_of(declared: Condition) -> Kind:
    """The kind of a condition that an entry declares."""
    return _load(declared.kind)


@cache  # every entry of a listing and every input image asks
def _load(name: str) -> Kind:
    return KINDS.load(name)


def accepted(declared: Condition) -> str:
    """In words, what a model is conditioned on."""
    return kind_of(declared).accepted(declared)


def from_words(declared: Condition | None, words: tuple[str, ...]) -> Any:
    """The words of ``--condition``, as they were typed -> what ``Generator.generate`` takes.

    Raises ConditionError: some parts have a name and some have none.
    """
    if declared is None:  # refused later, in the words that Python users read as well
        return words[0] if len(words) == 1 else list(words) or None
    return kind_of(declared).from_words(declared, words)
