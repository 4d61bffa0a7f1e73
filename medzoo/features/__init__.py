"""Feature extractors: images -> vectors that metrics compare. One file each, loaded by name when first asked for.

A new one is an ``Extractor`` and a function ``create`` that returns it. A person's own, outside of this folder, is
named ``module:attribute``. ``features_of`` keeps what was extracted on disk.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from medzoo.errors import MedzooError
from medzoo.features._cache import features_of
from medzoo.lazy import exports
from medzoo.plugins import Folder

if TYPE_CHECKING:
    from medzoo.features._base import Extractor as Extractor
    from medzoo.features._base import normalised as normalised
    from medzoo.features._resize import Resize as Resize

__all__ = ["Extractor", "Resize", "features_of", "is_builtin", "load", "names", "normalised"]


_FOLDER = Folder[Any](
    __name__, "feature extractor", lambda module: module.create, callable, hint=", and your own as module:attribute"
)


__getattr__, __dir__ = exports(
    __name__,
    {"Extractor": f"{__name__}._base", "Resize": f"{__name__}._resize", "normalised": f"{__name__}._base"},
)


def names() -> list[str]:
    """Names of the extractors that come along."""
    return _FOLDER.builtin()


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
        MedzooError: no extractor has that name, its weights are not available, it has no such variant, or an option
            does not fit.
    """
    if ":" in name:
        from medzoo.features._own import load_own

        return load_own(name, options)
    create = _FOLDER.load(name)
    if "variant" in options and "variant" not in inspect.signature(create).parameters:
        raise MedzooError(f"features '{name}' have no variants; leave '{options['variant']}' out")
    extractor: Extractor = create(**options)
    return extractor
