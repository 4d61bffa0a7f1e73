"""Metrics: pure functions of arrays, one file each. Nothing here reads a file or knows a model.

A new metric is one file with a ``METRIC`` (see ``medzoo.metrics._base``) and one test; nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil

from medzoo.errors import MedzooError
from medzoo.metrics._base import Metric


def names() -> list[str]:
    """Names that ``load`` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Metric:
    """The metric of that name.

    Raises MedzooError: there is none.
    """
    if name not in names():
        raise MedzooError(f"no metric is named '{name}'; there are {', '.join(names())}")
    metric: Metric = importlib.import_module(f"medzoo.metrics.{name}").METRIC
    return metric
