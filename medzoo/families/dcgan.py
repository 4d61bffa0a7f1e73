"""DCGAN (Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", ICLR 2016): transposed convolutions from a latent to an image.

One network, two layouts of state dict: that of PyTorch's tutorial (``main.*``) and that of the mammography models of
Szafranowska et al. (IWBI 2022), which hold their first layers twice (``first_layers.*``) and an ``embed_nn`` for a
class or a number that the image is conditioned on, present even where nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.nets import BatchNorm2d
from medzoo.randomness import Noise

# Largest map that the fused network grows by a matrix product: below, the weights are most of the work.
PRODUCTS = 8


class Config(FamilyConfig):
    """Arguments of the published networks; all but the leakiness are inferred from a state dict.

    Attributes:
        nz: length of the latent.
        ngf: channels of the last map before the image; each map before it has twice those of the next.
        nc: channels of the image, and one more for a conditional network, as its authors count.
        image_size: 4 or 7 times a power of two, such as 64, 128 or 224.
        conditional: whether a class or a number is embedded and joined to the latent.
        is_condition_categorical: whether that is a class (an embedding of ``n_cond`` of them) or a number.
        num_embedding_dimensions: width of the embedding of classes.
        leakiness: slope of the LeakyReLU behind the embedding.
        bias: whether the transposed convolutions have one.
        embed_nn: whether the state dict of a network without condition holds an embedding all the same.
    """

    nz: PositiveInt
    ngf: PositiveInt
    nc: PositiveInt
    image_size: Annotated[int, Field(ge=8, le=4096)]
    conditional: bool = False
    is_condition_categorical: bool = False
    n_cond: PositiveInt = 10
    num_embedding_dimensions: PositiveInt = 50
    leakiness: float = 0.1
    bias: bool = False
    embed_nn: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Config:
        size = self.image_size // (7 if self.image_size % 7 == 0 else 4)
        if self.image_size != size * (7 if self.image_size % 7 == 0 else 4) or size & (size - 1):
            raise ValueError(f"image_size must be 4 or 7 times a power of two, found {self.image_size}")
        if self.nc <= self.conditional:
            raise ValueError("nc of a conditional network counts the condition too, so it is at least 2; found 1")
        return self

    @property
    def seven(self) -> bool:
        """Whether the second map is 7 x 7, made by a convolution of stride 1, and not 8 x 8."""
        return self.image_size % 7 == 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every map from 4 x 4 on, without the image."""
        doublings = (self.image_size // (7 if self.seven else 4)).bit_length() - 1
        return tuple(self.ngf << i for i in reversed(range(doublings + self.seven)))


class DCGAN(Generator):
    """Latents N(0, 1), and a class or a number for a conditional network -> tanh.

    A conditional network draws a class for each sample where none is given, all equally likely.
    """

    Config = Config
    tolerates = (r"num_batches_tracked$", r"^first_layers\.")
    draws_attributes = True
    kinds = ("class", "attributes")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.nz,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        found = sorted(int(match[1]) for key in state if (match := re.fullmatch(r"main\.(\d+)\.weight", key)))
        places = [i for i in found if state[f"main.{i}.weight"].dim() == 4]
        convs = [state[f"main.{i}.weight"] for i in places]
        if len(convs) < 2:
            return {}
        embedding, width = _embedding(state)
        conditional = width is not None and len(convs[0]) == 2 * width
        seven = "first_layers.6.weight" in state  # three layers stand before the 14 px map only in this layout
        return embedding | {
            "nz": len(convs[0]) // (1 + conditional),
            "ngf": len(convs[-1]),
            "nc": convs[-1].shape[1] + conditional,
            "image_size": 7 << (len(convs) - 2) if seven else 4 << (len(convs) - 1),
            "conditional": conditional,
            "bias": f"main.{places[0]}.bias" in state,
            "embed_nn": width is not None and not conditional,
        }

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return config.nc - config.conditional, (config.image_size, config.image_size)

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        if not config.conditional:
            return None
        if config.is_condition_categorical:
            return {"kind": "class", "classes": tuple(map(str, range(config.n_cond))), "required": False}
        number = {"name": "condition", "low": None, "high": None, "unit": None}
        return {"kind": "attributes", "attributes": (number,), "required": False}

    def build(self) -> nn.Module:
        return Network(self.config)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        return Fused(network) if fused and self.entry.sampling.norm_stats != "sample" else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        return self.network(self.latent(noise), self._values(noise, given) if self.config.conditional else None)

    def _values(self, noise: Noise, given: Given) -> Tensor:
        """What the embedding takes: classes int64 [B], or numbers [B, 1]."""
        if given.labels is not None:
            values = given.labels.float()
        elif given.attributes is None:
            values = self._drawn(noise)
        else:
            values = given.attributes[:, 0]
            if (missing := values.isnan()).any():
                values = torch.where(missing, self._drawn(noise), values)
        return values.long() if self.config.is_condition_categorical else values.to(noise.dtype)[:, None]

    def _drawn(self, noise: Noise) -> Tensor:
        """One of the classes for each sample, [B]; a number that is conditioned on is 0 or 1, as in training."""
        declared = self.entry.condition
        classes = len(declared.classes) if declared and declared.classes else 0
        count = classes or (self.config.n_cond if self.config.is_condition_categorical else 2)
        # In float32 whatever the precision: a class must not depend on rounding.
        return (noise.on(self.device, torch.float32).uniform(()) * count).floor()


class Network(nn.Module):
    """Latents [n, nz] and values of a condition -> images [n, channels, image_size, image_size] in [-1, 1]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inp = config.nz * (1 + config.conditional)
        layers: list[nn.Module] = []
        for i, out in enumerate(config.widths):
            plain = i == 0 or (i == 1 and config.seven)  # 1 -> 4 and 4 -> 7 px
            stride, padding = (1, 0) if plain else (2, 1)
            layers.append(nn.ConvTranspose2d(inp, out, 4, stride, padding, bias=config.bias))
            layers += [BatchNorm2d(out), nn.ReLU(inplace=True)]
            inp = out
        last = nn.ConvTranspose2d(inp, config.nc - config.conditional, 4, 2, 1, bias=config.bias)
        self.main = nn.Sequential(*layers, last, nn.Tanh())
        self.embed_nn = _make_embedding(config) if config.conditional or config.embed_nn else None
        self.conditional = config.conditional

    def forward(self, z: Tensor, values: Tensor | None = None) -> Tensor:
        return self.main(_joined(z, values, self.embed_nn)[:, :, None, None])


class Fused(nn.Module):
    """The same function with stored statistics, rewritten for speed.

    Batch norm goes into the weights. The first layer is a matrix product, and so are the layers on small maps and the
    last one, whose columns are added up where they overlap.
    """

    # Bytes of the last layer's columns for a group of samples, which should stay in the cache.
    GROUP_BYTES = 2**20

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.embed_nn = network.embed_nn if network.conditional else None
        convs = [layer for layer in network.main if isinstance(layer, nn.ConvTranspose2d)]
        norms = [layer for layer in network.main if isinstance(layer, BatchNorm2d)]
        self.strides = [conv.stride[0] for conv in convs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        size = 1
        for conv, norm in zip(convs, [*norms, None], strict=True):
            weight, bias = _without_norm(conv, norm)
            product = size == 1 or (conv.stride[0] == 2 and (size <= PRODUCTS or norm is None))
            self.weights.append(nn.Parameter(_columns(weight) if product else weight, requires_grad=False))
            self.biases.append(nn.Parameter(bias.repeat(16) if size == 1 else bias, requires_grad=False))
            size = size * 2 if conv.stride[0] == 2 else size + 3

    def forward(self, z: Tensor, values: Tensor | None = None) -> Tensor:
        z = _joined(z, values, self.embed_nn)
        x = torch.addmm(self.biases[0], z, self.weights[0]).relu_().view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        for weight, bias, stride in zip(self.weights[1:-1], self.biases[1:-1], self.strides[1:-1], strict=True):
            if weight.dim() == 2:
                x = _grow(x, weight, bias).relu_()
            else:
                x = F.conv_transpose2d(x, weight, bias, stride, padding=stride - 1).relu_()
        group = len(x)
        if x.device.type == "cpu":
            group = max(1, self.GROUP_BYTES // (x[0, 0].numel() * self.weights[-1].shape[1] * x.element_size()))
        return torch.cat([_grow(part, self.weights[-1], self.biases[-1]) for part in x.split(group)]).tanh_()


def _joined(z: Tensor, values: Tensor | None, embed_nn: nn.Module | None) -> Tensor:
    """[n, nz] and what the embedding makes of the condition -> [n, 2 nz]; without a condition the latents alone."""
    return z if values is None or embed_nn is None else torch.cat([z, embed_nn(values)], dim=1)


def _without_norm(conv: nn.ConvTranspose2d, norm: BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight [in, out, 4, 4] and bias [out] of a transposed convolution and the norm behind it."""
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    if norm is None:
        return conv.weight, bias
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv.weight * gain[:, None, None], norm.bias + (bias - norm.running_mean) * gain


def _columns(weight: Tensor) -> Tensor:
    """Weight [in, out, 4, 4] of a transposed convolution -> [in, 4 * 4 * out] of a matrix product."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _grow(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Transposed convolution of stride 2 and padding 1, its weight from ``_columns``: [n, c, h, w] -> [n, out, 2h, 2w].

    Each pixel makes a block of 4 x 4; blocks lie two pixels apart, so that four of them overlap in every quarter.
    """
    n, c, h, w = x.shape
    blocks = (x.permute(0, 2, 3, 1).reshape(-1, c) @ weight).view(n, h, w, 4, 4, -1)
    out = bias.repeat(n, h + 1, 2, w + 1, 2, 1)
    for a in (0, 1):
        for b in (0, 1):
            quarter = blocks[:, :, :, 2 * a : 2 * a + 2, 2 * b : 2 * b + 2]
            out[:, a : a + h, :, b : b + w] += quarter.transpose(2, 3)
    return out.view(n, 2 * h + 2, 2 * w + 2, -1)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def _make_embedding(config: Config) -> nn.Sequential:
    """Classes int64 [n], or numbers [n, 1] -> [n, nz]."""
    activation = nn.LeakyReLU(config.leakiness)
    if not config.is_condition_categorical:
        return nn.Sequential(nn.Linear(1, config.nz), activation)
    width = config.num_embedding_dimensions
    return nn.Sequential(nn.Embedding(config.n_cond, width), nn.Linear(width, config.nz), activation)


def _embedding(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], int | None]:
    """Fields that follow from the keys of ``embed_nn``, and the length of its output; None where there is none."""
    first, second = state.get("embed_nn.0.weight"), state.get("embed_nn.1.weight")
    if first is None or first.dim() != 2:
        return {}, None
    if second is None:
        return {"is_condition_categorical": False}, len(first)
    fields = {"n_cond": first.shape[0], "num_embedding_dimensions": first.shape[1]}
    return {"is_condition_categorical": True} | fields, len(second)
