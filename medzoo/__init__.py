"""medzoo: generators of medical images behind one ``generate``.

    import medzoo
    samples = medzoo.generate("00101", 16)      # Samples: images float32 [16, 1, 64, 64] in [0, 1]

Synthetic images for research; not for clinical use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.bench import benchmark
    from medzoo.catalog.lookup import list_models, search
    from medzoo.checking import check
    from medzoo.entry import Entry
    from medzoo.errors import MedzooError
    from medzoo.publishing import publish
    from medzoo.samples import Samples
    from medzoo.training import train
    from medzoo.zoo import generate, info, load, stream
    from medzoo.zoo.into import generate_into
    from medzoo.zoo.walking import interpolate

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "MedzooError",
    "Samples",
    "benchmark",
    "check",
    "generate",
    "generate_into",
    "info",
    "interpolate",
    "list_models",
    "load",
    "publish",
    "search",
    "stream",
    "train",
]

# Where each public name lives. It is imported when it is first used: a listing must not wait for torch.
_HOMES = {
    "Entry": "medzoo.entry",
    "MedzooError": "medzoo.errors",
    "Samples": "medzoo.samples",
    "benchmark": "medzoo.bench",
    "check": "medzoo.checking",
    "generate": "medzoo.zoo",
    "generate_into": "medzoo.zoo.into",
    "info": "medzoo.zoo",
    "interpolate": "medzoo.zoo.walking",
    "list_models": "medzoo.catalog.lookup",
    "load": "medzoo.zoo",
    "publish": "medzoo.publishing",
    "search": "medzoo.catalog.lookup",
    "stream": "medzoo.zoo",
    "train": "medzoo.training",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
