"""The StyleGAN2 generator rewritten for speed: the same images to 1e-4.

* The styles scale the input channels and the demodulation the output channels, so that a batch shares one
  convolution instead of having weights for each sample. The sums of squares that demodulation needs are one product
  of the squared styles with squared weights, which are prepared once.
* Every 3x3 weight is divided by its norm, and every style by its largest number: what demodulation takes out again,
  epsilon included. Half precision would overflow otherwise.
* Gains, learning rates and the sqrt(2) behind the leaky ReLUs go into weights and biases.
* On a CPU wide convolutions take a quarter of the products (``_winograd``), large maps are made one sample at a
  time, and where weights are smaller than maps the scaling goes into the weights.

A convolution with up-sampling stays a transposed convolution, nine products for four pixels, and then its filter;
merged into one 6x6 kernel it would take 36.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families.stylegan2.network import (
    EPS,
    SLOPE,
    Block,
    Layer,
    Linear,
    MappingNetwork,
    Network,
    Skip,
    ToRGB,
    fir_kernel,
    normalize,
)
from medzoo.nets.winograd import Winograd

# On a CPU, larger maps are made one sample at a time, so that they stay in the cache.
TOGETHER = 32
# Channels from which Winograd's convolution is faster than scaled weights.
WIDE = 96


class Fused(nn.Module):
    """The two halves of the generator, as ``Network`` has them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.mapping = FusedMapping(network.mapping)
        self.synthesis = FusedSynthesis([network.synthesis.get_submodule(f"b{i}") for i in network.synthesis.sizes])


class FusedMapping(nn.Module):
    """z [B, z_dim] and classes [B, c_dim] -> w [B, w_dim]."""

    w_avg: Tensor

    def __init__(self, mapping: MappingNetwork) -> None:
        super().__init__()
        self.embed = Affine(mapping.embed) if hasattr(mapping, "embed") else None
        layers = [mapping.get_submodule(f"fc{i}") for i in range(mapping.layers)]
        self.layers = nn.ModuleList(Affine(layer, math.sqrt(2)) for layer in layers)
        self.register_buffer("w_avg", mapping.w_avg)

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        x = normalize(z)
        if self.embed is not None and c is not None:
            x = torch.cat([x, normalize(self.embed(c))], dim=1)
        for layer in self.layers:
            x = F.leaky_relu_(layer(x), SLOPE)
        return x


class FusedSynthesis(nn.Module):
    """ws [B, num_ws, w_dim] and the random noise of each layer (or nothing) -> images [B, C, H, W]."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FusedBlock(block) for block in blocks)

    def forward(self, ws: Tensor, draws: Sequence[Tensor]) -> Tensor:
        small = sum(block.size <= TOGETHER for block in self.blocks) if ws.device.type == "cpu" else len(self.blocks)
        x, image = self.run(range(small), ws, None, None, draws)
        if small == len(self.blocks):
            return image
        rest, images = range(small, len(self.blocks)), []
        for i in range(len(ws)):
            one = slice(i, i + 1)
            own = None if image is None else image[one]
            images.append(self.run(rest, ws[one], x[one], own, [draw[one] for draw in draws])[1])
        return torch.cat(images)

    def run(
        self, blocks: range, ws: Tensor, x: Tensor | None, image: Tensor | None, draws: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        for i in blocks:
            first = max(0, 2 * i - 1)
            own = draws[first : first + 2] if draws else (None, None)
            x, image = self.blocks[i](x, image, ws[:, first : first + 3], own)
        return x, image  # type: ignore[return-value]


class FusedBlock(nn.Module):
    """All layers of one resolution."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.size, self.rgb = block.conv1.size, block.rgb
        self.const = _kept(block.const[None]) if block.first else None
        gain = math.sqrt(0.5) if block.resnet else 1.0
        self.conv0 = None if block.first else FusedLayer(block.conv0)
        self.conv1 = FusedLayer(block.conv1, gain)
        self.skip = FusedSkip(block.skip, gain) if block.resnet else None
        self.torgb = FusedToRGB(block.torgb) if block.rgb else None
        self.up = Up(block.resample_filter)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, draws: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        if self.conv0 is None:
            assert self.const is not None
            x = self.conv1(self.const.expand(len(ws), -1, -1, -1), ws[:, 0], draws[0])
        else:
            around = None if self.skip is None else self.skip(x)
            x = self.conv1(self.conv0(x, ws[:, 0], draws[0]), ws[:, 1], draws[1])
            x = x if around is None else around.add_(x)
            image = None if image is None else self.up(image)
        if self.torgb is not None:
            own = self.torgb(x, ws[:, 1 if self.conv0 is None else 2])
            image = own if image is None else image.add_(own)
        return x, image


class FusedLayer(nn.Module):
    """Modulated 3x3 convolution, twice the size with ``up``, then noise, bias and leaky ReLU.

    Args:
        gain: of the output, beside the sqrt(2) that every layer has.
    """

    def __init__(self, layer: Layer, gain: float = 1.0) -> None:
        super().__init__()
        self.clamp = None if layer.clamp is None else layer.clamp * gain
        self.up, gain = layer.up, gain * math.sqrt(2)
        self.affine = Affine(layer.affine)
        norm = layer.weight.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
        weight = layer.weight / norm
        self.squares = _kept(weight.square().sum((2, 3)).t() / gain**2)  # [inp, out]
        self.least = _kept(EPS / (norm.flatten() * gain) ** 2)
        self.bias = _kept(layer.bias * gain)
        self.mode = layer.noise_mode if layer.noisy else "none"
        if self.mode == "const":
            self.noise = _kept(layer.noise_const * (layer.noise_strength * gain))
        elif self.mode == "random":
            self.noise = _kept(layer.noise_strength * gain)
        if self.up:
            fir = fir_kernel(layer.resample_filter).flip(0, 1)
            self.fir = _kept(fir.expand(len(weight), 1, -1, -1))
            self.weight = _kept(weight.transpose(0, 1))
        else:
            self.weight = _kept(weight)
            wide = layer.size >= TOGETHER and min(weight.shape[:2]) >= WIDE
            self.wide = Winograd(self.weight, padding=1) if wide else None

    def forward(self, x: Tensor, w: Tensor, draw: Tensor | None) -> Tensor:
        """[B, inp, h, h] and w [B, w_dim] -> [B, out, size, size]."""
        styles = self.affine(w)
        top = styles.abs().amax(1, keepdim=True).clamp_min(1e-6)
        styles = styles / top
        scales = torch.rsqrt(styles.square() @ self.squares + self.least / top.square())
        x = self.upsampled(x, styles, scales) if self.up else self.plain(x, styles, scales)
        if self.mode == "const":
            x.add_(self.noise)
        elif self.mode == "random" and draw is not None:
            x.addcmul_(draw, self.noise)
        x = F.leaky_relu_(x, SLOPE)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)

    def plain(self, x: Tensor, styles: Tensor, scales: Tensor) -> Tensor:
        """Convolution, demodulation and bias."""
        if self.wide is None and _small(self.weight, x):
            weight = self.weight * styles[:, :, None, None] * scales[0, :, None, None, None]
            return F.conv2d(x, weight, self.bias, padding=1)
        x = x * styles[:, :, None, None]
        x = F.conv2d(x, self.weight, padding=1) if self.wide is None else self.wide(x)
        return self.demodulated(x, scales)

    def upsampled(self, x: Tensor, styles: Tensor, scales: Tensor) -> Tensor:
        """Transposed convolution and filter, demodulation and bias."""
        padding, groups = self.fir.shape[2] // 2 - 1, len(self.fir)
        if _small(self.weight, x):
            weight = self.weight * styles[0, :, None, None, None] * scales[:, :, None, None]
            x = F.conv_transpose2d(x, weight, stride=2)
            return F.conv2d(x, self.fir, self.bias, padding=padding, groups=groups)
        x = F.conv_transpose2d(x * styles[:, :, None, None], self.weight, stride=2)
        return self.demodulated(F.conv2d(x, self.fir, padding=padding, groups=groups), scales)

    def demodulated(self, x: Tensor, scales: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None, None], x, scales[:, :, None, None], out=x)


class FusedToRGB(nn.Module):
    """Modulated 1x1 convolution: a product of matrices for each sample."""

    def __init__(self, layer: ToRGB) -> None:
        super().__init__()
        self.clamp = layer.clamp
        self.affine = Affine(layer.affine, 1 / math.sqrt(layer.weight.shape[1]))
        self.weight = _kept(layer.weight.flatten(1))
        self.bias = _kept(layer.bias[:, None])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        weight = self.weight * self.affine(w)[:, None]
        image = torch.baddbmm(self.bias, weight, x.flatten(2)).unflatten(2, x.shape[2:])
        return image if self.clamp is None else image.clamp_(-self.clamp, self.clamp)


class FusedSkip(nn.Module):
    """Shortcut of a ``resnet`` block: 1x1 convolution and x2."""

    def __init__(self, skip: Skip, gain: float) -> None:
        super().__init__()
        self.weight = _kept(skip.weight * (gain / math.sqrt(skip.weight.shape[1])))
        self.up = Up(skip.resample_filter)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.conv2d(x, self.weight))


class Up(nn.Module):
    """Twice the height and width: zeros in between, then the filter."""

    def __init__(self, fir: Tensor) -> None:
        super().__init__()
        self.kernel = _kept(fir_kernel(fir)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1)
        return F.conv_transpose2d(x, kernel, stride=2, padding=kernel.shape[2] // 2 - 1, groups=x.shape[1])


class Affine(nn.Module):
    """A linear layer with its gains, and ``gain``, in weight and bias."""

    def __init__(self, linear: Linear, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = _kept(linear.weight * (linear.weight_gain * gain))
        self.bias = _kept(linear.bias * (linear.bias_gain * gain))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def _small(weight: Tensor, x: Tensor) -> bool:
    """Whether scaling the weights costs less than scaling the map: for one sample of few channels."""
    return len(x) == 1 and weight.numel() < x.numel()


def _kept(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().contiguous(), requires_grad=False)
