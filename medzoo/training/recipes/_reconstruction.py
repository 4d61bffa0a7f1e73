"""What the autoencoders ``vae`` and ``vqvae`` are judged by: how near their images are to those that went in."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def of_picture(made: Tensor, images: Tensor, edges: float) -> Tensor:
    """Mean absolute difference of values in [-1, 1] [n, c, h, w], and ``edges`` times that of their slopes.

    Absolute differences blur less than squares, and slopes, differences of neighbouring pixels, ask for edges.
    """
    off = made - images
    return off.abs().mean() + edges * (off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean())


def of_masks(made: Tensor, images: Tensor) -> Tensor:
    """Binary cross-entropy of logits [n, m, h, w], masks given as -1 and 1 (between the two where they were
    augmented); 0 without masks.
    """
    if not made.shape[1]:
        return made.new_zeros(())
    return F.binary_cross_entropy_with_logits(made, (images + 1) / 2)
