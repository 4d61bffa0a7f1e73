"""Small blocks shared by families: convolutions with live spectral norm, and batch norm with a choice of statistics.

State-dict names are those of ``torch.nn.utils.spectral_norm`` and ``torch.nn.BatchNorm2d``, so that published
checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NormStats = Literal["running", "sample"]


class SpectralConv2d(nn.Module):
    """Convolution whose weight is divided by its largest singular value (Miyato et al., ICLR 2018, algorithm 1).

    Holds ``weight_orig`` [out, in, k, k] (or [in, out, k, k] when ``transposed``) and the singular vectors
    ``weight_u``, ``weight_v``. In train mode every forward takes one power iteration and keeps the vectors; with
    ``live`` set it takes one too but forgets it, so that the same input always gives the same output.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, inp: int, out: int, kernel: int, stride: int = 1, padding: int = 0, *, transposed: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.transposed = stride, padding, transposed
        shape = (inp, out, kernel, kernel) if transposed else (out, inp, kernel, kernel)
        self.weight_orig = nn.Parameter(torch.empty(shape))
        self.register_buffer("weight_u", torch.empty(out))
        self.register_buffer("weight_v", torch.empty(inp * kernel * kernel))
        self.live = False

    def reset(self, std: float = 0.02) -> None:
        """Draw N(0, std) weights and the starting vectors, as the published training code does."""
        nn.init.normal_(self.weight_orig, 0.0, std)
        for vector in (self.weight_u, self.weight_v):
            vector.copy_(F.normalize(torch.randn_like(vector), dim=0, eps=1e-12))

    def weight(self) -> Tensor:
        """The normalised weight, in the shape and type of ``weight_orig``."""
        with torch.autocast("cuda", enabled=False):  # it would take these products in half precision; a CPU's does not
            return self._normalised()

    def _normalised(self) -> Tensor:
        matrix = self.weight_orig.transpose(0, 1) if self.transposed else self.weight_orig
        matrix = matrix.flatten(1)
        u, v = self.weight_u, self.weight_v
        if self.training or self.live:
            with torch.no_grad():
                v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=1e-12)
                u = F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12)
                if self.training:
                    self.weight_u.copy_(u)
                    self.weight_v.copy_(v)
        return self.weight_orig / torch.dot(u, torch.mv(matrix, v))

    def forward(self, x: Tensor) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(x, self.weight(), None, self.stride, self.padding)
        return F.conv2d(x, self.weight(), None, self.stride, self.padding)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that at inference uses the running statistics or those of each sample alone.

    ``sample`` is what a published model does that was sampled in train mode, one image at a time.
    """

    stats: NormStats = "running"

    def forward(self, input: Tensor) -> Tensor:
        if self.training or self.stats == "running":
            return super().forward(input)
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)


def use_statistics(network: nn.Module, stats: NormStats) -> None:
    """Choose the statistics of batch norm in eval mode; ``sample`` also takes spectral norm's power iteration of train
    mode, as a model does that was sampled without ``eval()``.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.stats = stats
        elif isinstance(module, SpectralConv2d):
            module.live = stats == "sample"


def reset_weights(network: nn.Module) -> None:
    """Start values of the published training code: N(0, 0.02) spectral weights, norm gains N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, SpectralConv2d):
            module.reset()
        elif isinstance(module, BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def norm_gate(x: Tensor, norm: BatchNorm2d, noise: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
    """Add scaled noise, batch norm, gated linear unit: [n, 2c, h, w] -> [n, c, h, w].

    The first half of the channels times the sigmoid of the second. In train mode it is one fused piece where
    ``compile_training`` was called.
    """
    if not (norm.training and _fused_norm_gate):
        if noise is not None and strength is not None:
            x = x + strength * noise
        return F.glu(norm(x), dim=1)
    out, mean, var = _fused_norm_gate(x, noise, strength, norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        count = x.numel() / x.shape[1]
        momentum = norm.momentum
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        weight = momentum if momentum is not None else 1.0 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean, weight)
        norm.running_var.lerp_(var * (count / (count - 1)), weight)
    return out


def compile_training() -> None:
    """Let TorchInductor fuse the pieces between convolutions: their backward is five times faster on a CPU."""
    global _fused_norm_gate
    torch._dynamo.config.recompile_limit = 64  # one for each shape of map
    _fused_norm_gate = torch.compile(_norm_gate, dynamic=False)


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


_fused_norm_gate: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None


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


class GLU(nn.Module):
    """Holds the place of the gate in a published ``Sequential``; :func:`norm_gate` computes it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=1)
