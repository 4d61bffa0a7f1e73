"""Convolutions rewritten exactly: behind nearest-neighbour upsampling, and with several pixels as channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def fold_upsampling(weight: Tensor) -> Tensor:
    """Weight [out, in, 3, 3] of a convolution behind nearest x2 -> [in, out, 4, 4] of the transposed convolution
    (stride 2, padding 1) that does both, exactly: each output pixel sees only two input rows and columns.
    """
    spread = weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    return torch.einsum("oikl,ak,bl->ioab", weight, spread, spread)


def fold_differences(weight: Tensor) -> Tensor:
    """Weight [out, in, 3, 3] of a convolution behind nearest x2 -> [9, in, out] for ``upsample_by_differences``.

    Along one axis the two outputs of pixel i are s x[i] - w0 d[i] and s x[i] + w2 d[i + 1], with the taps w0, w1, w2,
    their sum s, and the differences d[i] = x[i] - x[i - 1]: three products for two outputs. The same along the other.
    """
    kinds = weight.new_tensor([[-1, 0, 0], [1, 1, 1], [0, 0, 1]])  # -w0, s, w2
    # Three dimensions: of four, channels_last would take the matrices apart.
    return torch.einsum("oikl,ak,bl->abio", weight, kinds, kinds).flatten(0, 1).contiguous()


def upsample_by_differences(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Nearest x2 and a 3x3 convolution: [n, c, h, w] -> [n, out, 2h, 2w], by nine matrix products."""
    n, c, h, w = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    down = padded[:, 1:] - padded[:, :-1]  # [n, h + 1, w + 2, c]
    right = padded[:, 1:-1, 1:] - padded[:, 1:-1, :-1]  # [n, h, w + 1, c]
    both = down[:, :, 1:] - down[:, :, :-1]  # [n, h + 1, w + 1, c]
    centre = padded[:, 1:-1, 1:-1].reshape(-1, c) @ weight[4]
    if bias is not None:
        centre += bias
    columns = [right[:, :, b : b + w].reshape(-1, c) @ weight[3 + 2 * b] for b in (0, 1)]
    out = x.new_empty(n, h, 2, w, 2, weight.shape[2])
    for a in (0, 1):
        row = torch.addmm(centre, down[:, a : a + h, 1:-1].reshape(-1, c), weight[6 * a + 1])
        for b in (0, 1):
            corner = both[:, a : a + h, b : b + w].reshape(-1, c)
            out[:, :, a, :, b] = (row + columns[b]).addmm_(corner, weight[6 * a + 2 * b]).view(n, h, w, -1)
    return out.view(n, 2 * h, 2 * w, -1).permute(0, 3, 1, 2)


def fold_pixels(weight: Tensor) -> Tensor:
    """Weight [out, in, 3, 3] of a convolution -> [4 out, in, 4, 4] of one (stride 2, padding 1) that gives the four
    pixels of each 2x2 block as channels, for ``pixel_shuffle``. A CPU is twice as fast so where ``out`` is only a few.
    """
    blocks = [F.pad(weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)]
    return torch.stack(blocks, dim=1).flatten(0, 1)
