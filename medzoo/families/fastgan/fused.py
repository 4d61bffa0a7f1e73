"""The pieces of the fused FastGAN generator: one convolution each, with the noise, norm and gate behind it.

Three ways to make nearest x2 and a 3x3 convolution, from 16, 9 or 6.25 products an input pixel, and two to make a plain
3x3 convolution, from 9 or 2.25: fewer products need more sums, so which is fastest depends on the map.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families.fastgan.gate import gate, sample_norm_gate
from medzoo.nets import BatchNorm2d, SpectralConv2d
from medzoo.nets.folding import fold_differences, fold_upsampling, upsample_by_differences
from medzoo.nets.winograd import MIX, UNMIX, mix_weights


class Stage(nn.Module):
    """Convolution, noise, norm and gate: [n, inp, h, w] -> [n, out / 2, h, w].

    Args:
        conv, norm: layers of the published network, whose weights are folded into one another.
        strength: of the noise, one number.
    """

    def __init__(self, conv: SpectralConv2d, norm: BatchNorm2d, strength: Tensor | None = None) -> None:
        super().__init__()
        self.sample, self.eps = norm.stats == "sample", norm.eps
        weight = conv.weight().transpose(0, 1) if conv.transposed else conv.weight()  # [out, inp, k, k]
        strength = torch.zeros(1) if strength is None else strength
        gain, bias = norm.weight, norm.bias
        if not self.sample:
            gain = gain * torch.rsqrt(norm.running_var + norm.eps)
            bias = bias - norm.running_mean * gain
            weight = weight * gain[:, None, None, None]
            strength = strength * gain[None, :, None, None]
        tensors = {"weight": self.arrange(weight), "gain": gain, "bias": bias, "strength": strength}
        for name, value in tensors.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))

    def arrange(self, weight: Tensor) -> Tensor:
        """The weight [out, inp, k, k] in the form that ``convolve`` takes."""
        return weight

    def convolve(self, x: Tensor, bias: Tensor | None, scale: Tensor | None) -> Tensor:
        return F.conv2d(x, self.weight, bias, padding=1)

    def forward(self, x: Tensor, noise: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """``noise`` [n, 1, h, w] of the output's size; ``scale`` [1, inp, 1, 1] multiplies the input channels."""
        x = self.convolve(x, None if self.sample else self.bias, scale)
        if noise is not None:
            x.addcmul_(noise, self.strength)
        return sample_norm_gate(x, self.gain, self.bias, self.eps) if self.sample else gate(x)


class UpStage(Stage):
    """With nearest x2 before the convolution: [n, inp, h, w] -> [n, out / 2, 2h, 2w]."""

    def arrange(self, weight: Tensor) -> Tensor:
        return fold_upsampling(weight)

    def convolve(self, x: Tensor, bias: Tensor | None, scale: Tensor | None) -> Tensor:
        weight = self.weight if scale is None else self.weight * scale.transpose(0, 1)
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


class DifferenceUpStage(Stage):
    """The same from nine products an input pixel where :class:`UpStage` takes sixteen, for maps of many channels."""

    def arrange(self, weight: Tensor) -> Tensor:
        return fold_differences(weight)

    def convolve(self, x: Tensor, bias: Tensor | None, scale: Tensor | None) -> Tensor:
        weight = self.weight if scale is None else self.weight * scale.flatten()[:, None]
        return upsample_by_differences(x, weight, bias)


class FirstStage(Stage):
    """From the latent: [n, nz] -> [n, out / 2, 4, 4], a matrix product."""

    def arrange(self, weight: Tensor) -> Tensor:
        return weight.permute(1, 2, 3, 0).flatten(1)  # [nz, 4 x 4 x out]

    def convolve(self, x: Tensor, bias: Tensor | None, scale: Tensor | None) -> Tensor:
        out = (x @ self.weight).view(len(x), 4, 4, -1)
        return (out if bias is None else out.add_(bias)).permute(0, 3, 1, 2)


class Tiling(NamedTuple):
    """How 4x4 outputs come from a window of the input: ``unmix @ (weight * (mix @ window))``.

    Every ``step`` input pixels a tile begins; the first one ``before`` output pixels ahead of the map.
    """

    mix: Tensor  # [products, window x window]
    unmix: Tensor  # [4 x 4, products]
    step: int
    before: int


class Scratch:
    """Memory that the pieces of a map take in turn, so that it stays in the cache: 4 % of the time."""

    def __init__(self, like: Tensor) -> None:
        self.like, self.blocks = like, dict[str, Tensor]()

    def __call__(self, name: str, *shape: int) -> Tensor:
        size = math.prod(shape)
        if name not in self.blocks or self.blocks[name].numel() < size:
            self.blocks[name] = self.like.new_empty(size)
        return self.blocks[name][:size].view(shape)


class TileStage(Stage):
    """:class:`Stage` by Winograd's F(4x4, 3x3), a quarter of the products; float32 on a CPU, maps of 4k x 4k pixels.

    All that happens to some tiles is done while they are in the cache.
    """

    tiling = Tiling(MIX, UNMIX, step=4, before=0)
    # Bytes of the products of a piece, and the fewest tiles of one (fewer would read the weights too often).
    PIECE_BYTES, PIECE_TILES = 5 * 2**20, 64

    def arrange(self, weight: Tensor) -> Tensor:
        return mix_weights(weight)

    def forward(self, x: Tensor, noise: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        _, _, step, before = self.tiling
        n, _, h, w = x.shape
        down, across, up = h // step + before, w // step + before, 4 // step
        margin = (before, 4 * across - up * w - before, before, 4 * down - up * h - before)
        noises = None if noise is None else _tiles(F.pad(noise[:, 0, :, :, None], (0, 0, *margin)))
        out = x.new_empty(n, 4 * down, 4 * across, self.weight.shape[2] // (1 if self.sample else 2))
        outs = _tiles(out)
        samples, rows = self.piece(down, across)
        scratch = Scratch(x)
        for i in range(0, n, samples):
            windows = self.windows(x[i : i + samples] if scale is None else x[i : i + samples] * scale)
            for j in range(0, down, rows):
                piece = (..., slice(i, i + samples), slice(j, j + rows), slice(None), slice(None))
                y = self.products(windows[:, :, :, j : j + rows], scratch)
                if noises is not None:
                    y.addcmul_(noises[piece], self.strength.flatten())
                if self.sample:
                    outs[piece].copy_(y)
                else:
                    value, opening = y.chunk(2, dim=-1)
                    torch.mul(value, opening.sigmoid_(), out=outs[piece])
        out = out[:, before : before + up * h, before : before + up * w].permute(0, 3, 1, 2)
        if not self.sample:
            return out
        return sample_norm_gate(out.contiguous(memory_format=torch.channels_last), self.gain, self.bias, self.eps)

    def piece(self, down: int, across: int) -> tuple[int, int]:
        """Samples, and rows of tiles of each, that are made at a time."""
        most = max(self.PIECE_TILES, self.PIECE_BYTES // (4 * self.weight.shape[0] * self.weight.shape[2]))
        samples = max(1, most // (down * across))
        return samples, math.ceil(down / math.ceil(samples * down * across / most))  # of about equal size

    def windows(self, x: Tensor) -> Tensor:
        """[n, inp, h, w] -> [window, window, n, down, across, inp], a view of the padded map."""
        mix, _, step, before = self.tiling
        size = math.isqrt(mix.shape[1])
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + before, 1, 1 + before))
        return padded.unfold(1, size, step).unfold(2, size, step).permute(4, 5, 0, 1, 2, 3)

    def products(self, windows: Tensor, scratch: Scratch) -> Tensor:
        """[window, window, n, rows, across, inp] -> [4, 4, n, rows, across, out]."""
        mix, unmix, _, _ = self.tiling
        count, inp, out = self.weight.shape
        tiles = windows[0, 0, ..., 0].numel()
        inputs = scratch("inputs", *windows.shape).copy_(windows).view(-1, tiles * inp)
        mixed = torch.mm(mix, inputs, out=scratch("mixed", count, tiles * inp)).view(count, tiles, inp)
        products = torch.bmm(mixed, self.weight, out=scratch("products", count, tiles, out)).view(count, -1)
        y = torch.mm(unmix, products, out=scratch("outputs", 16, tiles * out)).view(4, 4, *windows.shape[2:5], out)
        return y if self.sample else y.add_(self.bias)


class TileUpStage(TileStage):
    """:class:`UpStage` from 25 products for 16 output pixels; float32 on a CPU, maps of 2k x 2k pixels.

    Along one axis, behind nearest x2, the four outputs around input pixel i are s x[i] plus one product each: of d[i]
    with -(w0 + w1) and -w0, of d[i + 1] with w2 and w1 + w2; with the taps w0, w1, w2, their sum s, and the differences
    d[i] = x[i] - x[i - 1].
    """

    INPUTS = torch.tensor([[0.0, 1, 0], [-1, 1, 0], [-1, 1, 0], [0, -1, 1], [0, -1, 1]])
    WEIGHTS = torch.tensor([[1.0, 1, 1], [-1, -1, 0], [-1, 0, 0], [0, 0, 1], [0, 1, 1]])
    OUTPUTS = torch.tensor([[1.0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 0, 1]])
    tiling = Tiling(torch.kron(INPUTS, INPUTS), torch.kron(OUTPUTS, OUTPUTS), step=2, before=1)

    def arrange(self, weight: Tensor) -> Tensor:
        return torch.einsum("oikl,ak,bl->abio", weight, self.WEIGHTS, self.WEIGHTS).flatten(0, 1)


def _tiles(x: Tensor) -> Tensor:
    """View [n, 4 down, 4 across, c] -> [4, 4, n, down, across, c]."""
    n, height, width, c = x.shape
    return x.view(n, height // 4, 4, width // 4, 4, c).permute(2, 4, 0, 1, 3, 5)


class FusedExcitation(nn.Module):
    """The published excitation as two matrix products: a 4x4 convolution of a 4x4 map has one output."""

    def __init__(self, excitation: nn.Module) -> None:
        super().__init__()
        first, second = (excitation.main[i].weight().flatten(1).t() for i in (1, 3))
        self.first = nn.Parameter(first.clone(memory_format=torch.contiguous_format), requires_grad=False)
        self.second = nn.Parameter(second.clone(memory_format=torch.contiguous_format), requires_grad=False)

    def forward(self, small: Tensor) -> Tensor:
        x = F.silu(F.adaptive_avg_pool2d(small, 4).flatten(1) @ self.first)
        return torch.sigmoid(x @ self.second)[:, :, None, None]
