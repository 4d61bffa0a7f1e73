"""Layers that multiply: linear, convolutions, embeddings, attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.nets.layers._base import Misfit, Op, floating
from medzoo.nets.layers._tensors import Tensors

Each = PositiveInt | tuple[PositiveInt, ...]
Amount = Annotated[int, Field(ge=0)]
Amounts = Amount | tuple[Amount, ...]
CONV: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[type[nn.Module], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Linear(Op):
    """``key.weight`` [out, in] and ``key.bias`` if it is there, over the last dimension."""

    op: ClassVar[str] = "linear"
    key: str

    def build(self, tensors: Tensors) -> nn.Module:
        shape = tensors.shape(self.key)
        if len(shape) != 2:
            raise Misfit(f"a linear layer needs a weight [out, in], the file has {list(shape)}")
        module = _Linear(shape[1], shape[0], bias=tensors.has(self.key, "bias"))
        return tensors.fill(module, self.key)


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(floating(input).to(self.weight.dtype))


class Conv(Op):
    """``key.weight`` [out, in / groups, k, ...]: as many dimensions as the weight has; fields and defaults of torch."""

    op: ClassVar[str] = "conv"
    key: str
    stride: Each = 1
    padding: Amounts | Literal["same"] = 0
    dilation: Each = 1
    groups: PositiveInt = 1
    mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"

    def build(self, tensors: Tensors) -> nn.Module:
        shape = tensors.shape(self.key)
        _check_dims(shape)
        make = CONV[len(shape) - 3]
        module = make(
            shape[1] * self.groups, shape[0], shape[2:], self.stride, self.padding, self.dilation, self.groups,
            bias=tensors.has(self.key, "bias"), padding_mode=self.mode,
        )  # fmt: skip
        return tensors.fill(module, self.key)


class ConvTranspose(Op):
    """``key.weight`` [in, out / groups, k, ...]; fields and defaults of torch."""

    op: ClassVar[str] = "conv_transpose"
    key: str
    stride: Each = 1
    padding: Amounts = 0
    output_padding: Amounts = 0
    dilation: Each = 1
    groups: PositiveInt = 1

    def build(self, tensors: Tensors) -> nn.Module:
        shape = tensors.shape(self.key)
        _check_dims(shape)
        make = TRANSPOSED[len(shape) - 3]
        module = make(
            shape[0], shape[1] * self.groups, shape[2:], self.stride, self.padding, self.output_padding, self.groups,
            tensors.has(self.key, "bias"), self.dilation,
        )  # fmt: skip
        return tensors.fill(module, self.key, across=1)


class Embedding(Op):
    """Whole numbers [...] -> rows of ``key.weight`` [count, width]; numbers below 0 get row ``none``."""

    op: ClassVar[str] = "embedding"
    key: str
    none: Amount | None = None

    def build(self, tensors: Tensors) -> nn.Module:
        shape = tensors.shape(self.key)
        if len(shape) != 2 or (self.none or 0) >= shape[0]:
            raise Misfit(f"an embedding needs a weight [count, width] and none below count, the file has {list(shape)}")
        return tensors.fill(_Embedding(*shape, self.none), self.key)


class _Embedding(nn.Embedding):
    def __init__(self, count: int, width: int, none: int | None) -> None:
        super().__init__(count, width)
        self.none = none

    def forward(self, input: Tensor) -> Tensor:
        if input.is_floating_point():
            raise Misfit("an embedding takes whole numbers, such as classes: put {op: use, value: label} before it")
        return super().forward(input if self.none is None else input.where(input >= 0, self.none))


class Attention(Op):
    """Self-attention over tokens [N, C], or over the positions of a map [C, ...]; no residual.

    Packed as torch's ``MultiheadAttention`` (``key.in_proj_weight``, ``key.out_proj``), or with layers of their own:
    ``query``, ``attend`` (the keys), ``value`` and ``out``, linear or 1 x 1 convolutions.

    Attributes:
        scaled: whether products are divided by the root of the width of a head.
    """

    op: ClassVar[str] = "attention"
    key: str | None = None
    heads: PositiveInt = 1
    query: str | None = None
    attend: str | None = None
    value: str | None = None
    out: str | None = None
    scaled: bool = True

    def build(self, tensors: Tensors) -> nn.Module:
        if self.key is not None:
            width = tensors.shape(self.key, "in_proj_weight")[1]
            has_bias = tensors.has(self.key, "in_proj_bias")
            packed = nn.MultiheadAttention(width, self.heads, bias=has_bias, batch_first=True)
            return _Packed(tensors.fill(packed, self.key))
        if self.query is None or self.attend is None or self.value is None:
            raise Misfit("attention needs 'key' (packed), or 'query', 'attend' and 'value'")
        parts = {"query": self.query, "attend": self.attend, "value": self.value, "out": self.out}
        made = {name: _product(tensors, key) for name, key in parts.items() if key is not None}
        return _Attention(made, self.heads, self.scaled)


class _Packed(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        attention = self.attention
        assert isinstance(attention, nn.MultiheadAttention)
        tokens, back = _tokens(x)
        mixed = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
        query, attend, value = mixed.chunk(3, dim=-1)
        attended = _attend(query, attend, value, attention.num_heads, True)
        return back(attention.out_proj(attended))


class _Attention(nn.Module):
    def __init__(self, parts: dict[str, nn.Module], heads: int, scaled: bool) -> None:
        super().__init__()
        self.parts, self.heads, self.scaled = nn.ModuleDict(parts), heads, scaled

    def forward(self, x: Tensor) -> Tensor:
        tokens, back = _tokens(x)
        query, attend, value = (self.parts[name](tokens) for name in ("query", "attend", "value"))
        attended = _attend(query, attend, value, self.heads, self.scaled)
        return back(self.parts["out"](attended) if "out" in self.parts else attended)


class _Product(nn.Module):
    """A linear layer whose weight may be that of a 1 x 1 convolution."""

    def __init__(self, shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0])) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


def _product(tensors: Tensors, key: str) -> nn.Module:
    shape = tensors.shape(key)
    if len(shape) < 2 or math.prod(shape[2:]) != 1:
        raise Misfit(f"'{key}' must be linear or a 1 x 1 convolution, the file has {list(shape)}")
    return tensors.fill(_Product(shape, tensors.has(key, "bias")), key)


def _tokens(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """[B, N, C] as it is, a map [B, C, ...] as [B, N, C]; and the way back."""
    if x.dim() == 3:
        return x, lambda tokens: tokens
    if x.dim() < 3:
        raise Misfit("attention needs tokens [N, C] or a map [C, height, width]")
    size = x.shape[2:]
    return x.flatten(2).transpose(1, 2), lambda tokens: tokens.transpose(1, 2).unflatten(2, size)


def _attend(query: Tensor, attend: Tensor, value: Tensor, heads: int, scaled: bool) -> Tensor:
    if query.shape[-1] % heads or value.shape[-1] % heads:
        raise Misfit(f"{query.shape[-1]} channels do not divide into {heads} heads")
    query, attend, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, attend, value))
    attended = F.scaled_dot_product_attention(query, attend, value, scale=None if scaled else 1.0)
    return attended.transpose(1, 2).flatten(2)


def _check_dims(shape: tuple[int, ...]) -> None:
    if not 3 <= len(shape) <= 5:
        raise Misfit(f"a convolution needs a weight of 3 to 5 dimensions, the file has {list(shape)}")


OPS = (Linear, Conv, ConvTranspose, Embedding, Attention)
