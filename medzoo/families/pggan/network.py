"""What the variants of progressive GAN share: the network as published, and the same rewritten for speed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.nets.folding import fold_differences, fold_upsampling, upsample_by_differences
from medzoo.nets.winograd import Winograd

Mode = Literal["nearest", "bilinear"]
Layer = tuple[Tensor, Tensor]  # weight and bias that give the layer's output without a further scale
EPS = 1e-8
CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))


class Network(nn.Module):
    """What the variants share: latents [n, z] -> images [n, channels, size, size].

    Attributes:
        fade: weight of the older head.
        slope: of LeakyReLU.
        mode: how maps are up-sampled.
        norm: whether pixels are normalised behind every convolution; ``norm_first`` before LeakyReLU, else after it.
        norm_latent, norm_start: whether the latent and the first map are normalised.
        tanh: whether the output passes tanh.
    """

    slope: float
    mode: Mode
    norm: bool
    norm_first: bool
    norm_latent: bool
    norm_start: bool
    fade: float
    tanh: bool

    def start(self) -> Layer:
        """From the latent to 4 px: weight [z, 16 * channels] (pixels first) and bias [16 * channels]."""
        raise NotImplementedError

    def blocks(self) -> list[list[Layer]]:
        """The convolutions of each resolution from 4 px on that is run; each block but the first up-samples before."""
        raise NotImplementedError

    def heads(self) -> list[Layer]:
        """1x1 convolutions to the image: of the last block, and of the one before it if it is faded out."""
        raise NotImplementedError

    def forward(self, z: Tensor) -> Tensor:
        weight, bias = self.start()
        z = pixel_norm(z) if self.norm_latent else z
        x = torch.addmm(bias, z, weight).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        x = F.leaky_relu(pixel_norm(x) if self.norm_start else x, self.slope)
        before = x
        for i, block in enumerate(self.blocks()):
            before = x
            x = F.interpolate(x, scale_factor=2.0, mode=self.mode) if i else x
            for layer in block:
                x = self.activate(F.conv2d(x, *layer, padding=1))
        image = F.conv2d(x, *self.heads()[0])
        if self.fade:
            older = F.interpolate(F.conv2d(before, *self.heads()[1]), scale_factor=2.0, mode=self.mode)
            image = self.fade * older + (1 - self.fade) * image
        return torch.tanh(image) if self.tanh else image

    def activate(self, x: Tensor) -> Tensor:
        """LeakyReLU, and pixel norm on its side of it."""
        if not self.norm:
            return F.leaky_relu(x, self.slope)
        return F.leaky_relu(pixel_norm(x), self.slope) if self.norm_first else pixel_norm(F.leaky_relu(x, self.slope))


class Fused(nn.Module):
    """The same function as :class:`Network`, rewritten for speed.

    Weights are scaled once, heads that nobody asks for are left out, and up-sampling goes into the 3x3 convolution
    behind it (see :class:`Grow`). On a CPU, what happens to a pixel alone (LeakyReLU, pixel norm, the head) is done in
    one go over pieces that fit in a core's cache, and large maps are made for one sample at a time.
    """

    SMALL = 32  # px; maps up to this size are made for all samples together
    PIECE = 2**17  # numbers

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.norm, self.norm_first, self.slope = network.norm, network.norm_first, network.slope
        self.norm_latent, self.norm_start = network.norm_latent, network.norm_start
        self.mode, self.fade, self.tanh = network.mode, network.fade, network.tanh
        self.start = _frozen(*network.start())
        first, *others = network.blocks()
        self.first = nn.ModuleList(Convolution(*layer) for layer in first)
        self.blocks = nn.ModuleList()
        for i, (grown, layer) in enumerate(others):
            size = 8 << i
            second = Convolution(*layer) if size < self.SMALL else Winograd(*layer, padding=1)
            self.blocks.append(nn.ModuleList([Grow(*grown, network.mode, size), second]))
        heads = network.heads()[: 2 if self.fade else 1]
        self.heads = nn.ModuleList(_frozen(weight.flatten(1), bias[:, None]) for weight, bias in heads)

    def forward(self, z: Tensor) -> Tensor:
        z = pixel_norm(z) if self.norm_latent else z
        x = torch.addmm(self.start[1], z, self.start[0]).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        x = F.leaky_relu_(pixel_norm(x) if self.norm_start else x, self.slope)
        for layer in self.first:
            x = self.pointwise(layer(x))
        small = min(self.SMALL.bit_length() - 3, len(self.blocks) - 1)  # the last block makes the image
        for block in self.blocks[: max(0, small)]:
            x = self.resolution(block, x)
        parts = x.split(1 if x.device.type == "cpu" else len(x))
        image = torch.cat([self.large(part, small) for part in parts])
        return image.tanh_() if self.tanh else image

    def large(self, x: Tensor, first: int) -> Tensor:
        """From block ``first`` to the image."""
        if not self.blocks:
            return _head(x, self.heads[0])
        for block in self.blocks[first:-1]:
            x = self.resolution(block, x)
        image = self.resolution(self.blocks[-1], x, self.heads[0])
        if not self.fade:
            return image
        older = F.interpolate(_head(x, self.heads[1]), scale_factor=2.0, mode=self.mode)
        return self.fade * older + (1 - self.fade) * image

    def resolution(self, block: nn.Module, x: Tensor, head: nn.ParameterList | None = None) -> Tensor:
        """A block, and its image if a head is given: [n, in, h, w] -> [n, out or channels, 2h, 2w]."""
        grow, convolution = block.children()
        return self.pointwise(convolution(self.pointwise(grow(x))), head)

    def pointwise(self, x: Tensor, head: nn.ParameterList | None = None) -> Tensor:
        """Activation in place, and the head if one is given: [n, c, h, w] -> [n, c or channels, h, w]."""
        n, c, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, c)
        size = max(1, self.PIECE // c) if x.device.type == "cpu" else len(rows)
        squares = rows.new_empty(min(size, len(rows)), c) if self.norm else rows
        out = rows if head is None else rows.new_empty(len(head[0]), len(rows))
        for k in range(0, len(rows), size):
            piece = rows[k : k + size]
            self.activate_(piece, squares[: len(piece)])
            if head is not None:
                torch.addmm(head[1], head[0], piece.t(), out=out[:, k : k + size])
        if head is None:
            return out.view(n, h, w, c).permute(0, 3, 1, 2)
        return out.view(-1, n, h, w).transpose(0, 1)

    def activate_(self, rows: Tensor, squares: Tensor) -> None:
        """LeakyReLU and pixel norm of pixels [n, c], in place; ``squares`` is a place to work in."""
        if self.norm and self.norm_first:
            pixel_norm_(rows, squares)
        F.leaky_relu_(rows, self.slope)
        if self.norm and not self.norm_first:
            pixel_norm_(rows, squares)


class Convolution(nn.Module):
    """3x3, for small maps: [n, in, h, w] -> [n, out, h, w]."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = _frozen(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


class Grow(nn.Module):
    """Up-sampling and a 3x3 convolution: [n, in, s, s] -> [n, out, 2s, 2s].

    Nearest x2 goes into the weight: ``nets.folding.fold_upsampling``, or ``fold_differences`` on small maps. Bilinear
    x2 is nearest x2 blurred by [1, 2, 1] / 4, and on large maps the blur comes after the convolution. Up to the edge
    that is the same; there the published convolution sees zeros where this one sees the map go on, which is taken off
    again.
    """

    # Largest map that is made from differences (above, the sums cost more time than the products save), and largest
    # map that is interpolated.
    DIFFERENCES, INTERPOLATED = 64, 16

    def __init__(self, weight: Tensor, bias: Tensor, mode: Mode, size: int) -> None:
        super().__init__()
        small = size <= (self.DIFFERENCES if mode == "nearest" else self.INTERPOLATED)
        self.way = ("differences" if small else "transposed") if mode == "nearest" else "plain" if small else "blurred"
        arrange = {"differences": fold_differences, "plain": Tensor.detach}
        self.weight, self.bias = _frozen(arrange.get(self.way, fold_upsampling)(weight), bias)
        if self.way == "blurred":
            taps = weight.new_tensor([0.25, 0.5, 0.25])
            sides = torch.stack([weight[:, :, 0], weight[:, :, 2], weight[..., 0], weight[..., 2]])
            corners = torch.stack([weight[:, :, i, j] for i, j in CORNERS])
            blur = torch.outer(taps, taps).expand(len(bias), 1, 3, 3)
            self.blur, self.sides, self.corners = _frozen(blur, sides.flatten(2).mT, corners.mT)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "differences":
            return upsample_by_differences(x, self.weight, self.bias)
        if self.way == "transposed":
            return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)
        if self.way == "plain":
            return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="bilinear"), self.weight, self.bias, padding=1)
        out = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias, stride=2, padding=2)
        out = F.conv2d(out, self.blur, groups=len(self.blur))
        behind = self.behind_the_edge(x)
        for side, lost in zip((out[:, :, 0], out[:, :, -1], out[..., 0], out[..., -1]), behind, strict=True):
            side.sub_(lost)
        for (i, j), weight in zip(CORNERS, self.corners, strict=True):  # taken off twice
            out[:, :, i, j] += x[:, :, i, j] @ weight
        return out

    def behind_the_edge(self, x: Tensor) -> Tensor:
        """What the pixels just outside the up-sampled map add to the top, bottom, left and right: [4, n, out, 2s]."""
        sides = torch.stack([x[:, :, 0], x[:, :, -1], x[..., 0], x[..., -1]])
        rows = F.interpolate(sides.flatten(0, 1), scale_factor=2.0, mode="linear")
        rows = F.pad(rows, (1, 1), mode="replicate").unfold(2, 3, 1)  # [4 n, in, 2s, 3]
        columns = rows.permute(0, 2, 1, 3).reshape(4, -1, self.sides.shape[1])
        return (columns @ self.sides).view(4, len(x), -1, len(self.bias)).mT


def pixel_norm(x: Tensor) -> Tensor:
    """Every pixel (or latent) divided by the root of its mean square over dimension 1."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPS)


def pixel_norm_(rows: Tensor, squares: Tensor) -> None:
    """The same in place for pixels [n, c], by a product that leaves the squares in the cache."""
    torch.mul(rows, rows, out=squares)
    mean = squares @ rows.new_full((rows.shape[1], 1), 1 / rows.shape[1])
    rows.mul_(mean.add_(EPS).rsqrt_())


def _head(x: Tensor, head: nn.ParameterList) -> Tensor:
    """1x1 convolution by a weight [out, in]: [n, in, h, w] -> [n, out, h, w]."""
    return (head[0] @ x.flatten(2) + head[1]).unflatten(2, x.shape[2:])


def _frozen(*tensors: Tensor) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(one.detach().contiguous(), requires_grad=False) for one in tensors)
