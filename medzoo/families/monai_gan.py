"""The generator of MONAI's GAN bundles: a linear layer, then transposed convolutions and residual units.

The layout of ``monai.networks.nets.Generator`` (MONAI 1.6) for two-dimensional images, with a sigmoid after it as
the bundle ``mednist_gan`` applies it; plain torch, under the original state-dict names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise


class Config(FamilyConfig):
    """Arguments of the network, as in MONAI's bundle.

    Attributes:
        latent: length of the latent.
        start_shape: (channels, height, width) after the linear layer.
        channels, strides: of each transposed convolution.
        num_res_units: convolutions in the residual unit behind each of them.
    """

    latent: PositiveInt
    start_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    channels: tuple[PositiveInt, ...]
    strides: tuple[PositiveInt, ...]
    num_res_units: Annotated[int, Field(ge=1, le=100)] = 2

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.channels or len(self.channels) != len(self.strides):
            raise ValueError(f"needs as many strides as channels, found {len(self.strides)} and {len(self.channels)}")
        return self


class Norm(nn.Module):
    """Instance norm without gain, then PReLU with one slope."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.A(nn.functional.instance_norm(x))


class Unit(nn.Module):
    """3x3 convolution and, unless it is the very last, norm and activation."""

    def __init__(self, channels: int, last: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.adn = nn.Identity() if last else Norm()

    def forward(self, x: Tensor) -> Tensor:
        return self.adn(self.conv(x))


class Residual(nn.Module):
    """x + units(x)."""

    def __init__(self, channels: int, units: int, last: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for i in range(units):
            self.conv.add_module(f"unit{i}", Unit(channels, last and i == units - 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Up(nn.Module):
    """3x3 transposed convolution that multiplies height and width by the stride."""

    def __init__(self, inp: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inp, out, 3, stride, padding=1, output_padding=stride - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Network(nn.Module):
    """Latent [n, latent] -> [n, channels[-1], h, w], unbounded."""

    def __init__(
        self,
        latent: int,
        start_shape: tuple[int, int, int],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        num_res_units: int,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(latent, start_shape[0] * start_shape[1] * start_shape[2])
        self.start = nn.Unflatten(1, start_shape)
        self.conv = nn.Sequential()
        inp = start_shape[0]
        for i, (out, stride) in enumerate(zip(channels, strides, strict=True)):
            last = i == len(channels) - 1
            layer = nn.Sequential(Up(inp, out, stride), Residual(out, num_res_units, last))
            self.conv.add_module(f"layer_{i}", layer)
            inp = out

    def forward(self, z: Tensor) -> Tensor:
        return self.conv(self.start(self.linear(z)))


class MonaiGan(Generator):
    """Latents -> sigmoid(network)."""

    Config = Config
    Network = Network

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """All but the strides, taking the first map as square."""
        linear = state.get("linear.weight")
        ups = [state[key] for i in range(len(state)) if (key := f"conv.layer_{i}.0.conv.weight") in state]
        if linear is None or linear.dim() != 2 or not ups:
            return {}
        side = math.isqrt(linear.shape[0] // ups[0].shape[0])
        units = sum(key.startswith("conv.layer_0.1.conv.unit") and key.endswith("conv.weight") for key in state)
        return {
            "latent": linear.shape[1], "start_shape": (ups[0].shape[0], side, side),
            "channels": tuple(up.shape[1] for up in ups), "num_res_units": units,
        }  # fmt: skip

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        factor = math.prod(config.strides)
        return config.channels[-1], (config.start_shape[1] * factor, config.start_shape[2] * factor)

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        return torch.sigmoid(self.network(self.latent(noise)))
