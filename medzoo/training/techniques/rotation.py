"""SS-GAN: the discriminator also says by how much an image was turned (Chen et al., CVPR 2019).

That keeps it from forgetting what images look like. It learns turns of real images, the generator makes images whose
turns it can name. The head is one linear layer on the features that the logits are made from.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import TrainingError
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._penultimate import Head


class RotationOptions(Options):
    """What a configuration may state.

    Attributes:
        discriminator: weight of the cross-entropy on real images, beta in the paper.
        generator: weight of that on generated images, alpha in the paper.
        share: of a batch that is turned, into all four directions: with 1/4, as published, each turned batch is as
            large as the batch.
    """

    discriminator: Annotated[float, Field(ge=0)] = 1.0
    generator: Annotated[float, Field(ge=0)] = 0.2
    share: Annotated[float, Field(gt=0, le=1)] = 0.25


class Rotation(Technique[RotationOptions]):
    """Images are turned before augmentation, since some augmentations turn images themselves."""

    Options = RotationOptions
    head: Head

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.head = Head(discriminator, "rotation", 4)

    def loss_d(self, view: StepView) -> Tensor:
        return self.options.discriminator * self.cross_entropy(view, view.real)

    def loss_g(self, view: StepView) -> Tensor:
        return self.options.generator * self.cross_entropy(view, view.fake)

    def cross_entropy(self, view: StepView, images: Tensor) -> Tensor:
        """Of the four turns, for a share of the images [n, c, s, s]; a scalar."""
        images, turns = turned(images[: max(1, round(self.options.share * len(images)))])
        return F.cross_entropy(self.head(view.discriminate, images), turns)


def turned(images: Tensor) -> tuple[Tensor, Tensor]:
    """All four turns [4n, c, s, s] of images, and by how many quarters counter-clockwise int64 [4n].

    Raises:
        TrainingError: the images are not square.
    """
    if images.shape[2] != images.shape[3]:
        raise TrainingError(f"rotation: images must be square, found {images.shape[2]} x {images.shape[3]}")
    turns = torch.arange(4, device=images.device).repeat_interleave(len(images))
    return torch.cat([torch.rot90(images, quarters, (2, 3)) for quarters in range(4)]), turns


TECHNIQUE = Rotation
