"""The U-Net of diffusion models (Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021;
Dhariwal and Nichol, "Diffusion models beat GANs on image synthesis", NeurIPS 2021).

Names and shapes are those of their code (github openai/improved-diffusion and guided-diffusion), whose checkpoints many
medical models are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import count
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt, Record


class Shape(Record):
    """In the words of the published code; ``infer_config`` finds all but ``num_heads``, ``groups`` and ``max_period``.

    Attributes:
        model_channels: width at full size, and length of the code of the time step.
        channel_mult: width of each level, half the size of the one before, in units of ``model_channels``.
        num_res_blocks: residual blocks of a level on the way down; one more on the way up.
        attention_resolutions: how many times smaller than the image the maps with attention are.
        use_scale_shift_norm: the code scales and shifts the second norm of a block, instead of an addition before it.
        num_classes: classes whose code is added to that of the time step; null for none.
        num_heads, groups: heads of the attention, groups of the norms.
        num_head_channels: channels of a head, instead of their number.
        max_period: steps after which the slowest wave of the code comes back.
        dropout: of training; nothing is dropped here.
        conv_resample: sizes change by convolutions, as in all published models.
    """

    in_channels: PositiveInt
    out_channels: PositiveInt
    model_channels: Annotated[int, Field(ge=2, multiple_of=2)]
    channel_mult: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=16)]
    num_res_blocks: Annotated[int, Field(ge=1, le=100)]
    attention_resolutions: tuple[PositiveInt, ...]
    use_scale_shift_norm: bool = False
    num_classes: PositiveInt | None = None
    num_heads: PositiveInt = 1
    num_head_channels: PositiveInt | None = None
    groups: PositiveInt = 32
    max_period: Annotated[float, Field(gt=1)] = 10000.0
    dropout: float = 0.0
    conv_resample: Literal[True] = True

    @model_validator(mode="after")
    def _divides(self) -> Shape:
        for mult in self.channel_mult:
            width = mult * self.model_channels
            if width % self.groups or width % (self.num_head_channels or self.num_heads):
                raise ValueError(f"a width of {width} channels cannot be split among the groups or heads")
        return self


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of ``Shape`` that follow from a state dict; empty for another network."""
    code, first, last = (state.get(f"{name}.weight") for name in ("time_embed.0", "input_blocks.0.0", "out.2"))
    if code is None or first is None or last is None or code.dim() != 2 or first.dim() != 4:
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
    classes = state.get("label_emb.weight")
    return {
        "in_channels": first.shape[1], "out_channels": last.shape[0], "model_channels": width,
        "num_res_blocks": len(levels[0]), "channel_mult": tuple(max(1, level[-1] // width) for level in levels),
        "attention_resolutions": tuple(sorted(set(attention))),
        "use_scale_shift_norm": shift is not None and shift.shape[0] == 2 * levels[0][0],
        "num_classes": None if classes is None else classes.shape[0],
    }  # fmt: skip


def wave_code(values: Tensor, length: int, max_period: float) -> Tensor:
    """Numbers [n] -> cosines, then sines, of ``length / 2`` waves whose periods grow up to ``max_period``."""
    half = length // 2
    rates = torch.exp(torch.arange(half, device=values.device, dtype=torch.float32) * (-math.log(max_period) / half))
    angles = values.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Block(nn.Module):
    """Residual block that also sees the code of the time step: [n, inp, h, w] -> [n, out, h, w]."""

    def __init__(self, inp: int, out: int, shape: Shape) -> None:
        super().__init__()
        groups, self.scales = shape.groups, shape.use_scale_shift_norm
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, inp), nn.SiLU(), nn.Conv2d(inp, out, 3, padding=1))
        code = nn.Linear(4 * shape.model_channels, 2 * out if self.scales else out)
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

    def __init__(self, channels: int, shape: Shape) -> None:
        super().__init__()
        self.heads = channels // shape.num_head_channels if shape.num_head_channels else shape.num_heads
        self.norm = nn.GroupNorm(shape.groups, channels)
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


class First(nn.Conv2d):
    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class Chain(nn.Sequential):
    """Layers that see the code of the time step, too."""

    def forward(self, x: Tensor, code: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, code)
        return x


class UNet(nn.Module):
    """Maps [n, in_channels, h, w], time steps [n] and classes int64 [n] -> [n, out_channels, h, w]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        length = shape.model_channels
        self.time_embed = nn.Sequential(nn.Linear(length, 4 * length), nn.SiLU(), nn.Linear(4 * length, 4 * length))
        if shape.num_classes is not None:
            self.label_emb = nn.Embedding(shape.num_classes, 4 * length)
        widths = [length * mult for mult in shape.channel_mult]
        width, stack = widths[0], [widths[0]]
        self.input_blocks = nn.ModuleList([Chain(First(shape.in_channels, width, 3, padding=1))])
        for level, wider in enumerate(widths):
            for _ in range(shape.num_res_blocks):
                self.input_blocks.append(self.stage(width, wider, level))
                width = wider
                stack.append(width)
            if level < len(widths) - 1:
                self.input_blocks.append(Chain(Down(width)))
                stack.append(width)
        self.middle_block = Chain(Block(width, width, shape), Attention(width, shape), Block(width, width, shape))
        self.output_blocks = nn.ModuleList()
        for level, narrower in reversed(list(enumerate(widths))):
            for i in range(shape.num_res_blocks + 1):
                stage = self.stage(width + stack.pop(), narrower, level)
                width = narrower
                if level and i == shape.num_res_blocks:
                    stage.append(Up(width))
                self.output_blocks.append(stage)
        self.out = nn.Sequential(
            nn.GroupNorm(shape.groups, width), nn.SiLU(), nn.Conv2d(width, shape.out_channels, 3, padding=1)
        )

    def stage(self, inp: int, out: int, level: int) -> Chain:
        attention = 2**level in self.shape.attention_resolutions
        return Chain(Block(inp, out, self.shape), *([Attention(out, self.shape)] if attention else []))

    def forward(self, x: Tensor, numbers: Tensor, labels: Tensor | None = None) -> Tensor:
        waves = wave_code(numbers, self.shape.model_channels, self.shape.max_period)
        code = self.time_embed(waves.to(x.dtype))
        if labels is not None:
            code = code + self.label_emb(labels)
        maps = []
        for block in self.input_blocks:
            x = block(x, code)
            maps.append(x)
        x = self.middle_block(x, code)
        for block in self.output_blocks:
            x = block(torch.cat([x, maps.pop()], dim=1), code)
        return self.out(x)
