"""Recipes: what a family adds to the one training loop, one file each, named as the family.

A new one is one file with a ``RECIPE``, a subclass of :class:`Adversarial` or :class:`Direct`, and one test; nothing
else lists it. An installed package adds its own through the entry-point group ``medzoo.training.recipes``. All that it
needs is here::

    from medzoo.training.recipes import Adversarial, Comparison, Copies, Facts, GeneratorLoss, Inputs, TrainConfig
    from medzoo.training.recipes import Direct, Loss
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError, create_model

from medzoo.errors import TrainingError, problems
from medzoo.plugins import Folder
from medzoo.training.config import TrainConfig, VolumeConfig
from medzoo.training.losses import Comparison, Copies, GeneratorLoss, Loss
from medzoo.training.presets import Preset
from medzoo.training.recipes._base import Adversarial, Direct, Facts, Inputs, Recipe, class_condition

__all__ = [
    "Adversarial",
    "Comparison",
    "Copies",
    "Direct",
    "Facts",
    "GeneratorLoss",
    "Inputs",
    "Loss",
    "Preset",
    "Recipe",
    "TrainConfig",
    "VolumeConfig",
    "class_condition",
    "kind",
    "names",
    "recipe",
    "settings",
]

_FOLDER = Folder[type[Recipe[Any]]](
    __name__,
    "family that can be trained",
    lambda module: module.RECIPE,
    lambda thing: isinstance(thing, type) and issubclass(thing, Recipe),
    TrainingError,
)


def names() -> list[str]:
    """Families that can be trained."""
    return _FOLDER.names()


def recipe(config: TrainConfig, facts: Facts) -> Recipe[Any]:
    """The recipe of a configuration. Raises TrainingError where it does not fit the images."""
    chosen = kind(config.family)(config, facts)
    try:
        chosen.entry()  # states the zoo's network, which has rules of its own
    except ValidationError as error:
        raise TrainingError("; ".join(problems(error, "config"))) from None
    return chosen


def settings(family: object) -> type[TrainConfig]:
    """The type of a family's configuration; for an unknown family one that says which there are."""
    if isinstance(family, str) and family in names():
        return kind(family).configuration
    fields: dict[str, Any] = {
        "family": (Annotated[Any, AfterValidator(_unknown)], ...), "config": (Any, None), "critic": (Any, None)
    }  # fmt: skip
    return create_model("Settings", __base__=TrainConfig, **fields)


def _unknown(family: object) -> object:
    try:
        kind(str(family))
    except TrainingError as error:
        raise ValueError(str(error)) from None
    return family


def kind(family: str) -> type[Recipe[Any]]:
    """The class of a family's recipe."""
    return _FOLDER.load(family)
