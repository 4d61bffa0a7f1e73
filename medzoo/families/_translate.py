"""What the families that turn one image into another share: images in, norms as published, norms folded.

The norms of the code published with CycleGAN and pix2pix: batch norm with gain, or instance norm without gain and
without running statistics (files of early versions of torch hold some nevertheless, which mean nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import ConditionError
from medzoo.families._base import Generator
from medzoo.families._condition import Given
from medzoo.nets import BatchNorm2d
from medzoo.nets.statistics import instance_norm_

NormKind = Literal["batch", "instance"]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
IMAGES = ("mask", "image", "images")  # kinds of condition

Convolution = nn.Conv2d | nn.ConvTranspose2d
Make = Callable[[Convolution, Tensor, Tensor | None], nn.Module]


class Translator(Generator):
    """No latents: ``given.images`` [B, input_nc, H, W] in [-1, 1] go in, [B, output_nc, H, W] comes out.

    Its config has ``input_nc``, ``output_nc`` and ``norm``.
    """

    kinds = IMAGES

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        return config.output_nc, None

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        return {"kind": "image", "inputs": ("image",), "channels": config.input_nc}

    @property
    def sizes(self) -> tuple[int, int]:
        """(least, multiple): heights and widths that the network takes."""
        raise NotImplementedError

    def images(self, given: Given) -> Tensor:
        """The input images. Raises ConditionError where the network cannot take them."""
        name, images, (least, multiple) = self.entry.model_id, given.images, self.sizes
        channels = self.config.input_nc
        assert images is not None  # check_given
        if images.shape[1] != channels:
            raise ConditionError(f"{name} takes images of {channels} channels, found {images.shape[1]}")
        height, width = images.shape[2:]
        if min(height, width) < least or height % multiple or width % multiple:
            wanted = f"at least {least} pixels" + (f", multiples of {multiple}" if multiple > 1 else "")
            raise ConditionError(
                f"{name} takes images whose height and width are {wanted}; found {height}x{width}. "
                "Resize them, or state 'size' in the entry's condition"
            )
        return images

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self.config.norm == "instance":  # old files carry statistics that are not used
            return {key: value for key, value in state.items() if not key.endswith(STATISTICS)}
        return state


class InstanceNorm(nn.Module):
    """Instance norm without anything learned: [n, c, h, w] of any size but one pixel."""

    eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, eps=self.eps)


def norm_layer(kind: NormKind, channels: int) -> nn.Module:
    """The norm of a published network."""
    return BatchNorm2d(channels) if kind == "batch" else InstanceNorm()


class Stage(nn.Module):
    """A convolution and the norm behind it, folded into one: running statistics go into weight and bias.

    Where each sample has its own statistics the bias of the convolution falls out, and the norm takes two passes.

    Args:
        conv: ``nn.Conv2d`` or ``nn.ConvTranspose2d``.
        norm: from :func:`norm_layer`; None for no norm.
        make: what runs it: (conv, weight, bias) -> module from map to map.
    """

    def __init__(self, conv: Convolution, norm: nn.Module | None, make: Make | None = None) -> None:
        super().__init__()
        weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
        self.per_sample = isinstance(norm, InstanceNorm) or (isinstance(norm, BatchNorm2d) and norm.stats == "sample")
        self.eps = norm.eps if isinstance(norm, InstanceNorm | BatchNorm2d) else 0.0
        if isinstance(norm, BatchNorm2d) and not self.per_sample:
            assert norm.running_mean is not None and norm.running_var is not None
            gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            bias = norm.bias + ((0.0 if bias is None else bias) - norm.running_mean) * gain
            weight = weight * (
                gain[:, None, None] if isinstance(conv, nn.ConvTranspose2d) else gain[:, None, None, None]
            )
        self.conv = (make or Plain)(conv, weight, None if self.per_sample else bias)
        self.gain: Tensor | None = None
        self.shift: Tensor | None = None
        if isinstance(norm, BatchNorm2d) and self.per_sample:
            self.gain, self.shift = norm.weight, norm.bias

    def forward(self, x: Tensor, out: Tensor | None = None, relu: bool = False) -> Tensor:
        """The normalised map, in ``out`` if given, with its negatives cut off or not."""
        y = self.conv(x)
        out = y if out is None else out
        if self.per_sample:
            instance_norm_(y, self.gain, self.shift, self.eps, out)
            return out.relu_() if relu else out
        if relu:
            return torch.clamp_min(y, 0, out=out)
        return out if out is y else out.copy_(y)


class Plain(nn.Module):
    """A convolution, or a transposed one, with another weight and bias."""

    def __init__(self, conv: Convolution, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        self.options = {"stride": conv.stride, "padding": conv.padding}
        if self.transposed:
            self.options["output_padding"] = conv.output_padding

    def forward(self, x: Tensor) -> Tensor:
        run = F.conv_transpose2d if self.transposed else F.conv2d
        return run(x, self.weight, self.bias, **self.options)
