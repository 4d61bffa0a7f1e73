"""From an entry to its weights on this disk: downloaded, verified, converted once, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.weights.fetching import HubText as HubText
    from medzoo.weights.fetching import Weights as Weights
    from medzoo.weights.fetching import fetch as fetch
    from medzoo.weights.fetching import fetch_source as fetch_source
    from medzoo.weights.fetching import fetch_text as fetch_text
    from medzoo.weights.fetching import is_available_offline as is_available_offline
    from medzoo.weights.fetching import network_is_off as network_is_off
    from medzoo.weights.parts import as_text as as_text
    from medzoo.weights.parts import joined as joined
    from medzoo.weights.parts import joint_sha256 as joint_sha256
    from medzoo.weights.sources import Patience as Patience

_FETCHING = ("HubText", "Weights", "fetch", "fetch_source", "fetch_text", "is_available_offline", "network_is_off")
_PARTS = ("as_text", "joined", "joint_sha256")
__getattr__, __dir__ = exports(
    __name__,
    dict.fromkeys(_FETCHING, f"{__name__}.fetching")
    | dict.fromkeys(_PARTS, f"{__name__}.parts")
    | {"Patience": f"{__name__}.sources"},
)
