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

from medzoo.nets.folding import fold_upsampling

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
        return self.weight_orig / self.norm()

    def norm(self) -> Tensor:
        """The largest singular value of the weight as the vectors have it, a scalar."""
        with torch.autocast("cuda", enabled=False):  # it would take these products in half precision; a CPU's does not
            return self._norm()

    def _norm(self) -> Tensor:
        weight = self.weight_orig.transpose(0, 1) if self.transposed else self.weight_orig
        u, v = self.weight_u, self.weight_v
        # In training the rows of the matrix lie as in memory: to flatten channels_last would copy all of it.
        as_stored = self.training and weight.is_contiguous(memory_format=torch.channels_last)
        if as_stored:
            weight, v = weight.permute(0, 2, 3, 1), v.view(weight.shape[1:]).permute(1, 2, 0).flatten()
        matrix = weight.flatten(1)
        if self.training or self.live:
            with torch.no_grad():
                v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=1e-12)
                u = F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12)
                if self.training:
                    self.weight_u.copy_(u)
                    self.weight_v.copy_(v.view(weight.shape[1:]).permute(2, 0, 1).flatten() if as_stored else v)
        return torch.dot(u, torch.mv(matrix, v))

    def forward(self, x: Tensor, grow: bool = False) -> Tensor:
        """The convolution; with ``grow`` nearest x2 and then this 3x3 convolution, in one piece.

        In training that takes half the time, and less memory for its gradient.
        """
        if grow:
            return self._normalised(x, lambda w: F.conv_transpose2d(x, fold_upsampling(w), None, 2, 1))
        if self.transposed:
            return self._normalised(x, lambda w: F.conv_transpose2d(x, w, None, self.stride, self.padding))
        return self._normalised(x, lambda w: F.conv2d(x, w, None, self.stride, self.padding))

    def _normalised(self, x: Tensor, convolve: Callable[[Tensor], Tensor]) -> Tensor:
        """A convolution with the normalised weight. Where maps are smaller than it, they are divided."""
        if self.training and x.numel() < self.weight_orig.numel():
            return convolve(self.weight_orig) / self.norm()
        return convolve(self.weight())


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
