"""medzoo: generators of medical images behind one ``generate``.

    import medzoo
    samples = medzoo.generate("00101", 16)      # Samples: images float32 [16, 1, 64, 64] in [0, 1]

Synthetic images for research; not for clinical use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medzoo.bench import benchmark
    from medzoo.entry import Entry
    from medzoo.errors import MedzooError
    from medzoo.lookup import list_models, search
    from medzoo.samples import Samples
    from medzoo.zoo import generate, info, load, stream

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "MedzooError",
    "Samples",
    "benchmark",
    "generate",
    "info",
    "list_models",
    "load",
    "search",
    "stream",
]

# Where each public name lives. It is imported when it is first used: a listing must not wait for torch.
_HOMES = {
    "Entry": "medzoo.entry",
    "MedzooError": "medzoo.errors",
    "Samples": "medzoo.samples",
    "benchmark": "medzoo.bench",
    "generate": "medzoo.zoo",
    "info": "medzoo.zoo",
    "list_models": "medzoo.lookup",
    "load": "medzoo.zoo",
    "search": "medzoo.lookup",
    "stream": "medzoo.zoo",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medzoo' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
