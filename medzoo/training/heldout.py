"""How far the generator is from images it never saw: the numbers by which snapshots are chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medzoo.datasets import Images
from medzoo.features import load
from medzoo.metrics.frechet import frechet_distance
from medzoo.metrics.kernel import polynomial_mmd


class HeldOut:
    """Frechet distance and KID of EfficientNet-Lite0 features to held-out images.

    Args:
        held: the held-out images. With fewer of them than features (1280) the Frechet distance is biased upward;
            KID is not, and decides.
    """

    def __init__(self, held: Images) -> None:
        self.extract = load("efficientnet_lite0")
        self.features = self.extract(held.images)

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, float]:
        """``fd`` and ``kid`` of generated images uint8 [n, c, h, w]."""
        features = self.extract(images)
        return {
            "fd": frechet_distance(self.features, features),
            "kid": polynomial_mmd(self.features.astype(np.float64), features.astype(np.float64)),
        }
