"""Small blocks shared by families: convolutions with live spectral norm, and batch norm with a choice of statistics.

State-dict names are those of ``torch.nn.utils.spectral_norm`` and ``torch.nn.BatchNorm2d``, so that published
checkpoints load as they are.
"""

from __future__ import annotations

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
