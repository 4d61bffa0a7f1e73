"""Loggers: where a run is shown while it trains, beside the tables of its folder. One file each.

A new one is one file with a ``LOGGER``, a subclass of :class:`Logger`; nothing else lists it. An installed package adds
its own through the entry-point group ``medzoo.training.loggers``. All that it needs is here::

    from medzoo.training.loggers import Logger
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medzoo.errors import TrainingError
from medzoo.plugins import Folder
from medzoo.training.loggers._base import Logger

__all__ = ["Logger", "create", "names"]

_FOLDER = Folder[type[Logger]](
    __name__,
    "logger",
    lambda module: module.LOGGER,
    lambda thing: isinstance(thing, type) and issubclass(thing, Logger),
    TrainingError,
)


def names() -> list[str]:
    """Names that ``create`` takes."""
    return _FOLDER.names()


def create(wanted: Sequence[str], run: Path) -> list[Logger]:
    """The loggers of these names, each once, for the run in a folder.

    Raises:
        TrainingError: no logger has such a name, or it needs a package that is not installed.
    """
    if isinstance(wanted, str):
        raise TrainingError(f"loggers: expected a list of names, found {wanted!r}; write [{wanted!r}]")
    kinds: list[Any] = [_FOLDER.load(name) for name in dict.fromkeys(wanted)]
    return [kind(run) for kind in kinds]
