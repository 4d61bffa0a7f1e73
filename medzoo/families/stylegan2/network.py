"""The StyleGAN2 generator as its authors run it, in plain torch; see ``stylegan2``.

In train mode a batch shares one convolution, in eval mode every sample has weights of its own: the same images but for
rounding. The published code does likewise, for speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families.stylegan2.config import Architecture, Config

NoiseMode = Literal["const", "random", "none"]

EPS = 1e-8
SLOPE = 0.2  # of every leaky ReLU, whose output is multiplied by sqrt(2)
TAPS = (1.0, 3.0, 3.0, 1.0)


class Linear(nn.Module):
    """Linear layer with equalised learning rate: weight / sqrt(in) and bias, both times the rate multiplier."""

    def __init__(self, inp: int, out: int, rate: float = 1.0) -> None:
        super().__init__()
        self.weight_gain, self.bias_gain = rate / math.sqrt(inp), rate
        self.weight = nn.Parameter(torch.zeros(out, inp))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class MappingNetwork(nn.Module):
    """Latents [B, z_dim] and classes [B, c_dim] -> w [B, w_dim]."""

    w_avg: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.c_dim:
            self.embed = Linear(config.c_dim, config.embedding())
        inp = config.z_dim + config.embedding()
        self.layers = len(config.mapping_widths())
        for i, out in enumerate(config.mapping_widths()):
            self.add_module(f"fc{i}", Linear(inp, out, config.mapping_kwargs.lr_multiplier))
            inp = out
        self.register_buffer("w_avg", torch.full((config.w_dim,), torch.nan))  # NaN: not in the file

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        x = normalize(z)
        if c is not None:
            x = torch.cat([x, normalize(self.embed(c))], dim=1)
        for i in range(self.layers):
            x = activate(self.get_submodule(f"fc{i}")(x))
        return x


class Layer(nn.Module):
    """Modulated 3x3 convolution, twice the size with ``up``, then noise, bias and activation.

    Args:
        inp, out: channels.
        size: height and width of the output.
    """

    noise_const: Tensor
    resample_filter: Tensor
    noise_mode: NoiseMode = "const"

    def __init__(self, config: Config, inp: int, out: int, size: int, up: bool) -> None:
        super().__init__()
        self.size, self.up, self.clamp = size, up, config.synthesis_kwargs.conv_clamp
        self.noisy = config.noisy()
        self.affine = Linear(config.w_dim, inp)
        self.weight = nn.Parameter(torch.zeros(out, inp, 3, 3))
        if self.noisy:
            self.register_buffer("noise_const", torch.full((size, size), torch.nan))  # NaN: not in the file
            self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out))
        self.register_buffer("resample_filter", filter_of(config.taps() if up else TAPS))  # stored even where unused

    def forward(self, x: Tensor, w: Tensor, draw: Tensor | None, gain: float = 1.0) -> Tensor:
        """[B, inp, h, h] and w [B, w_dim] -> [B, out, size, size]; ``draw`` is the noise where it is random."""
        convolve = modulated_together if self.training else modulated
        x = convolve(x, self.weight, self.affine(w), self.resample_filter if self.up else None)
        if self.noisy and self.noise_mode != "none":
            x = x + (self.noise_const if draw is None else draw) * self.noise_strength
        x = activate(x + self.bias[:, None, None], gain)
        return x if self.clamp is None else x.clamp(-self.clamp * gain, self.clamp * gain)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the image, neither demodulated nor activated."""

    def __init__(self, config: Config, inp: int) -> None:
        super().__init__()
        self.clamp = config.synthesis_kwargs.conv_clamp
        self.affine = Linear(config.w_dim, inp)
        self.weight = nn.Parameter(torch.zeros(config.img_channels, inp, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) / math.sqrt(x.shape[1])
        convolve = modulated_together if self.training else modulated
        x = convolve(x, self.weight, styles, None, demodulate=False) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Skip(nn.Module):
    """Shortcut around the two layers of a block of architecture ``resnet``: 1x1 convolution and x2."""

    resample_filter: Tensor

    def __init__(self, config: Config, inp: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, inp, 1, 1))
        self.register_buffer("resample_filter", filter_of(config.taps()))

    def forward(self, x: Tensor, gain: float) -> Tensor:
        return upsample(F.conv2d(x, self.weight / math.sqrt(x.shape[1])), self.resample_filter) * gain


class Block(nn.Module):
    """All layers of one resolution; the first starts from a learned constant."""

    resample_filter: Tensor

    def __init__(self, config: Config, inp: int, out: int, size: int, architecture: Architecture) -> None:
        super().__init__()
        if inp:
            self.conv0 = Layer(config, inp, out, size, up=True)
        else:
            self.const = nn.Parameter(torch.zeros(out, size, size))
        self.first = not inp
        self.conv1 = Layer(config, out, out, size, up=False)
        self.rgb = architecture == "skip" or size == config.img_resolution
        if self.rgb:
            self.torgb = ToRGB(config, out)
        self.resnet = architecture == "resnet" and not self.first
        if self.resnet:
            self.skip = Skip(config, inp, out)
        self.register_buffer("resample_filter", filter_of(config.taps()))

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, draws: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Features, the image so far, the ws and draws of this block -> features and image."""
        if x is None:
            x = self.conv1(self.const.expand(len(ws), -1, -1, -1), ws[:, 0], draws[0])
        else:
            gain = math.sqrt(0.5) if self.resnet else 1.0
            around = self.skip(x, gain) if self.resnet else None
            x = self.conv1(self.conv0(x, ws[:, 0], draws[0]), ws[:, 1], draws[1], gain)
            x = x if around is None else around + x
            image = None if image is None else upsample(image, self.resample_filter)
        if self.rgb:
            own = self.torgb(x, ws[:, 1 if self.first else 2])
            image = own if image is None else image + own
        return x, image


class Synthesis(nn.Module):
    """ws [B, num_ws, w_dim] and the random noise of each layer (or nothing) -> images [B, C, H, W], unbounded."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        architecture = config.synthesis_kwargs.architecture or config.architecture or "skip"
        self.sizes, inp = config.resolutions(), 0
        for size, out in zip(self.sizes, config.widths(), strict=True):
            self.add_module(f"b{size}", Block(config, inp, out, size, architecture))
            inp = out

    def forward(self, ws: Tensor, draws: Sequence[Tensor]) -> Tensor:
        every: Sequence[Tensor | None] = draws or [None] * (2 * len(self.sizes) - 1)
        x: Tensor | None = None
        image: Tensor | None = None
        for i, size in enumerate(self.sizes):
            first = max(0, 2 * i - 1)  # the last w of a block is also the first of the next
            x, image = self.get_submodule(f"b{size}")(x, image, ws[:, first : first + 3], every[first : first + 2])
        assert image is not None
        return image


class Network(nn.Module):
    """The two halves of the generator."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.synthesis = Synthesis(config)
        self.mapping = MappingNetwork(config)


def normalize(x: Tensor) -> Tensor:
    """Each row divided by its root mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPS)


def activate(x: Tensor, gain: float = 1.0) -> Tensor:
    return F.leaky_relu(x, SLOPE) * (math.sqrt(2) * gain)


def modulated(x: Tensor, weight: Tensor, styles: Tensor, fir: Tensor | None, demodulate: bool = True) -> Tensor:
    """Convolution with the weights of each sample (CVPR 2020, equations 1 and 3): [B, inp, h, w] -> [B, out, ...].

    Args:
        weight: [out, inp, k, k].
        styles: [B, inp], the scale of each input channel.
        fir: filter of a convolution that doubles the size; None keeps it.
    """
    count, inp, height, width = x.shape
    own = weight * styles[:, None, :, None, None]
    if demodulate:
        own = own * torch.rsqrt(own.square().sum((2, 3, 4), keepdim=True) + EPS)
    x = x.reshape(1, count * inp, height, width)  # the samples side by side, a group each
    if fir is None:
        x = F.conv2d(x, own.flatten(0, 1), padding=weight.shape[2] // 2, groups=count)
    else:
        x = F.conv_transpose2d(x, own.transpose(1, 2).flatten(0, 1), stride=2, groups=count)
    x = x.reshape(count, len(weight), *x.shape[2:])
    return x if fir is None else after_up(x, fir)


def modulated_together(
    x: Tensor, weight: Tensor, styles: Tensor, fir: Tensor | None, demodulate: bool = True
) -> Tensor:
    """The same with the styles on the input channels and the demodulation on the output channels, so that a batch
    shares the weights: less to do, forward and backward.
    """
    x = x * styles[:, :, None, None]
    if fir is None:
        x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
    else:
        x = after_up(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), fir)
    if not demodulate:
        return x
    with torch.autocast(x.device.type, enabled=False):  # sums of squares, in float32
        norms = styles.float().square() @ weight.square().sum((2, 3)).t()
    return x * torch.rsqrt(norms + EPS)[:, :, None, None].to(x)


def after_up(x: Tensor, fir: Tensor) -> Tensor:
    """The filter behind a transposed convolution, which gives one row and column too many."""
    kernel = fir_kernel(fir).flip(0, 1).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, padding=kernel.shape[2] // 2 - 1, groups=x.shape[1])


def upsample(x: Tensor, fir: Tensor) -> Tensor:
    """Twice the height and width: zeros in between, then the filter."""
    kernel = fir_kernel(fir).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=kernel.shape[2] // 2 - 1, groups=x.shape[1])


def fir_kernel(fir: Tensor) -> Tensor:
    """Filter of up-sampling [n, n], times 4 for the zeros; long filters are stored as their one-dimensional factor."""
    return 4 * (fir if fir.dim() == 2 else torch.outer(fir, fir))


def filter_of(taps: Sequence[float]) -> Tensor:
    """As the published code stores it: sum 1, from 8 taps one-dimensional."""
    line = torch.tensor(taps) / sum(taps)
    return line if len(taps) >= 8 else torch.outer(line, line)
