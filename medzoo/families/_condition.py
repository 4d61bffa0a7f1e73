"""Conditions: what the caller says -> what an entry declares, one for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo.entry import Entry
from medzoo.errors import ConditionError


@dataclass(frozen=True)
class Conditions:
    """The conditions of a run of samples.

    Attributes:
        labels: class indices int64 [n]; None without any. One class for all takes the memory of one.
        classes: the words for them.
    """

    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()

    def __getitem__(self, part: slice) -> Conditions:
        return self if self.labels is None else Conditions(self.labels[part].copy(), self.classes)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The class of each sample in words."""
        return None if self.labels is None else tuple(self.classes[i] for i in self.labels)

    def tensor(self, device: torch.device) -> torch.Tensor | None:
        """Class indices int64 [n] for the network."""
        return None if self.labels is None else torch.from_numpy(self.labels.copy()).to(device)


def resolve_condition(entry: Entry, condition: Any, n: int) -> Conditions:
    """Check a condition against the entry and spread it over ``n`` samples.

    Args:
        condition: None, a class by name or index, or a sequence of ``n`` of them.

    Raises ConditionError, which says what the model accepts.
    """
    declared = entry.condition
    if declared is None:
        if condition is not None:
            raise ConditionError(f"{entry.model_id} takes no condition, found {condition!r}; leave it out")
        return Conditions()
    if condition is None and not declared.required:
        return Conditions()
    if declared.kind != "class" or not declared.classes:
        wanted = ", ".join(declared.inputs or ()) or declared.about or declared.kind
        raise ConditionError(
            f"{entry.model_id} needs a condition of kind '{declared.kind}' ({wanted}), "
            "which this version cannot give to a model yet; only classes work"
        )
    classes = declared.classes
    if condition is None:
        raise ConditionError(f"{entry.model_id} needs a class: {_accepted(classes)}")
    if isinstance(condition, str | int | np.integer):
        label = np.int64(_class_index(entry.model_id, classes, condition))
        return Conditions(np.broadcast_to(label, n), classes)  # a million take the memory of one
    asked = list(condition) if isinstance(condition, Sequence | np.ndarray) else [condition]
    if len(asked) != n:
        raise ConditionError(f"{entry.model_id}: {n} samples need {n} classes or one for all, found {len(asked)}")
    known: dict[Any, int] = {}
    for one in asked:  # a million samples of two classes are looked up twice
        if isinstance(one, str | int | np.integer) and one not in known:
            known[one] = _class_index(entry.model_id, classes, one)
        elif not isinstance(one, str | int | np.integer):
            raise ConditionError(f"{entry.model_id}: {one!r} is no class; it takes {_accepted(classes)}")
    return Conditions(np.array([known[one] for one in asked], dtype=np.int64), classes)


def _class_index(model_id: str, classes: tuple[str, ...], asked: Any) -> int:
    """Index of a class given by name (any case), by index, or by an index in words."""
    if isinstance(asked, str):
        names = [name.casefold() for name in classes]
        if asked.casefold() in names:
            return names.index(asked.casefold())
        if asked.isdecimal():
            asked = int(asked)
    if isinstance(asked, int | np.integer) and not isinstance(asked, bool) and 0 <= asked < len(classes):
        return int(asked)
    raise ConditionError(f"{model_id} has no class {asked!r}; it takes {_accepted(classes)}")


def _accepted(classes: tuple[str, ...]) -> str:
    return ", ".join(f"{name} ({i})" for i, name in enumerate(classes))
