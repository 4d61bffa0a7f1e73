"""Folding batch norm into the convolution before it: the same function (eval mode), fewer passes over memory."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module, pairs: Iterable[tuple[str, str]]) -> None:
    """Replace, in each module that has both attributes, a convolution by the fused one and its norm by nothing."""
    pairs = tuple(pairs)
    for module in list(network.modules()):
        for conv, norm in pairs:
            if isinstance(getattr(module, conv, None), nn.Conv2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
