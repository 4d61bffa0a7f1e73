"""3x3 convolutions from a quarter of the products, for wide maps on a CPU.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
2016): 36 products give 16 output pixels instead of 4. With the usual points 0, 1, -1, 2, -2 the largest errors of a
layer of 128 channels are eight times those of an ordinary convolution; with 0 and plus or minus sqrt(1/2) and sqrt(2),
as here, one and a half times. A few rows of tiles are made at a time, so that all in between stays in a core's cache.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Channels and output pixels from which the products saved outweigh the sums.
LEAST_CHANNELS, LEAST_PIXELS = 64, 32 * 32
# Bytes of mixed tiles made at a time, and the least tiles, which share one reading of the weights.
BLOCK_BYTES, LEAST_TILES = 2**20, 96


class Winograd(nn.Module):
    """A convolution [out, in, 3, 3], and optionally a leaky ReLU: [n, in, h, w] -> [n, out, h', w'], channels last.

    Runs as an ordinary convolution where that is faster or more exact: on a GPU, in low precision, for small maps.
    Every sample is computed alone, so that the batch decides nothing.
    """

    mixed: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None, padding: int = 0, slope: float = 1.0) -> None:
        """
        Args:
            padding: zeros on each side.
            slope: of the leaky ReLU below 0; 1 for none.
        """
        super().__init__()
        self.padding, self.slope = padding, slope
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        worthwhile = weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= LEAST_CHANNELS
        self.register_buffer("mixed", mix_weights(weight.detach()) if worthwhile else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (side + 2 * self.padding - 2 for side in x.shape[2:])
        cpu = x.device.type == "cpu" and x.dtype == torch.float32
        if self.mixed is not None and cpu and height * width >= LEAST_PIXELS:
            return self.tiled(x, self.mixed, height, width)
        x = F.conv2d(x, self.weight, self.bias, padding=self.padding)
        return x if self.slope == 1 else F.leaky_relu_(x, self.slope)

    def tiled(self, x: Tensor, mixed: Tensor, height: int, width: int) -> Tensor:
        down, across = -(-height // 4), -(-width // 4)  # tiles
        after = (4 * across - width + self.padding, 4 * down - height + self.padding)
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, self.padding, after[0], self.padding, after[1])).contiguous()
        out = x.new_empty(len(x), 4 * down, 4 * across, mixed.shape[2])
        tiles = max(LEAST_TILES, BLOCK_BYTES // (36 * max(mixed.shape[1:]) * x.element_size()))
        rows = max(1, tiles // across)
        for one, image in zip(padded, out, strict=True):
            for first in range(0, down, rows):
                last = min(first + rows, down)
                self.block(one[4 * first : 4 * last + 2], mixed, image[4 * first : 4 * last])
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def block(self, x: Tensor, mixed: Tensor, out: Tensor) -> None:
        """Some rows of tiles of one image: x [4 rows + 2, 4 across + 2, in] -> out [4 rows, 4 across, out]."""
        rows, across = out.shape[0] // 4, out.shape[1] // 4
        line, pixel, channel = x.stride()
        shape, strides = (6, 6, rows, across, x.shape[2]), (line, pixel, 4 * line, 4 * pixel, channel)
        tiles = x.as_strided(shape, strides, x.storage_offset()).reshape(36, -1)
        products = torch.bmm((MIX.to(x) @ tiles).view(36, rows * across, -1), mixed)
        pixels = (UNMIX.to(x) @ products.view(36, -1)).view(16, rows * across, -1)
        if self.bias is not None:
            pixels += self.bias
        if self.slope != 1:
            F.leaky_relu_(pixels, self.slope)
        pixels = pixels.view(4, 4, rows, across, -1).permute(2, 0, 3, 1, 4)
        out.view(rows, 4, across, 4, -1).copy_(pixels)


def mix_weights(weight: Tensor) -> Tensor:
    """Weight [out, in, 3, 3] -> [36, in, out]."""
    mix = _matrices()[2]
    mixed = torch.einsum("ak,bl,oikl->abio", mix, mix, weight.double())
    return mixed.flatten(0, 1).to(weight.dtype).contiguous()


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Mixing of six inputs, unmixing to four outputs, mixing of three weights, for the points 0, -+p, -+q, infinity.

    With p^2 = 1/2 and q^2 = 2, so that p q = 1.
    """
    p, q = math.sqrt(0.5), math.sqrt(2.0)
    points = (0.0, p, -p, q, -q)
    inputs = [[1, 0, -2.5, 0, 1, 0]]
    for point, other in ((p, q), (-p, q), (q, p), (-q, p)):
        inputs.append([0, -point * other**2, -(other**2), point, 1, 0])
    inputs.append([0, 1, 0, -2.5, 0, 1])
    outputs = [[point**i for point in points] + [float(i == 3)] for i in range(4)]
    scales = (1.0, -1.5, -1.5, 6.0, 6.0)
    weights = [[point**i / scale for i in range(3)] for point, scale in zip(points, scales, strict=True)]
    weights.append([0, 0, 1])
    return tuple(torch.tensor(rows, dtype=torch.float64) for rows in (inputs, outputs, weights))  # type: ignore[return-value]


# For both axes at once: [36, 36] and [16, 36].
MIX, UNMIX = (torch.kron(matrix, matrix).float() for matrix in _matrices()[:2])
