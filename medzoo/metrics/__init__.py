"""Metrics: pure functions of arrays, one file each. Nothing here reads a file or knows a model.

A new metric is one file with a ``METRIC``, built of the names that this package exports, and one test; nothing else
lists it. An installed package adds its own through the entry-point group ``medzoo.metrics``:

    [project.entry-points."medzoo.metrics"]
    sharpness = "my_package.sharpness:METRIC"        # the name is that of the metric
"""

from __future__ import annotations

from medzoo.errors import MedzooError
from medzoo.metrics._base import (
    Better,
    Case,
    Metric,
    Need,
    Scale,
    Score,
    View,
    around,
    effects_error,
    effects_interval,
)
from medzoo.metrics._groups import GROUPS, Group, group_of, place_of
from medzoo.plugins import Folder

__all__ = [
    "GROUPS",
    "Better",
    "Case",
    "Group",
    "Metric",
    "Need",
    "Scale",
    "Score",
    "View",
    "around",
    "builtin",
    "effects_error",
    "effects_interval",
    "group_of",
    "load",
    "names",
    "place_of",
]

_FOLDER = Folder[Metric](__name__, "metric", lambda module: module.METRIC, lambda thing: isinstance(thing, Metric))


def names() -> list[str]:
    """Names that ``load`` takes: the files of this folder, and what installed packages add."""
    return _FOLDER.names()


def builtin() -> list[str]:
    """Names of the metrics that come along."""
    return _FOLDER.builtin()


def load(name: str) -> Metric:
    """The metric of that name.

    Raises:
        MedzooError: there is none, it does not load, or it calls itself something else.
    """
    metric = _FOLDER.load(name)
    if metric.name != name:
        raise MedzooError(
            f"metric '{name}' calls itself '{metric.name}'; make METRIC.name the name of its file or entry point"
        )
    return metric
