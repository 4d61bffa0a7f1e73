"""What a snapshot is measured by: how far it is from images it never saw, and how far it over-fits those it did.

Also pictures for a person to look at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo import __version__
from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.features import load
from medzoo.files.png import encode_png
from medzoo.metrics._gaussian import frechet_distance
from medzoo.metrics.kernel import polynomial_mmd
from medzoo.metrics.masks import mask_gap, mask_statistics
from medzoo.metrics.near_copies import CLOSE, nearest_pixels, small_pixels
from medzoo.metrics.spectrum import spectrum_gap
from medzoo.randomness import Noise
from medzoo.training.recipes import Recipe
from medzoo.training.volumes import slices

Pixels = NDArray[np.uint8]
JUDGED = 256  # real images of each kind whose logits are taken


class HeldOut:
    """Distances of generated images to held-out ones.

    Args:
        held: the held-out images, two or more. With fewer of them than features (1280) the Frechet distance is
            biased upward; KID is not, and decides.
        device: a torch device name.
        training: the images that are learned, to find near copies of; None leaves those out, and so do volumes.

    Raises:
        TrainingError: too few images.
        MedzooError: the features' weights are not installed.
    """

    def __init__(self, held: Images, device: str = "cpu", training: Images | None = None) -> None:
        if len(held) < 2:
            raise TrainingError(f"two or more held-out images are needed, found {len(held)}; try --no-held-out")
        self.held = held
        self.extract = load("efficientnet_lite0", device=device)
        self.features = self.extract(held.images)
        pictures = training is not None and training.images.ndim == 4
        self.training = small_pixels(training.images) if pictures and training is not None else None

    def __call__(self, images: Pixels, masks: Pixels | None = None) -> dict[str, float]:
        """Of generated images uint8 [n, c, h, w] and masks uint8 [n, 1, h, w].

        ``fd``, ``kid``: of EfficientNet-Lite0 features. ``spectrum_gap``: of the power spectra. ``near_copies``: share
        of images that are near copies of a training image. With masks ``mask_gap``: distance of mask statistics;
        ``mask_border``, ``mask_empty``: shares of masks at the border, and without a foreground pixel.
        """
        features = self.extract(images)
        scores = {
            "fd": frechet_distance(self.features, features),
            "kid": polynomial_mmd(self.features.astype(np.float64), features.astype(np.float64)),
            "spectrum_gap": spectrum_gap(self.held.images, images)[0],
        }
        if self.training is not None:
            scores["near_copies"] = float((nearest_pixels(small_pixels(images), self.training).ratios < CLOSE).mean())
        if masks is not None and self.held.masks is not None:
            scores |= of_masks(self.held.masks, masks)
        return scores


def of_masks(real: Pixels, fake: Pixels) -> dict[str, float]:
    """Numbers of masks uint8 [n, 1, h, w]; nan where all generated ones are empty."""
    statistics = mask_statistics(fake)
    border, empty = statistics["border"], statistics["empty"]
    known = border[~np.isnan(border)]
    return {
        "mask_gap": mask_gap(real, fake) if len(known) else float("nan"),
        "mask_border": float(known.mean()) if len(known) else float("nan"),
        "mask_empty": float(empty.mean()),
    }


def of_discriminator(train: Tensor, held: Tensor, fake: Tensor) -> dict[str, float]:
    """How well the discriminator knows its training images, from the logits [n] of three kinds of images.

    ``r_t``: mean sign of the logits of training images (Karras et al., 2020): near 1 it has learned them by heart.
    ``r_v``: (E[D train] - E[D held out]) / (E[D train] - E[D generated]): 0 without over-fitting, 1 where held-out
    images look generated to it. ``d_gap``: E[D train] - E[D held out].
    """
    gap, reach = (float(train.mean() - other.mean()) for other in (held, fake))
    return {"r_t": float(train.sign().mean()), "r_v": gap / reach if reach else 0.0, "d_gap": gap}


@torch.inference_mode()
def sample(
    recipe: Recipe[Any], network: nn.Module, n: int, seed: int, device: torch.device, batch: int = 32
) -> tuple[Pixels, Pixels | None]:
    """Images uint8 [n, c, h, w] and masks uint8 [n, 1, h, w] of 0 and 1 (None without mask channels).

    The noise is the zoo's own: these are samples 0 to n - 1 of ``seed`` that ``medzoo generate`` would make. Of volumes
    they are slices, three of each (``volumes.slices``).
    """
    parts = []
    for start in range(0, n, batch):
        noise = Noise(seed, range(start, min(n, start + batch)), device)
        parts.append(recipe.images(network, recipe.zoo_inputs(noise))[0].float().cpu())
    raw = torch.cat(parts).add(1).mul(127.5).clamp(0, 255)
    if raw.dim() == 5:
        raw = slices(raw)
    colours = recipe.facts.colours
    images = raw[:, :colours].round().to(torch.uint8).numpy()
    masks = (raw[:, colours:] > 127.5).to(torch.uint8).numpy()
    return images, masks if masks.shape[1] else None


def sheet(images: Pixels, masks: Pixels | None, columns: int = 8) -> Pixels:
    """A contact sheet uint8 [h, w, c], each mask to the right of its image."""
    if masks is not None:
        images = np.concatenate([images, masks.repeat(images.shape[1], axis=1) * np.uint8(255)], axis=3)
    n, c, h, w = images.shape
    rows = -(-n // columns)
    drawn = np.zeros((rows * h, columns * w, c), np.uint8)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        drawn[row * h : (row + 1) * h, column * w : (column + 1) * w] = image.transpose(1, 2, 0)
    return drawn


def png(pixels: Pixels) -> bytes:
    """Pixels [h, w, c] -> a PNG file that says what it is."""
    made = "Synthetic images made during training; they show no patient. Not for clinical use."
    return encode_png(pixels, {"Description": made, "Software": f"medzoo {__version__}"})
