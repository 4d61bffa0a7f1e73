"""How far the generator is from images it never saw, which chooses snapshots; and pictures for a person to look at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo import __version__
from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.features import load
from medzoo.metrics._gaussian import frechet_distance
from medzoo.metrics.kernel import polynomial_mmd
from medzoo.png import encode_png
from medzoo.randomness import Noise


class HeldOut:
    """Frechet distance and KID of EfficientNet-Lite0 features to held-out images.

    Args:
        held: the held-out images, two or more. With fewer of them than features (1280) the Frechet distance is
            biased upward; KID is not, and decides.
        device: a torch device name.

    Raises:
        TrainingError: too few images.
        MedzooError: the features' weights are not installed.
    """

    def __init__(self, held: Images, device: str = "cpu") -> None:
        if len(held) < 2:
            raise TrainingError(f"two or more held-out images are needed, found {len(held)}; try --no-held-out")
        self.extract = load("efficientnet_lite0", device=device)
        self.features = self.extract(held.images)

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, float]:
        """``fd`` and ``kid`` of generated images uint8 [n, c, h, w]."""
        features = self.extract(images)
        return {
            "fd": frechet_distance(self.features, features),
            "kid": polynomial_mmd(self.features.astype(np.float64), features.astype(np.float64)),
        }


@torch.inference_mode()
def sample(
    network: Network, n: int, seed: int, colours: int, device: torch.device, batch: int = 32
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Images uint8 [n, c, h, w] and masks uint8 [n, 1, h, w] of 0 and 1 (None without mask channels).

    The noise is the zoo's own: these are samples 0 to n - 1 of ``seed`` that ``medzoo generate`` would make.
    """
    parts = []
    for start in range(0, n, batch):
        noise = Noise(seed, range(start, min(n, start + batch)), device)
        latent = noise.latent((network.nz,))
        maps = [noise.normal(shape) for shape in noise_shapes(network.im_size)]
        parts.append(network(latent, maps).float().cpu())
    raw = torch.cat(parts).add(1).mul(127.5).clamp(0, 255)
    images = raw[:, :colours].round().to(torch.uint8).numpy()
    masks = (raw[:, colours:] > 127.5).to(torch.uint8).numpy()
    return images, masks if masks.shape[1] else None


def grid(images: NDArray[np.uint8], masks: NDArray[np.uint8] | None, columns: int = 8) -> bytes:
    """PNG of a contact sheet, each mask to the right of its image."""
    if masks is not None:
        images = np.concatenate([images, masks.repeat(images.shape[1], axis=1) * np.uint8(255)], axis=3)
    n, c, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * h, columns * w, c), np.uint8)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        sheet[row * h : (row + 1) * h, column * w : (column + 1) * w] = image.transpose(1, 2, 0)
    made = "Synthetic images made during training; they show no patient. Not for clinical use."
    return encode_png(sheet, {"Description": made, "Software": f"medzoo {__version__}"})
