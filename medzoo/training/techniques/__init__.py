"""Techniques for training with little data: one file each, plugged into every family's training.

A configuration names them, with the options of each: ``techniques: [{name: diffaugment}, {name: r1, gamma: 10}]``.
A new one is one file with a ``TECHNIQUE``, a subclass of :class:`Technique`, and one test; nothing else lists it. An
installed package adds its own through the entry-point group ``medzoo.training.techniques``. All that it needs is here::

    from medzoo.training.techniques import BeforeStep, Options, StepView, Technique
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from medzoo.errors import TrainingError, problems
from medzoo.plugins import Folder
from medzoo.training.techniques._base import BeforeStep, Options, StepView, Technique

__all__ = ["BeforeStep", "Options", "StepView", "Technique", "checked", "create", "names"]

_FOLDER = Folder[type[Technique[Any]]](
    __name__,
    "technique",
    lambda module: module.TECHNIQUE,
    lambda thing: isinstance(thing, type) and issubclass(thing, Technique),
    TrainingError,
)


def names() -> list[str]:
    """Names that a configuration may state."""
    return _FOLDER.names()


def create(name: str, batch: int, **options: Any) -> Technique[Any]:
    """The technique of that name.

    Args:
        name: one of ``names()``.
        batch: real images of one update.
        options: of its ``Options``; the rest at the published defaults.

    Raises:
        TrainingError: no technique has that name, or an option does not fit.
    """
    kind = _FOLDER.load(name)
    return kind(_options(name, kind, options), batch)


def checked(stated: Mapping[str, Any]) -> dict[str, Any]:
    """``{name: ..., option: ...}`` of a configuration with every option stated. Raises TrainingError."""
    if not isinstance(name := stated.get("name"), str):
        raise TrainingError(f"a technique needs its name; there are {', '.join(names())}")
    options = {key: value for key, value in stated.items() if key != "name"}
    return {"name": name, **_options(name, _FOLDER.load(name), options).model_dump(mode="json")}


def _options(name: str, kind: type[Technique[Any]], options: Mapping[str, Any]) -> Any:
    try:
        return kind.Options.model_validate(dict(options))
    except ValidationError as error:
        known = ", ".join(kind.Options.model_fields) or "no options"
        raise TrainingError(f"{'; '.join(problems(error, name, record=kind.Options))}; {name} takes {known}") from None
