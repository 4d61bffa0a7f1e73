"""VAE (Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014): a latent N(0, 1) -> the mean of an image.

Convolutional, with residual blocks and group norm. The encoder, which sampling does not need, gives the Gaussian
q(z | image): for reconstructions, and for scores of how unusual an image is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.families._autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Decoder,
    Encoder,
    infer_decoder,
    widths,
)
from medzoo.families._condition import Given
from medzoo.randomness import Noise


class Config(AutoencoderConfig):
    """The network; all of it is inferred from its weights.

    Attributes:
        width: channels of the largest map, which is half the image's size; each smaller map has twice those of the
            next, four times ``width`` at most.
        blocks: residual blocks on every map.
        channels: of the image, masks included.
        image_size: height and width in pixels, 4 or 7 times a power of two.
        classes: how many the network is conditioned on; 0 for none.
        latent: length of the latent.
    """

    latent: PositiveInt

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if self.image_size != self.start << self.downs or self.downs < 1:
            raise ValueError(f"image_size must be 4 or 7 times a power of two, found {self.image_size}")
        return self

    @property
    def start(self) -> int:
        """Size of the smallest map."""
        return 7 if self.image_size % 7 == 0 else 4

    @property
    def downs(self) -> int:
        """How often the encoder halves."""
        return (self.image_size // self.start).bit_length() - 1

    @property
    def smallest(self) -> tuple[int, int, int]:
        """Shape of the smallest map."""
        return widths(self.width, self.downs)[-1], self.start, self.start


class Network(nn.Module):
    """Latents [n, latent] and classes int64 [n] -> images [n, channels, size, size].

    Args:
        encoder: whether to have one.
    """

    def __init__(self, config: Config, encoder: bool = True) -> None:
        super().__init__()
        shape, (width, downs, blocks) = config.smallest, (config.width, config.downs, config.blocks)
        self.decoder = Decoder(config.channels, width, downs, blocks)
        self.start = nn.Sequential(nn.Linear(config.latent, math.prod(shape)), nn.Unflatten(1, shape))
        # Added to the latent: the same functions as joining it, since the next layer is linear.
        self.classes = nn.Embedding(config.classes, config.latent) if config.classes else None
        self.encoder = None
        if encoder:
            head = nn.Linear(math.prod(shape), 2 * config.latent)
            self.encoder = nn.Sequential(Encoder(config.channels, width, downs, blocks), nn.Flatten(), head)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.classes is not None and labels is not None:
            latents = latents + self.classes(labels)
        images: Tensor = self.decoder(self.start(latents))
        return images

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of q(z | image), [n, latent] each."""
        assert self.encoder is not None
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance


class VAE(Autoencoder):
    """Latents N(0, 1), and a class where the network was trained with classes."""

    Config = Config

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        if "start.0.weight" not in state:
            return {}
        found, downs = infer_decoder(state)
        out, latent = state["start.0.weight"].shape
        start = math.isqrt(out // widths(found["width"], downs)[-1])
        classes = len(state["classes.weight"]) if "classes.weight" in state else 0
        return found | {"latent": latent, "image_size": start << downs, "classes": classes}

    def build(self) -> nn.Module:
        return Network(self.config, self.encodes)

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        images: Tensor = self.network(self.latent(noise), self.labels(noise, given))
        return images

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Means float32 [n, latent] of the latents of images [n, channels + masks, H, W] in ``output.range``; of masks
        the two ends of that range. ``decode`` of them is the reconstruction. Raises GenerationError.
        """
        network = self.network
        assert isinstance(network, Network)
        return network.encode(self.images_for(images))[0].float()
