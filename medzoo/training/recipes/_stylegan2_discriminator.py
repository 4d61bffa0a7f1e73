"""The residual discriminator of StyleGAN2 (Karras et al., CVPR 2020), with the classes of StyleGAN2-ADA (NeurIPS 2020).

Every weight is N(0, 1) and divided by sqrt(fan in) when run (equalised learning rate), every activation a leaky ReLU
times sqrt(2). What regularisation remembers (see ``Discriminator``) are buffers, so that it survives a run that was
cut.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families.stylegan2.network import SLOPE, TAPS, Linear, activate, filter_of, normalize

GROUP = 4  # images that share a standard deviation
EPS = 1e-8
MAPPING_LAYERS, MAPPING_RATE = 8, 0.01  # of the classes


class Discriminator(nn.Module):
    """Images [n, nc, size, size] and classes int64 [n] -> logits [n, 1].

    With classes a logit is the product of the image's features with those of its class; where no class is given it is
    the mean over all of them.

    Attributes:
        slope: the last R1 penalty.
        path: running mean of the generator's path lengths.

    Args:
        widths: channels at 4, 8, ... up to ``size`` px.
        nc: channels, masks included.
        classes: how many; 0 for none.
    """

    slope: Tensor
    path: Tensor

    def __init__(self, widths: list[int], nc: int, classes: int) -> None:
        super().__init__()
        self.stem = Conv(nc, widths[-1], 1)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(Block(inp, out) for out, inp in reversed(pairs))
        self.conv = Conv(widths[0] + 1, widths[0], 3)
        self.fc = linear(16 * widths[0], widths[0])
        self.logit = linear(widths[0], widths[0] if classes else 1)
        self.classes = Classes(classes, widths[0]) if classes else None
        self.register_buffer("slope", torch.zeros(()))
        self.register_buffer("path", torch.zeros(()))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        x = self.conv(with_deviation(x))
        x = self.logit(activate(self.fc(x.flatten(1))))
        if self.classes is None:
            return x
        known = self.classes()
        own = known.mean(0) if labels is None else known[labels]
        return (x * own).sum(1, keepdim=True) / math.sqrt(x.shape[1])


class Block(nn.Module):
    """[n, inp, h, h] -> [n, out, h / 2, h / 2], with a shortcut."""

    fir: Tensor

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.conv0 = Conv(inp, inp, 3)
        self.conv1 = Conv(inp, out, 3, stride=2, gain=math.sqrt(0.5))
        self.skip = Conv(inp, out, 1, stride=2, gain=math.sqrt(0.5), plain=True)
        self.register_buffer("fir", filter_of(TAPS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        around = self.skip(filtered(x, self.fir, padding=1))
        return self.conv1(filtered(self.conv0(x), self.fir, padding=2)) + around


class Conv(nn.Module):
    """Convolution and activation; with stride 2 it halves a map that a filter has widened.

    Args:
        gain: of the output, beside the sqrt(2) of an activation; both go into the weights.
        plain: neither bias nor activation.
    """

    def __init__(
        self, inp: int, out: int, kernel: int, stride: int = 1, gain: float = 1.0, *, plain: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2 if stride == 1 else 0
        self.gain = gain * (1 if plain else math.sqrt(2))
        self.weight_gain = self.gain / math.sqrt(inp * kernel**2)
        self.weight = nn.Parameter(torch.randn(out, inp, kernel, kernel))
        self.bias = None if plain else nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        if self.bias is None:
            return F.conv2d(x, weight, None, self.stride, self.padding)
        return F.leaky_relu(F.conv2d(x, weight, self.bias * self.gain, self.stride, self.padding), SLOPE)


class Classes(nn.Module):
    """Features [classes, width] of every class."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embed = linear(classes, width)
        self.layers = nn.ModuleList(linear(width, width, MAPPING_RATE) for _ in range(MAPPING_LAYERS))

    def forward(self) -> Tensor:
        x = normalize(self.embed(torch.eye(self.embed.weight.shape[1]).to(self.embed.weight)))
        for layer in self.layers:
            x = activate(layer(x))
        return x


def linear(inp: int, out: int, rate: float = 1.0) -> Linear:
    """The generator's linear layer with start values."""
    layer = Linear(inp, out, rate)
    nn.init.normal_(layer.weight, 0.0, 1 / rate)
    return layer


def filtered(x: Tensor, fir: Tensor, padding: int) -> Tensor:
    """Every channel of [n, c, h, w] by a filter [k, k]."""
    return F.conv2d(x, fir.expand(x.shape[1], 1, -1, -1), padding=padding, groups=x.shape[1])


def with_deviation(x: Tensor) -> Tensor:
    """[n, c, h, w] -> [n, c + 1, h, w]: the last is how much a group of images differs (Karras et al., ICLR 2018).

    The standard deviation over the group, averaged over channels and places. Groups are of four images, or of as many
    as divide n.
    """
    n, c, h, w = x.shape
    size = next(k for k in range(min(GROUP, n), 0, -1) if n % k == 0)
    groups = x.float().reshape(size, n // size, c, h, w)
    deviation = (groups.var(0, correction=0) + EPS).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, 1, h, w).to(x)], 1)
