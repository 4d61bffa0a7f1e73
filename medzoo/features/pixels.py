"""The pixels themselves, averaged down to 32 x 32: 3072 features in [0, 1], no network and no weights.

What distances look like without any network in between: blind to meaning, sensitive to place and brightness. Grey
images count three times, so that they can be compared with colour ones.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from medzoo.features._base import Extractor

SIZE = 32


class Pixels(Extractor):
    """Features float32 [n, 3072]: [3, 32, 32] in [0, 1], channels first."""

    name = "pixels"
    dim = 3 * SIZE * SIZE
    size = SIZE
    resize = "area"
    cheap = True


def create(**options: Any) -> Pixels:
    """The extractor; ``precision`` is always float32, for nothing is computed."""
    return Pixels(nn.Flatten(), **(options | {"precision": "float32"}))
