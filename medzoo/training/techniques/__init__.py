"""Techniques for training with little data: one file each, plugged into every family's training.

A configuration names them, with the options of each: ``techniques: [{name: diffaugment}, {name: r1, gamma: 10}]``.
A new one is one file with a ``TECHNIQUE`` (see ``medzoo.training.techniques._base``) and one test; nothing else lists
it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from medzoo.errors import TrainingError
from medzoo.training.techniques._base import Look, Standing, Technique

__all__ = ["Look", "Standing", "Technique", "checked", "create", "names"]


def names() -> list[str]:
    """Names that a configuration may state."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def create(name: str, batch: int, **options: Any) -> Technique[Any]:
    """The technique of that name.

    Args:
        name: one of ``names()``.
        batch: real images of one update.
        options: of its ``Options``; the rest at the published defaults.

    Raises:
        TrainingError: no technique has that name, or an option does not fit.
    """
    kind = _kind(name)
    return kind(_options(name, kind, options), batch)


def checked(stated: Mapping[str, Any]) -> dict[str, Any]:
    """``{name: ..., option: ...}`` of a configuration with every option stated. Raises TrainingError."""
    if not isinstance(name := stated.get("name"), str):
        raise TrainingError(f"a technique needs its name; there are {', '.join(names())}")
    options = {key: value for key, value in stated.items() if key != "name"}
    return {"name": name, **_options(name, _kind(name), options).model_dump(mode="json")}


def _kind(name: str) -> type[Technique[Any]]:
    if name not in names():
        raise TrainingError(f"no technique is named '{name}'; there are {', '.join(names())}")
    kind: type[Technique[Any]] = importlib.import_module(f"{__name__}.{name}").TECHNIQUE
    return kind


def _options(name: str, kind: type[Technique[Any]], options: Mapping[str, Any]) -> Any:
    try:
        return kind.Options.model_validate(dict(options))
    except ValidationError as error:
        raise TrainingError("; ".join(_problem(name, kind, dict(one)) for one in error.errors())) from None


def _problem(name: str, kind: type[Technique[Any]], error: dict[str, Any]) -> str:
    where = ".".join(map(str, (name, *error["loc"])))
    if error["type"] == "extra_forbidden":
        known = ", ".join(kind.Options.model_fields) or "none"
        return f"{where}: unknown option; {name} takes {known}"
    told = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{where}: {told}, found {error['input']!r}"
