"""Feature extractors: images -> vectors that metrics compare. One file each, loaded by name when first asked for.

A person's own is named ``module:attribute`` (``_own``). ``features_of`` keeps what was extracted on disk.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from medzoo.errors import MedzooError
from medzoo.features._cache import features_of

if TYPE_CHECKING:
    from medzoo.features._base import Extractor as Extractor

__all__ = ["Extractor", "features_of", "is_builtin", "load", "names"]


def __getattr__(name: str) -> Any:
    """``Extractor``, the base of one's own, without importing torch before it is asked for."""
    if name != "Extractor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from medzoo.features._base import Extractor

    return Extractor


def names() -> list[str]:
    """Names of the extractors that come along."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def is_builtin(name: str) -> bool:
    """Whether ``load(name)`` runs code of this package only; what a file of others may name has to be so."""
    return name in names()


def load(name: str, **options: Any) -> Extractor:
    """The extractor of that name, its weights downloaded when they are not there yet.

    Args:
        name: one of ``names()``; or ``module:attribute``, which **imports and runs that module**: take it from the
            person at the keyboard only, never from a file.
        options: those of its constructor (``device``, ``precision``, ``batch_size``) and of its file (``variant``,
            ``resize``).

    Raises:
        MedzooError: no extractor has that name, its weights cannot be had, or an option does not fit.
    """
    if ":" in name:
        from medzoo.features._own import load_own

        return load_own(name, options)
    if not is_builtin(name):
        raise MedzooError(
            f"no feature extractor is named '{name}'; there are {', '.join(names())}, and your own as module:attribute"
        )
    extractor: Extractor = importlib.import_module(f"medzoo.features.{name}").create(**options)
    return extractor
