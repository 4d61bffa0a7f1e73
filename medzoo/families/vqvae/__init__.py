"""VQ-VAE (van den Oord et al., "Neural Discrete Representation Learning", NeurIPS 2017) with a prior over its codes.

An image is a grid of codes, each the index of a vector; a decoder makes the image of the vectors. To sample, a small
transformer draws the codes one after the other. The encoder, which sampling does not need, gives an image's codes.

A code is drawn where a uniform number of the sample falls into the cumulative probabilities. A rounding error there
would change the code, and with it the whole image, so the prior runs in float64, whatever the precision of the
decoder: then the error of a probability is some 1e-15, and neither batch size nor device changes a code but once in
some 10^10 samples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveFloat, PositiveInt
from medzoo.families._autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Decoder,
    Encoder,
    infer_decoder,
    widths,
)
from medzoo.families._condition import Given
from medzoo.families.vqvae.prior import Prior
from medzoo.randomness import Noise


class Config(AutoencoderConfig):
    """The network, which is inferred from its weights, and how codes are drawn.

    Attributes:
        width: channels of the largest map, which is half the image's size; each smaller map has twice those of the
            next, four times ``width`` at most.
        blocks: residual blocks on every map.
        channels: of the image, masks included.
        image_size: height and width in pixels, a multiple of 2^``downs``.
        classes: how many the network is conditioned on; 0 for none.
        downs: how often the encoder halves the image: the grid has ``image_size`` / 2^downs codes a side.
        codes: how many there are (K).
        code_dim: length of a code's vector (D).
        prior_width, prior_layers: of the transformer.
        temperature: of the prior; below 1 samples are of likelier codes, and more alike.
        top_k: draw only from so many of the likeliest codes at each place; null for all.
    """

    downs: PositiveInt
    codes: Annotated[int, Field(ge=2)]
    code_dim: PositiveInt
    prior_width: PositiveInt
    prior_layers: PositiveInt
    temperature: PositiveFloat = 1.0
    top_k: PositiveInt | None = None

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if self.image_size % (1 << self.downs):
            raise ValueError(f"image_size must be a multiple of 2^downs = {1 << self.downs}, found {self.image_size}")
        if self.prior_width > 32 and self.prior_width % 32:
            raise ValueError(f"prior_width above 32 must be a multiple of 32, found {self.prior_width}")
        return self

    @property
    def side(self) -> int:
        """Codes along each side of the grid."""
        return self.image_size >> self.downs


class Network(nn.Module):
    """Codes int64 [n, side, side] -> images [n, channels, size, size].

    Args:
        encoder: whether to have one.
    """

    def __init__(self, config: Config, encoder: bool = True) -> None:
        super().__init__()
        widest = widths(config.width, config.downs)[-1]
        shape = config.width, config.downs, config.blocks
        self.prior = Prior(config.codes, config.side**2, config.classes, config.prior_width, config.prior_layers)
        self.codebook = Codebook(config.codes, config.code_dim)
        self.start = nn.Conv2d(config.code_dim, widest, 3, padding=1)
        self.decoder = Decoder(config.channels, *shape)
        self.encoder = None
        if encoder:
            self.encoder = nn.Sequential(Encoder(config.channels, *shape), nn.Conv2d(widest, config.code_dim, 1))

    def forward(self, codes: Tensor) -> Tensor:
        return self.decode(self.codebook(codes))

    def decode(self, vectors: Tensor) -> Tensor:
        """Vectors [n, code_dim, side, side] -> images."""
        images: Tensor = self.decoder(self.start(vectors))
        return images

    def encode(self, images: Tensor) -> Tensor:
        """Images -> vectors [n, code_dim, side, side], not yet of the codebook."""
        assert self.encoder is not None
        vectors: Tensor = self.encoder(images)
        return vectors


class Codebook(nn.Module):
    """Codes int64 [n, h, w] -> their vectors [n, code_dim, h, w]. Learned by averages, not by gradients.

    Attributes:
        vectors: float [codes, code_dim].
        counts: float [codes]: how often each code was the nearest in a batch, averaged over training; 0 at the start.
    """

    vectors: Tensor
    counts: Tensor

    def __init__(self, codes: int, code_dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.randn(codes, code_dim))
        self.register_buffer("counts", torch.zeros(codes))

    def forward(self, codes: Tensor) -> Tensor:
        return self.vectors[codes].permute(0, 3, 1, 2)

    def nearest(self, vectors: Tensor) -> Tensor:
        """Codes int64 [n, h, w] whose vectors are nearest to ``vectors`` [n, code_dim, h, w]."""
        with torch.autocast(vectors.device.type, enabled=False):
            flat, own = vectors.permute(0, 2, 3, 1).float(), self.vectors.float()
            # The squared length of the vector itself is the same for all codes.
            return (own.square().sum(1) - 2 * flat @ own.T).argmin(3)


def exact(prior: Prior, device: torch.device) -> Prior:
    """A copy to draw codes with: float64, and on the CPU where the device has no such numbers."""
    where = torch.device("cpu") if device.type == "mps" else device
    return copy.deepcopy(prior).to(where, torch.float64).eval()


def draw(network: Network, prior: Prior, uniforms: Tensor, labels: Tensor | None, config: Config) -> Tensor:
    """Images [n, channels, size, size] of numbers U[0, 1) float32 [n, side * side] and classes int64 [n].

    Args:
        prior: ``exact`` of the network's.
    """
    where = prior.place.device
    labels = None if labels is None else labels.to(where)
    codes = prior.sample(uniforms.to(where), labels, config.temperature, config.top_k)
    images: Tensor = network(codes.to(uniforms.device).unflatten(1, (config.side, config.side)))
    return images


class VQVAE(Autoencoder):
    """Latents U[0, 1), one a code in reading order, and a class where the network was trained with classes.

    Images do not follow the latents smoothly: a code stays, and then jumps.
    """

    Config = Config
    tolerates = (r"^codebook\.counts$",)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.side**2,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        if "codebook.vectors" not in state:
            return {}
        found, downs = infer_decoder(state)
        codes, code_dim = state["codebook.vectors"].shape
        places, width = state["prior.place"].shape
        classes = len(state["prior.given.weight"])
        return found | {
            "image_size": math.isqrt(places) << downs,
            "classes": classes if classes > 1 else 0,
            "downs": downs,
            "codes": codes,
            "code_dim": code_dim,
            "prior_width": width,
            "prior_layers": sum(name.endswith(".attend.weight") for name in state),
        }

    def build(self) -> nn.Module:
        return Network(self.config, self.encodes)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        self.prior = exact(network.prior, self.device)
        return network

    def latent(self, noise: Noise) -> Tensor:
        """Uniform whatever the entry says, and in float32 whatever the precision: rounding would change codes."""
        return noise.on(self.device, torch.float32).latent(self.latent_shape, "uniform")

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        assert isinstance(self.network, Network)
        return draw(self.network, self.prior, self.latent(noise), self.labels(noise, given), self.config)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes int64 [n, side, side] of images [n, channels + masks, H, W] in ``output.range``; of masks the two ends
        of that range. ``reconstruct`` makes images of them. Raises GenerationError.
        """
        assert isinstance(self.network, Network)
        return self.network.codebook.nearest(self.network.encode(self.images_for(images)))

    @torch.no_grad()
    def reconstruct(self, codes: Tensor) -> Tensor:
        """Raw images float32 [n, channels + masks, H, W] of codes int64 [n, side, side]."""
        images: Tensor = self.network(codes.to(self.device))
        return images.float()
