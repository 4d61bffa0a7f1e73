"""Metrics: pure functions of arrays, one file each. Nothing here reads a file or knows a model.

A new metric is one file with a ``METRIC`` (see ``medzoo.metrics._base``) and one test; nothing else lists it.
"""

from __future__ import annotations

from medzoo.metrics._base import Metric
from medzoo.plugins import Folder

_FOLDER = Folder[Metric](__name__, "metric", lambda module: module.METRIC, lambda thing: isinstance(thing, Metric))


def names() -> list[str]:
    """Names that ``load`` takes."""
    return _FOLDER.names()


def load(name: str) -> Metric:
    """The metric of that name.

    Raises MedzooError: there is none.
    """
    return _FOLDER.load(name)
