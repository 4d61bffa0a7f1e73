"""The ResNet that CycleGAN and pix2pixHD share (Johnson et al., "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution", ECCV 2016): convolutions down, residual blocks, transposed convolutions up, in reflected borders.

Under the names of both published codes, which differ in the biases and in how often they go down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families._condition import Given
from medzoo.families._translate import NormKind, Stage, Translator, norm_layer
from medzoo.nets.winograd import Winograd
from medzoo.randomness import Noise


class ResnetTranslator(Translator):
    """Images [B, input_nc, H, W] -> tanh [B, output_nc, H, W].

    Sides that are no multiple of the steps down come out of the network rounded up, and what is too much at the right
    and below is cut off: its first pixel lies on the first of the image, so that masks of the image still fit.
    """

    @property
    def sizes(self) -> tuple[int, int]:
        return max(4, 2**self.config.n_downsampling + 1), 1

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        return Fused(network) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        images = self.images(given)
        height, width = images.shape[2:]
        return self.network(images)[..., :height, :width]


def infer(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Settings that follow from names and shapes; {} for a state dict of another network."""
    weights = {int(m[1]): w for key, w in state.items() if (m := re.fullmatch(r"model\.(\d+)\.weight", key))}
    convolutions = [weights[index] for index in sorted(weights) if weights[index].dim() == 4]
    blocks = {int(m[1]) for key in state if (m := re.match(r"model\.(\d+)\.conv_block\.", key))}
    if len(convolutions) < 2 or not blocks or 1 not in weights:
        return {}
    first, last = convolutions[0], convolutions[-1]
    return {
        "input_nc": first.shape[1], "output_nc": last.shape[0], "ngf": first.shape[0], "n_blocks": len(blocks),
        "n_downsampling": (len(convolutions) - 2) // 2, "norm": "batch" if 2 in weights else "instance",
        "use_dropout": f"model.{min(blocks)}.conv_block.5.weight" not in state,
    }  # fmt: skip


class Block(nn.Module):
    """x + two convolutions of it. A dropout between them, long idle, moves the second one place on."""

    def __init__(self, channels: int, norm: NormKind, bias: bool, use_dropout: bool) -> None:
        super().__init__()
        conv = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(norm, channels))
        again = (nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(norm, channels))
        self.conv_block = nn.Sequential(*conv, nn.ReLU(), *([nn.Identity()] if use_dropout else []), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Network(nn.Module):
    """Image [n, input_nc, h, w] -> [n, output_nc, h, w] in [-1, 1].

    Args:
        bias: whether convolutions with a norm behind them have a bias.
    """

    def __init__(
        self, input_nc: int, output_nc: int, ngf: int, n_downsampling: int, n_blocks: int, norm: NormKind, bias: bool,
        use_dropout: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        first = nn.Conv2d(input_nc, ngf, 7, bias=bias)
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), first, norm_layer(norm, ngf), nn.ReLU()]
        widths = [ngf * 2**k for k in range(n_downsampling + 1)]
        for inp, out in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(inp, out, 3, 2, 1, bias=bias), norm_layer(norm, out), nn.ReLU()]
        layers += [Block(widths[-1], norm, bias, use_dropout) for _ in range(n_blocks)]
        for out, inp in reversed(list(zip(widths, widths[1:], strict=False))):
            up = nn.ConvTranspose2d(inp, out, 3, 2, 1, output_padding=1, bias=bias)
            layers += [up, norm_layer(norm, out), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Fused(nn.Module):
    """The network for inference: norms folded, borders mirrored in place, the last convolution in blocks of pixels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        stages, blocks = [], []
        layers = list(network.model)
        for layer, norm in zip(layers, layers[1:], strict=False):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not isinstance(norm, nn.Tanh):
                stages.append(Stage(layer, norm))
            elif isinstance(layer, Block):
                blocks.append(FusedBlock(layer))
        down = len(stages) // 2 + 1
        self.downs, self.blocks = nn.ModuleList(stages[:down]), nn.ModuleList(blocks)
        self.ups = nn.ModuleList(stages[down:])
        last = layers[-2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        # Blocks of pixels that fill a core's vectors with output channels, and that the size is a multiple of.
        self.size = min(4 if last.out_channels == 1 else 2, 2 ** (down - 1))
        self.weight = nn.Parameter(fold_block(last.weight.detach(), self.size), requires_grad=False)
        self.bias = nn.Parameter(last.bias.detach().repeat_interleave(self.size**2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        # One by one on a CPU: the maps of a sample stay in its caches.
        return torch.cat([self.run(part) for part in x.split(1 if x.device.type == "cpu" else len(x))])

    def run(self, x: Tensor) -> Tensor:
        x = F.pad(x.contiguous(memory_format=torch.channels_last), (3, 3, 3, 3), mode="reflect")
        for stage in self.downs:
            x = stage(x, relu=True)
        frame = Frame.around(x, 1)
        for block in self.blocks:
            block(frame)
        x = frame.inside
        for stage in self.ups:
            x = stage(x, relu=True)
        blocks = F.conv2d(Frame.around(x, 3).whole, self.weight, self.bias, stride=self.size)
        return F.pixel_shuffle(blocks, self.size).tanh_()


class Frame:
    """A map [n, c, h, w] inside a border that mirrors it.

    Attributes:
        whole: it and its border, [n, c, h + 2 border, w + 2 border].
        inside: the map; call ``mirror`` when it has changed.
    """

    def __init__(self, like: Tensor, border: int) -> None:
        n, channels, height, width = like.shape
        whole = like.new_empty(n, height + 2 * border, width + 2 * border, channels)
        self.whole, self.border = whole.permute(0, 3, 1, 2), border
        self.inside = self.whole[:, :, border:-border, border:-border]

    @classmethod
    def around(cls, x: Tensor, border: int) -> Frame:
        frame = cls(x, border)
        frame.inside.copy_(x)
        frame.mirror()
        return frame

    def mirror(self) -> None:
        middle = self.whole[:, :, :, self.border : -self.border]
        for part, axis in ((middle, 2), (self.whole, 3)):
            first, last = self.border, part.shape[axis] - 1 - self.border
            for k in range(1, self.border + 1):
                part.select(axis, first - k).copy_(part.select(axis, first + k))
                part.select(axis, last + k).copy_(part.select(axis, last - k))


class FusedBlock(nn.Module):
    """:class:`Block` with its norms folded; changes the frame it gets."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        layers = list(block.conv_block)
        pairs = [(conv, norm) for conv, norm in zip(layers, layers[1:], strict=False) if isinstance(conv, nn.Conv2d)]
        self.first, self.second = (Stage(conv, norm, lambda _, *folded: Winograd(*folded)) for conv, norm in pairs)

    def forward(self, frame: Frame) -> None:
        inner = Frame(frame.inside, 1)
        self.first(frame.whole, inner.inside, relu=True)
        inner.mirror()
        frame.inside.add_(self.second(inner.whole))
        frame.mirror()


def fold_block(weight: Tensor, size: int) -> Tensor:
    """Weight [out, in, k, k] of a convolution -> [size^2 out, in, k + size - 1, ...] of one with stride ``size`` that
    gives the pixels of a block as channels, for ``pixel_shuffle``."""
    places = [(a, b) for a in range(size) for b in range(size)]
    return torch.stack([F.pad(weight, (b, size - 1 - b, a, size - 1 - a)) for a, b in places], dim=1).flatten(0, 1)
