"""Norms: by stored statistics, or by those of each sample."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.nets import BatchNorm2d
from medzoo.nets.layers._base import Misfit, Op
from medzoo.nets.layers._tensors import Tensors

Eps = Annotated[float, Field(gt=0, le=1)]


class BatchNorm(Op):
    """By the stored statistics ``key.running_mean`` and ``key.running_var``; gain and bias where the file has them.

    Attributes:
        eps: of the training code: it cannot be seen in a file.
    """

    op: ClassVar[str] = "batch_norm"
    key: str
    eps: Eps = 1e-5

    def build(self, tensors: Tensors) -> nn.Module:
        channels = tensors.shape(self.key, "running_mean")[0]
        module = _BatchNorm(channels, self.eps, affine=tensors.has(self.key))
        return tensors.fill(module, self.key)


class _BatchNorm(BatchNorm2d):
    """Of any number of dimensions."""

    def __init__(self, channels: int, eps: float, affine: bool) -> None:
        super().__init__(channels, eps=eps, affine=affine)

    def forward(self, input: Tensor) -> Tensor:
        if self.stats == "running":
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)


class InstanceNorm(Op):
    """By the statistics of each map of each sample; with gain and bias where ``key`` is stated."""

    op: ClassVar[str] = "instance_norm"
    key: str | None = None
    eps: Eps = 1e-5

    def build(self, tensors: Tensors) -> nn.Module:
        if self.key is None:
            return _Norm(None, self.eps, "instance")
        return tensors.fill(_Norm(tensors.shape(self.key), self.eps, "instance"), self.key)


class GroupNorm(Op):
    """By the statistics of groups of channels."""

    op: ClassVar[str] = "group_norm"
    groups: PositiveInt
    key: str | None = None
    eps: Eps = 1e-5

    def build(self, tensors: Tensors) -> nn.Module:
        if self.key is None:
            return _Norm(None, self.eps, "group", self.groups)
        return tensors.fill(_Norm(tensors.shape(self.key), self.eps, "group", self.groups), self.key)


class LayerNorm(Op):
    """Over the last dimensions: as many as ``key.weight`` has, or the ``dims`` stated; ``dims: 0`` for all."""

    op: ClassVar[str] = "layer_norm"
    key: str | None = None
    dims: Annotated[int, Field(ge=0)] | None = None
    eps: Eps = 1e-5

    def build(self, tensors: Tensors) -> nn.Module:
        if self.key is not None:
            shape = tensors.shape(self.key)
            module = nn.LayerNorm(shape, self.eps, bias=tensors.has(self.key, "bias"))
            return tensors.fill(module, self.key)
        if self.dims is None:
            raise Misfit("a layer norm without 'key' needs 'dims', the number of last dimensions")
        return _PlainLayerNorm(self.dims, self.eps)


class PixelNorm(Op):
    """Divided by the root mean square over the channels of each pixel."""

    op: ClassVar[str] = "pixel_norm"
    eps: Eps = 1e-8

    def build(self, tensors: Tensors) -> nn.Module:
        return _PixelNorm(self.eps)


class _Norm(nn.Module):
    def __init__(self, shape: tuple[int, ...] | None, eps: float, kind: str, groups: int = 1) -> None:
        super().__init__()
        self.eps, self.kind, self.groups = eps, kind, groups
        self.weight = None if shape is None else nn.Parameter(torch.empty(shape))
        self.bias = None if shape is None else nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "group":
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        if x.dim() < 3 or (x.shape[2:].numel() == 1):
            raise Misfit("an instance norm needs maps of more than one pixel")
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class _PlainLayerNorm(nn.Module):
    def __init__(self, count: int, eps: float) -> None:
        super().__init__()
        self.count, self.eps = count, eps

    def forward(self, x: Tensor) -> Tensor:
        count = self.count or x.dim() - 1
        if count > x.dim() - 1:
            raise Misfit(f"there are no {count} dimensions")
        return F.layer_norm(x, x.shape[-count:], eps=self.eps)


class _PixelNorm(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)


OPS = (BatchNorm, InstanceNorm, GroupNorm, LayerNorm, PixelNorm)
