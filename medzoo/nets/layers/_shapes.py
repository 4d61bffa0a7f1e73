"""Layers that move numbers: shapes, sizes, padding, pooling. Dimensions are counted without the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveFloat, PositiveInt
from medzoo.nets.layers._base import Function, Misfit, Op, dims, floating
from medzoo.nets.layers._products import Amount, Amounts, Each
from medzoo.nets.layers._tensors import Tensors

Scale = PositiveFloat | tuple[PositiveFloat, ...]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class View(Op):
    """To another shape; one number may be -1."""

    op: ClassVar[str] = "view"
    shape: tuple[Annotated[int, Field(ge=-1)], ...]

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: x.reshape(len(x), *self.shape))


class Flatten(Op):
    """To one dimension, from dimension ``first`` on."""

    op: ClassVar[str] = "flatten"
    first: Amount = 0

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: x.flatten(dims(x, self.first)) if x.dim() > 1 else x[:, None])


class Permute(Op):
    """The dimensions in another order, for example [2, 0, 1] for height, width, channels."""

    op: ClassVar[str] = "permute"
    order: tuple[Amount, ...]

    def build(self, tensors: Tensors) -> nn.Module:
        def permuted(x: Tensor) -> Tensor:
            if sorted(self.order) != list(range(x.dim() - 1)):
                raise Misfit(f"order must hold the numbers 0 to {x.dim() - 2}, found {list(self.order)}")
            return x.permute(0, *(i + 1 for i in self.order))

        return Function(permuted)


class Tokens(Op):
    """A map [C, height, width] -> tokens [height * width, C], row by row."""

    op: ClassVar[str] = "tokens"

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: x.flatten(2).transpose(1, 2))


class Map(Op):
    """Tokens [N, C] -> a map [C, *size]."""

    op: ClassVar[str] = "map"
    size: tuple[PositiveInt, ...]

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: x.transpose(1, 2).unflatten(2, self.size))


class Expand(Op):
    """[C] -> a map [C, *size] with the same numbers everywhere."""

    op: ClassVar[str] = "expand"
    size: tuple[PositiveInt, ...]

    def build(self, tensors: Tensors) -> nn.Module:
        ones = (1,) * len(self.size)
        return Function(lambda x: x.reshape(*x.shape[:2], *ones).expand(*x.shape[:2], *self.size))


class Slice(Op):
    """A part of one dimension: ``start`` to before ``stop``, null for the end."""

    op: ClassVar[str] = "slice"
    dim: int = 0
    start: int = 0
    stop: int | None = None

    def build(self, tensors: Tensors) -> nn.Module:
        def part(x: Tensor) -> Tensor:
            dim = dims(x, self.dim)
            kept = range(x.shape[dim])[self.start : self.stop]
            if not kept:
                raise Misfit(f"nothing is left of dimension {self.dim}, which has {x.shape[dim]}")
            return x.narrow(dim, kept.start, len(kept))

        return Function(part)


class Pad(Op):
    """Around height and width (and depth): one number for all sides, or [left, right, top, bottom, ...] as torch's."""

    op: ClassVar[str] = "pad"
    by: int | tuple[int, ...]
    mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    value: float = 0.0

    def build(self, tensors: Tensors) -> nn.Module:
        def padded(x: Tensor) -> Tensor:
            by = (self.by,) * (2 * (x.dim() - 2)) if isinstance(self.by, int) else self.by
            if self.mode == "zeros":
                return F.pad(x, by, value=self.value)
            return F.pad(x, by, mode=self.mode)

        return Function(padded)


class Crop(Op):
    """The middle of a map, of height and width ``size``."""

    op: ClassVar[str] = "crop"
    size: tuple[PositiveInt, ...]

    def build(self, tensors: Tensors) -> nn.Module:
        def cropped(x: Tensor) -> Tensor:
            for dim, size in zip(range(-len(self.size), 0), self.size, strict=True):
                if size > x.shape[dim]:
                    raise Misfit(f"size {list(self.size)} is larger than the map")
                x = x.narrow(dim, (x.shape[dim] - size) // 2, size)
            return x

        return Function(cropped)


class Upsample(Op):
    """To ``size``, or ``scale`` times as large.

    Attributes:
        mode: ``linear`` is bilinear for images, trilinear for volumes; corners of pixels are aligned (torch's
            ``align_corners=False``) unless ``corners`` says otherwise.
    """

    op: ClassVar[str] = "upsample"
    scale: Scale | None = None
    size: tuple[PositiveInt, ...] | None = None
    mode: Literal["nearest", "linear", "bilinear", "trilinear", "bicubic", "area"] = "nearest"
    corners: bool = False
    antialias: bool = False

    def build(self, tensors: Tensors) -> nn.Module:
        if (self.scale is None) == (self.size is None):
            raise Misfit("upsample needs one of 'scale' and 'size'")
        return UpsampleModule(self)


class UpsampleModule(nn.Module):
    """``F.interpolate``."""

    def __init__(self, layer: Upsample) -> None:
        super().__init__()
        self.layer = layer

    @property
    def doubles(self) -> bool:
        """Whether each pixel becomes 2 x 2 of the same."""
        return self.layer.mode == "nearest" and self.layer.scale in (2, 2.0, (2, 2), (2.0, 2.0))

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        linear = layer.mode not in ("nearest", "area")
        mode = LINEAR.get(x.dim() - 2, "linear") if layer.mode == "linear" else layer.mode
        return F.interpolate(
            x, size=layer.size, scale_factor=layer.scale, mode=mode, align_corners=layer.corners if linear else None,
            antialias=layer.antialias,
        )  # fmt: skip


class PixelShuffle(Op):
    """Channels to pixels: [C * factor^2, h, w] -> [C, h * factor, w * factor]."""

    op: ClassVar[str] = "pixel_shuffle"
    factor: PositiveInt

    def build(self, tensors: Tensors) -> nn.Module:
        return nn.PixelShuffle(self.factor)


class PixelUnshuffle(Op):
    """Pixels to channels: the inverse of ``pixel_shuffle``."""

    op: ClassVar[str] = "pixel_unshuffle"
    factor: PositiveInt

    def build(self, tensors: Tensors) -> nn.Module:
        return nn.PixelUnshuffle(self.factor)


class _Windows(Op):
    """What pooling by windows has; ``stride`` null for that of the kernel."""

    pools: ClassVar[tuple[Callable[..., Tensor], ...]]
    kernel: Each
    stride: Each | None = None
    padding: Amounts = 0

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: _of(self.pools, x)(x, self.kernel, self.stride, self.padding))


class MaxPool(_Windows):
    """The largest of each window; ``stride`` null for that of the kernel."""

    op: ClassVar[str] = "max_pool"
    pools: ClassVar = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


class AvgPool(_Windows):
    """The mean of each window; zeros of the padding count, as torch counts them."""

    op: ClassVar[str] = "avg_pool"
    pools: ClassVar = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


class AdaptivePool(Op):
    """The mean of windows that give a map of ``size``."""

    op: ClassVar[str] = "adaptive_avg_pool"
    size: Each

    def build(self, tensors: Tensors) -> nn.Module:
        pools = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
        return Function(lambda x: _of(pools, x)(x, self.size))


class OneHot(Op):
    """Whole numbers [...] -> [..., classes] with a one at each; numbers below 0 give zeros alone."""

    op: ClassVar[str] = "one_hot"
    classes: PositiveInt

    def build(self, tensors: Tensors) -> nn.Module:
        def hot(x: Tensor) -> Tensor:
            if x.is_floating_point():
                raise Misfit("one_hot takes whole numbers, such as classes: put {op: use, value: label} before it")
            places = torch.arange(self.classes, device=x.device)
            return (x[..., None] == places).to(torch.get_default_dtype())

        return Function(hot)


class Argmax(Op):
    """The channel with the largest number, as a map of one channel: 0, 1, 2, ..."""

    op: ClassVar[str] = "argmax"

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: floating(x.argmax(1, keepdim=True)))


class MinMax(Op):
    """Each sample scaled so that its least number is 0 and its largest 1."""

    op: ClassVar[str] = "min_max"

    def build(self, tensors: Tensors) -> nn.Module:
        def scaled(x: Tensor) -> Tensor:
            over = tuple(range(1, x.dim()))
            low, high = x.amin(over, keepdim=True), x.amax(over, keepdim=True)
            return (x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)

        return Function(scaled)


def _of(pools: tuple[Callable[..., Tensor], ...], x: Tensor) -> Callable[..., Tensor]:
    if not 3 <= x.dim() <= 5:
        raise Misfit("pooling needs a map")
    return pools[x.dim() - 3]


OPS = (
    View, Flatten, Permute, Tokens, Map, Expand, Slice, Pad, Crop, Upsample, PixelShuffle, PixelUnshuffle, MaxPool,
    AvgPool, AdaptivePool, OneHot, Argmax, MinMax,
)  # fmt: skip
