"""``kind: class``: one of the classes that the entry names, by name or index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from medzoo.conditions._base import Conditions, Gather, Kind
from medzoo.errors import ConditionError

if TYPE_CHECKING:
    from medzoo.entry import Condition


class Class(Kind):
    """A class for all samples, one for each, or different ones that samples take in turn."""

    needs = "classes"
    labelled = True
    one_each = False

    def accepted(self, declared: Condition) -> str:
        return "a class: " + _listed(declared.classes or ())

    def parse(self, model_id: str, declared: Condition, stated: Any, indices: range, gather: Gather) -> Conditions:
        import numpy as np

        if stated is None:
            return Conditions(indices)
        classes, n, stated = declared.classes or (), len(indices), _plain(stated)
        if isinstance(stated, str | Integral):
            label = np.int64(_class_index(model_id, classes, stated))
            return Conditions(indices, np.broadcast_to(label, n), classes)  # a million take the memory of one
        asked = stated if isinstance(stated, Sequence) else ()
        known: dict[Any, int] = {}
        for name in asked:  # a million samples of two classes are looked up twice
            if not isinstance(name, str | Integral):
                raise ConditionError(f"{model_id}: {name!r} is no class; it takes {_listed(classes)}")
            if name not in known:
                known[name] = _class_index(model_id, classes, name)
        labels = np.array([known[name] for name in asked], dtype=np.int64)
        if stated is asked and len(asked) == n:
            return Conditions(indices, labels, classes)
        # Sample i gets one class whatever the number and the start, as with images.
        if 0 < len(asked) < n and len(set(known.values())) == len(asked):
            return Conditions(indices, labels[np.arange(indices.start, indices.stop) % len(labels)], classes)
        amount = f"{len(asked)}, some of them twice" if 0 < len(asked) < n else len(asked) if asked else repr(stated)
        raise ConditionError(
            f"{model_id}: {n} samples need {n} classes, one for all, or different ones in turn, found {amount}; "
            f"it takes {_listed(classes)}"
        )

    def count(self, model_id: str, declared: Condition, stated: Any, gather: Gather) -> int | None:
        listed: Any = stated.get("class") if isinstance(stated, Mapping) else stated
        listed = listed.tolist() if hasattr(listed, "tolist") else listed
        return len(listed) if isinstance(listed, Sequence) and not isinstance(listed, str) else None

    def from_words(self, declared: Condition, words: tuple[str, ...]) -> Any:
        return words[0] if len(words) == 1 else list(words) or None

    def example(self, declared: Condition) -> str:
        return (declared.classes or ("",))[0]

    def trial(self, declared: Condition, *, prompt: str, size: tuple[int, ...], numbers: bool) -> Any:
        return self.example(declared)


def _plain(stated: Any) -> Any:
    """Without the name ``class`` before it; arrays and tensors as lists."""
    if isinstance(stated, Mapping) and set(stated) == {"class"}:
        stated = stated["class"]
    return stated.tolist() if hasattr(stated, "tolist") else stated


def _class_index(model_id: str, classes: tuple[str, ...], asked: Any) -> int:
    """Index of a class given by name (any case), by index, or by an index in words."""
    if isinstance(asked, str):
        names = [name.casefold() for name in classes]
        if asked.casefold() in names:
            return names.index(asked.casefold())
        if asked.isdecimal():
            asked = int(asked)
    if isinstance(asked, Integral) and not isinstance(asked, bool) and 0 <= int(asked) < len(classes):
        return int(asked)
    raise ConditionError(f"{model_id} has no class {asked!r}; it takes {_listed(classes)}")


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(f"{name} ({i})" for i, name in enumerate(classes[:20])) + (", ..." if len(classes) > 20 else "")


KIND = Class()
