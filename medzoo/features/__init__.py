"""Feature extractors: images -> vectors that metrics compare. One file each, loaded by name when first asked for."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from medzoo.errors import MedzooError

if TYPE_CHECKING:
    from medzoo.features._base import Extractor


def names() -> list[str]:
    """Names that ``load`` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str, **options: Any) -> Extractor:
    """The extractor of that name; ``options`` are those of its constructor (device, precision, batch_size).

    Raises:
        MedzooError: no extractor has that name, or what it needs is not installed.
    """
    if name not in names():
        raise MedzooError(f"no feature extractor is named '{name}'; there are {', '.join(names())}")
    extractor: Extractor = importlib.import_module(f"medzoo.features.{name}").create(**options)
    return extractor
