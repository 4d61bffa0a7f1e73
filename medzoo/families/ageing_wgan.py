"""Cardiac ageing (Campello et al., "Cardiac aging synthesis from cross-sectional data with conditional generative
adversarial networks", Frontiers in Cardiovascular Medicine 2022).

The generator of a conditional WGAN-GP: a slice of the heart and a signed number of years become a map of changes that
is added to the slice. The network is the U-Net of Dhariwal and Nichol ("Diffusion models beat GANs on image
synthesis", NeurIPS 2021) with the years where that has the time step. Names and shapes are those of the code that the
first author published (github vicmancr/CardiacAging at fcdd6e3, configuration ``attention_full_0_1``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import count
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import ConditionError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families._statistics import group_norm
from medzoo.families._winograd import Winograd
from medzoo.nets import fold_upsampling
from medzoo.randomness import Noise

Positive = Annotated[int, Field(ge=1)]


class Config(FamilyConfig):
    """In the words of the published configuration; the state dict tells all but the last three.

    Attributes:
        n_channels: of the image.
        model_channels: width at full size, and length of the code of the years.
        channel_mult: width of each level, half the size of the one before, in units of ``model_channels``.
        num_res_blocks: residual blocks of a level on the way down; one more on the way up.
        attention_resolutions: how many times smaller than the image the maps with attention are.
        use_scale_shift_norm: the years scale and shift the second norm of a block, instead of an addition before it.
        embedding_max_period: years after which the slowest wave of their code comes back.
        num_groups_GN, num_heads: groups of the norms, heads of the attention.
    """

    n_channels: Positive
    model_channels: Annotated[int, Field(ge=2, multiple_of=2)]
    channel_mult: Annotated[tuple[Positive, ...], Field(min_length=1)]
    num_res_blocks: Positive
    attention_resolutions: tuple[Positive, ...]
    use_scale_shift_norm: bool
    embedding_max_period: Annotated[float, Field(gt=1)] = 100.0
    num_groups_GN: Positive = 32
    num_heads: Positive = 1


class AgeingWGAN(Generator):
    """Slice in [0, 1] and years to add -> slice, about [0, 1], unbounded."""

    Config = Config

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        code, first = state.get("time_embed.0.weight"), state.get("input_blocks.0.0.weight")
        if code is None or first is None or code.dim() != 2 or first.dim() != 4:
            return {}
        levels: list[list[int]] = [[]]  # widths of the blocks of each
        attention = []
        for i in count(1):
            block = state.get(f"input_blocks.{i}.0.in_layers.2.weight")
            if block is not None:
                levels[-1].append(block.shape[0])
                if f"input_blocks.{i}.1.qkv.weight" in state:
                    attention.append(2 ** (len(levels) - 1))
            elif f"input_blocks.{i}.0.op.weight" in state:
                levels.append([])
            else:
                break
        if not all(levels):
            return {}
        shift, width = state.get("input_blocks.1.0.emb_layers.1.weight"), code.shape[1]
        return {
            "n_channels": first.shape[1], "model_channels": width, "num_res_blocks": len(levels[0]),
            "channel_mult": tuple(max(1, level[-1] // width) for level in levels),
            "attention_resolutions": tuple(sorted(set(attention))),
            "use_scale_shift_norm": shift is not None and shift.shape[0] == 2 * levels[0][0],
        }  # fmt: skip

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        return config.n_channels, None

    @classmethod
    def condition(cls, config: Any) -> dict[str, Any] | None:
        years = {"name": "age_offset", "low": None, "high": None, "unit": "years"}
        return {
            "kind": "image", "inputs": ("image",), "channels": config.n_channels, "range": (0.0, 1.0),
            "attributes": [years],
        }  # fmt: skip

    def build(self) -> nn.Module:
        return Network(self.config, self.config.n_channels)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        return fuse(network) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        name, images, years = self.entry.model_id, given.images, given.attributes
        if images is None or years is None or years.shape[1] != 1:
            raise ConditionError(f"{name} needs an image and one number, the years to add to its age")
        multiple = 2 ** (len(self.config.channel_mult) - 1)
        if images.shape[2] % multiple or images.shape[3] % multiple:
            raise ConditionError(
                f"{name}: height and width of the input image must be multiples of {multiple}, "
                f"found {images.shape[2]} x {images.shape[3]}"
            )
        return images + self.network(images, years[:, 0])


def wave_code(values: Tensor, length: int, max_period: float) -> Tensor:
    """Numbers [n] -> cosines, then sines, of ``length / 2`` waves whose periods grow up to ``max_period``."""
    half = length // 2
    rates = torch.exp(torch.arange(half, device=values.device, dtype=torch.float32) * (-math.log(max_period) / half))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Residual block that also sees the code of the years: [n, inp, h, w] -> [n, out, h, w]."""

    def __init__(self, inp: int, out: int, config: Config) -> None:
        super().__init__()
        groups, self.scales = config.num_groups_GN, config.use_scale_shift_norm
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, inp), nn.SiLU(), nn.Conv2d(inp, out, 3, padding=1))
        code = nn.Linear(4 * config.model_channels, 2 * out if self.scales else out)
        self.emb_layers = nn.Sequential(nn.SiLU(), code)
        last = nn.Conv2d(out, out, 3, padding=1)
        self.out_layers = nn.Sequential(nn.GroupNorm(groups, out), nn.SiLU(), nn.Identity(), last)
        self.skip_connection = nn.Identity() if inp == out else nn.Conv2d(inp, out, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        inner = self.in_layers(x)
        code = self.emb_layers(code)[:, :, None, None]
        if self.scales:
            scale, shift = code.chunk(2, dim=1)
            inner = self.out_layers[1:](self.out_layers[0](inner) * (1 + scale) + shift)
        else:
            inner = self.out_layers(inner + code)
        return self.skip_connection(x) + inner


class Attention(nn.Module):
    """Self-attention over all pixels; query, key and value of a head lie together."""

    def __init__(self, channels: int, config: Config) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.norm = nn.GroupNorm(config.num_groups_GN, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        parts = pointwise(self.qkv, self.norm(x).flatten(2)).view(
            n, self.heads, 3, channels // self.heads, height * width
        )
        query, key, value = parts.transpose(3, 4).unbind(2)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        return x + pointwise(self.proj_out, seen.reshape(n, channels, -1)).view(x.shape)


def pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of width 1, [n, inp, length] -> [n, out, length], as the matrix product that it is."""
    assert conv.bias is not None
    return conv.weight[:, :, 0] @ x + conv.bias[:, None]


class Down(nn.Module):
    """Half the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.op(x)


class Up(nn.Module):
    """Twice the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class FusedUp(nn.Module):
    """The same in one transposed convolution."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.weight = nn.Parameter(fold_upsampling(up.conv.weight.detach()), requires_grad=False)
        self.bias = up.conv.bias

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)


class First(nn.Conv2d):
    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class Chain(nn.Sequential):
    """Layers that see the code of the years, too."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, code)
        return x


class Network(nn.Module):
    """Image [n, n_channels, h, w] and numbers [n] -> [n, out, h, w]: what changes."""

    def __init__(self, config: Config, out: int) -> None:
        super().__init__()
        self.config = config
        length = config.model_channels
        self.time_embed = nn.Sequential(nn.Linear(length, 4 * length), nn.SiLU(), nn.Linear(4 * length, 4 * length))
        widths = [length * mult for mult in config.channel_mult]
        width, stack = widths[0], [widths[0]]
        self.input_blocks = nn.ModuleList([Chain(First(config.n_channels, width, 3, padding=1))])
        for level, wider in enumerate(widths):
            for _ in range(config.num_res_blocks):
                self.input_blocks.append(self.stage(width, wider, level))
                width = wider
                stack.append(width)
            if level < len(widths) - 1:
                self.input_blocks.append(Chain(Down(width)))
                stack.append(width)
        self.middle_block = Chain(Block(width, width, config), Attention(width, config), Block(width, width, config))
        self.output_blocks = nn.ModuleList()
        for level, narrower in reversed(list(enumerate(widths))):
            for i in range(config.num_res_blocks + 1):
                stage = self.stage(width + stack.pop(), narrower, level)
                width = narrower
                if level and i == config.num_res_blocks:
                    stage.append(Up(width))
                self.output_blocks.append(stage)
        self.out = nn.Sequential(
            nn.GroupNorm(config.num_groups_GN, width), nn.SiLU(), nn.Conv2d(width, out, 3, padding=1)
        )

    def stage(self, inp: int, out: int, level: int) -> Chain:
        attention = 2**level in self.config.attention_resolutions
        return Chain(Block(inp, out, self.config), *([Attention(out, self.config)] if attention else []))

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        waves = wave_code(numbers, self.config.model_channels, self.config.embedding_max_period)
        code = self.time_embed(waves.to(x.dtype))
        maps = []
        for block in self.input_blocks:
            x = block(x, code)
            maps.append(x)
        x = self.middle_block(x, code)
        for block in self.output_blocks:
            x = block(torch.cat([x, maps.pop()], dim=1), code)
        return self.out(x)


class FusedNorm(nn.Module):
    """Group norm."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps, self.weight, self.bias = norm.num_groups, norm.eps, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.groups, self.weight, self.bias, self.eps)


def fuse(network: nn.Module) -> nn.Module:
    """Fewer products in the wide convolutions and in those behind an enlargement."""
    for name, module in list(network.named_modules()):
        parent, _, last = name.rpartition(".")
        if isinstance(module, Up):
            setattr(network.get_submodule(parent), last, FusedUp(module))
        elif re.search(r"(in_layers\.2|out_layers\.3)$", name):
            assert isinstance(module, nn.Conv2d)
            setattr(network.get_submodule(parent), last, Winograd(module.weight, module.bias, padding=1))
        elif isinstance(module, nn.GroupNorm):
            setattr(network.get_submodule(parent), last, FusedNorm(module))
        elif isinstance(module, nn.SiLU) and "emb" not in name:  # all blocks share the code of the years
            module.inplace = True
    return network
