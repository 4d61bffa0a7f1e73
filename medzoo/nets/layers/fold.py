"""The same function in fewer passes: stored statistics into weights, nearest x2 into the convolution behind it."""

from __future__ import annotations

import torch
from torch import nn

from medzoo.nets.folding import fold_upsampling
from medzoo.nets.layers._base import Chain
from medzoo.nets.layers._norms import _BatchNorm
from medzoo.nets.layers._shapes import UpsampleModule
from medzoo.nets.winograd import Winograd

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FOLDED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


def fold(network: nn.Module) -> nn.Module:
    """Rewrite every chain of a described network in place; exact but for the order of sums."""
    for module in network.modules():
        if isinstance(module, Chain):
            _fold_norms(module)
            _fold_upsampling(module)
            _fast(module)
    return network


def _fold_norms(chain: Chain) -> None:
    """Batch norm with stored statistics behind a linear layer or a convolution."""
    steps = list(chain.steps)
    for i, (before, norm) in enumerate(zip(steps, steps[1:], strict=False)):
        if not isinstance(norm, _BatchNorm) or norm.stats != "running" or not isinstance(before, _FOLDED):
            continue
        assert norm.running_mean is not None and norm.running_var is not None
        gain = torch.rsqrt(norm.running_var + norm.eps)
        gain = gain if norm.weight is None else gain * norm.weight
        shift = -norm.running_mean * gain if norm.bias is None else norm.bias - norm.running_mean * gain
        transposed = isinstance(before, _TRANSPOSED)
        if isinstance(before, _TRANSPOSED) and before.groups > 1:
            continue
        axis = 1 if transposed else 0
        shape = [1] * before.weight.dim()
        shape[axis] = -1
        before.weight = nn.Parameter(before.weight * gain.view(shape), requires_grad=False)
        bias = shift if before.bias is None else before.bias * gain + shift
        before.bias = nn.Parameter(bias, requires_grad=False)
        chain.steps[i + 1] = nn.Identity()
        steps[i + 1] = chain.steps[i + 1]
    _without_identities(chain)


def _fold_upsampling(chain: Chain) -> None:
    """Nearest x2 and a 3 x 3 convolution as one transposed convolution."""
    steps = list(chain.steps)
    for i, (before, conv) in enumerate(zip(steps, steps[1:], strict=False)):
        if not (isinstance(before, UpsampleModule) and before.doubles and _plain_3x3(conv)):
            continue
        assert isinstance(conv, nn.Conv2d)
        folded = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, 2, 1, bias=conv.bias is not None)
        folded.weight = nn.Parameter(fold_upsampling(conv.weight), requires_grad=False)
        folded.bias = conv.bias
        chain.steps[i], chain.steps[i + 1] = folded, nn.Identity()
        steps[i + 1] = chain.steps[i + 1]
    _without_identities(chain)


def _fast(chain: Chain) -> None:
    """Wide 3 x 3 convolutions from a quarter of the products, where that is worthwhile."""
    for i, conv in enumerate(chain.steps):
        if _plain_3x3(conv):
            assert isinstance(conv, nn.Conv2d)
            chain.steps[i] = Winograd(conv.weight, conv.bias, padding=1)


def _plain_3x3(module: nn.Module) -> bool:
    """Whether it is a 3 x 3 convolution that keeps the size, padded with zeros."""
    return isinstance(module, nn.Conv2d) and (
        module.kernel_size == (3, 3) and module.stride == (1, 1) and module.padding == (1, 1)
        and module.dilation == (1, 1) and module.groups == 1 and module.padding_mode == "zeros"
    )  # fmt: skip


def _without_identities(chain: Chain) -> None:
    kept = [
        (place, step) for place, step in zip(chain.places, chain.steps, strict=True) if type(step) is not nn.Identity
    ]
    chain.places = tuple(place for place, _ in kept)
    chain.steps = nn.ModuleList(step for _, step in kept)
