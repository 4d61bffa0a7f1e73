"""Batch norm with the gated linear unit behind it, in one piece for training and for single samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.nets import BatchNorm2d

# Maps, noise, its strength, weight, bias, epsilon -> output, mean and variance, as :func:`_norm_gate`.
Fused = Callable[[Tensor, Tensor | None, Tensor | None, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]


class GatedNorm(BatchNorm2d):
    """Batch norm in front of a gate; :func:`norm_gate` computes both.

    Attributes:
        fused: computes both in one piece in train mode (:func:`compile_gates`); None for the plain operations.
    """

    fused: Fused | None = None


def norm_gate(x: Tensor, norm: GatedNorm, noise: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
    """Add scaled noise, batch norm, gated linear unit: [n, 2c, h, w] -> [n, c, h, w].

    The first half of the channels times the sigmoid of the second.
    """
    if not (norm.training and norm.fused):
        if noise is not None and strength is not None:
            x = x + strength * noise
        return F.glu(norm(x), dim=1)
    out, mean, var = norm.fused(x, noise, strength, norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        count = x.numel() / x.shape[1]
        momentum = norm.momentum
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        weight = momentum if momentum is not None else 1.0 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean, weight)
        norm.running_var.lerp_(var * (count / (count - 1)), weight)
    return out


def compile_gates(network: nn.Module) -> None:
    """Let TorchInductor fuse every norm with its gate: their backward is five times faster on a CPU."""
    torch._dynamo.config.recompile_limit = 64  # one for each shape of map
    fused = torch.compile(_norm_gate, dynamic=False)
    for module in network.modules():
        if isinstance(module, GatedNorm):
            module.fused = fused


def _norm_gate(
    x: Tensor, noise: Tensor | None, strength: Tensor | None, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output in the type of ``x``; mean and (biased) variance in float32."""
    wide = x.float()
    if noise is not None and strength is not None:
        wide = wide + strength * noise
    mean = wide.mean((0, 2, 3))
    var = (wide - mean[:, None, None]).square().mean((0, 2, 3))
    scale = weight * torch.rsqrt(var + eps)
    shift = bias - mean * scale
    value, gate = (wide * scale[:, None, None] + shift[:, None, None]).chunk(2, dim=1)
    return (value * torch.sigmoid(gate)).to(x.dtype), mean.detach(), var.detach()


def sample_norm_gate(x: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Batch norm with the statistics of each sample, then the gate: [n, 2c, h, w] -> [n, c, h, w]; overwrites ``x``.

    One pass for both sums, one for scale and shift, one for the gate.
    """
    count = x.shape[2] * x.shape[3]
    total, squares = _channel_sums(x)
    mean = total / count
    scale = gain * torch.rsqrt((squares / count - mean.square()).clamp_min(0) + eps)
    shift = bias - mean * scale
    torch.addcmul(shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype), out=x)
    return gate(x)


def gate(x: Tensor) -> Tensor:
    """Gated linear unit over channels: [n, 2c, h, w] -> [n, c, h, w]."""
    if x.device.type == "cpu" and x.dtype != torch.float32 and x.shape[1] < 128:
        return F.glu(x.float(), dim=1).to(x.dtype)  # halves narrower than two vectors of a core run one by one
    return F.glu(x, dim=1)


def _channel_sums(x: Tensor, piece: int = 2**18) -> tuple[Tensor, Tensor]:
    """Sums of ``x`` and of its squares over height and width, float32 [n, c]; in pieces that fit a cache."""
    flat = x.permute(0, 2, 3, 1).flatten(1, 2)  # a view where memory is channels_last
    total = squares = x.new_zeros((), dtype=torch.float32)
    for part in flat.split(max(1, piece // (len(x) * x.shape[1])), dim=1):
        if x.dtype == torch.float32:
            ones = part.new_ones(part.shape[1])
            total, squares = total + ones @ part, squares + ones @ part.square()
        else:
            total = total + part.sum(1, dtype=torch.float32)
            squares = squares + part.square().sum(1, dtype=torch.float32)
    return total, squares


class GLU(nn.Module):
    """Holds the place of the gate in a published ``Sequential``; :func:`norm_gate` computes it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=1)
