"""Convolutional encoder and decoder of the autoencoders ``vae`` and ``vqvae``.

Strided 4x4 convolutions halve or double a map (van den Oord et al., NeurIPS 2017, section 4.1), residual blocks in
between keep it (He et al., ECCV 2016, figure 4e). Group norm (Wu and He, ECCV 2018) instead of batch norm: no image
sees another, in training as in sampling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.errors import GenerationError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise

WIDEST = 4  # times the width of the first map


class AutoencoderConfig(FamilyConfig):
    """What both families state; each says what it means, since its own text is what people read."""

    width: PositiveInt
    blocks: Annotated[int, Field(ge=0)] = 1
    channels: PositiveInt
    image_size: Annotated[int, Field(ge=8, le=1024)]
    classes: Annotated[int, Field(ge=0)] = 0


class Autoencoder(Generator):
    """What the generators of both families share: their encoder, which weights may lack, and their classes."""

    kinds = ("class",)
    # Whether the weights hold the encoder.
    encodes = True

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return config.channels, (config.image_size, config.image_size)

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        if not config.classes:
            return None
        return {"kind": "class", "classes": tuple(map(str, range(config.classes))), "required": False}

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.encodes = any(name.startswith("encoder.") for name in state)
        return state

    def images_for(self, images: Tensor) -> Tensor:
        """Images as the encoder takes them. Raises GenerationError where there is no encoder, or the shape is wrong."""
        wanted = (self.config.channels, self.config.image_size, self.config.image_size)
        if not self.encodes:
            raise GenerationError(f"{self.entry.model_id}: its weights hold no encoder, so it takes in no images")
        if not isinstance(images, Tensor) or tuple(images.shape[1:]) != wanted:
            found = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise GenerationError(
                f"{self.entry.model_id}: encode takes a tensor [n, {', '.join(map(str, wanted))}] of images and masks "
                f"in the range of the entry's output, found {found}"
            )
        return images.to(self.device, self.dtype)

    def labels(self, noise: Noise, given: Given) -> Tensor | None:
        """Classes int64 [B]: those given, or one for each sample from its own noise; None for a network without."""
        if not self.config.classes or given.labels is not None:
            return given.labels if self.config.classes else None
        return torch.from_numpy(noise.classes(self.config.classes)).to(self.device)


class Encoder(nn.Module):
    """Images [n, channels, s, s] -> maps [n, widths(...)[-1], s / 2^downs, s / 2^downs], normalised and activated."""

    def __init__(self, channels: int, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out in widths(width, downs):
            layers += [nn.Conv2d(channels, out, 4, 2, 1), *(Residual(out) for _ in range(blocks))]
            channels = out
        self.layers = nn.Sequential(*layers, norm(channels), nn.SiLU())

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images)
        return maps


class Decoder(nn.Module):
    """The inverse of :class:`Encoder`: maps -> images, without a bound on their values."""

    def __init__(self, channels: int, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inp, *rest = widths(width, downs)[::-1]
        for out in rest:
            layers += [*(Residual(inp) for _ in range(blocks)), nn.ConvTranspose2d(inp, out, 4, 2, 1)]
            inp = out
        layers += [*(Residual(inp) for _ in range(blocks)), norm(inp), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(inp, channels, 4, 2, 1))

    def forward(self, maps: Tensor) -> Tensor:
        images: Tensor = self.layers(maps)
        return images


class Residual(nn.Module):
    """[n, c, h, w] -> the same shape: norm, activation, 3x3 convolution, twice, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


def widths(width: int, downs: int) -> list[int]:
    """Channels of every map, the largest first."""
    return [width * min(1 << i, WIDEST) for i in range(downs)]


def norm(width: int) -> nn.GroupNorm:
    """Eight groups, or fewer, so that each has four channels at least: a group of one forgets how bright its map is."""
    return nn.GroupNorm(math.gcd(8, width, max(1, width // 4)), width)


def infer_decoder(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], int]:
    """Fields ``width``, ``blocks`` and ``channels`` that a state dict shows, and how often its decoder doubles.

    Raises IndexError where it is of another network.
    """
    found = {int(match[1]): key for key in state if (match := re.fullmatch(r"decoder\.layers\.(\d+)\.weight", key))}
    ups = [state[key] for _, key in sorted(found.items()) if state[key].dim() == 4]
    residuals = sum(bool(re.fullmatch(r"decoder\.layers\.\d+\.conv1\.weight", key)) for key in state)
    width, channels = ups[-1].shape[:2]
    return {"width": width, "blocks": residuals // len(ups), "channels": channels}, len(ups)
