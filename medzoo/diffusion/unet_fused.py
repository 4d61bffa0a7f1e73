"""The U-Nets of diffusion models for speed: of improved-diffusion (``unet.py``), and of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.diffusion.unet import UNet, Up
from medzoo.nets.folding import fold_upsampling
from medzoo.nets.statistics import group_norm
from medzoo.nets.winograd import LEAST_CHANNELS, Winograd

# Channels from which Winograd's sums pay at the sizes that diffusers' networks have.
WIDE = 128


def fuse(network: nn.Module) -> nn.Module:
    """Fewer products in wide convolutions and behind an enlargement, exact norms in channels_last memory, fewer copies.

    Not differentiable.
    """
    _rewrite(network, LEAST_CHANNELS if isinstance(network, UNet) else WIDE)
    if isinstance(network, UNet):
        for name, module in network.named_modules():
            if isinstance(module, nn.SiLU) and "emb" not in name:  # all blocks share the code of the time step
                module.inplace = True
    return network


def _rewrite(parent: nn.Module, wide: int) -> None:
    for name, module in list(parent.named_children()):
        new = _faster(module, wide)
        if new is not None:
            setattr(parent, name, new)
        if new is None or isinstance(new, FusedBlock):
            _rewrite(new or module, wide)


def _faster(module: nn.Module, wide: int) -> nn.Module | None:
    if isinstance(module, Up):
        return FusedUp(module.conv)
    kind = type(module).__name__  # of diffusers, which need not be there
    if kind == "Upsample2D":
        conv = module._modules.get("conv")
        usual = module.use_conv and module.norm is None and isinstance(conv, nn.Conv2d) and _is_plain(conv)
        return FusedUp(conv) if usual else None
    if kind == "ResnetBlock2D":
        usual = module.upsample is None and module.downsample is None and not module.skip_time_act
        usual = usual and module.time_embedding_norm in ("default", "scale_shift")
        return FusedBlock(module) if usual and isinstance(module.nonlinearity, nn.SiLU) else None
    if isinstance(module, nn.GroupNorm) and module.affine:
        return FusedNorm(module)
    if type(module) is nn.Conv2d and _is_plain(module) and min(module.weight.shape[:2]) >= wide:
        return Winograd(module.weight, module.bias, padding=1)
    return None


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether it is a 3x3 convolution that keeps the size."""
    settings = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    return settings == ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")


class FusedNorm(nn.Module):
    """Group norm."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps, self.weight, self.bias = norm.num_groups, norm.eps, norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        return group_norm(x, self.groups, self.weight, self.bias, self.eps)


class FusedUp(nn.Module):
    """Nearest x2 and a 3x3 convolution in one transposed convolution."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv  # for sizes that are not twice the size
        self.weight = nn.Parameter(fold_upsampling(conv.weight.detach()), requires_grad=False)

    def forward(self, x: Tensor, other: Any = None) -> Tensor:
        """``other`` is the code of the time step, or the size [h, w] that diffusers asks for."""
        if other is not None and not isinstance(other, Tensor) and tuple(other) != (2 * x.shape[2], 2 * x.shape[3]):
            return self.conv(F.interpolate(x, size=tuple(other), mode="nearest"))
        return F.conv_transpose2d(x, self.weight, self.conv.bias, stride=2, padding=1)


class FusedBlock(nn.Module):
    """diffusers' ``ResnetBlock2D`` of one size: x [n, inp, h, w] and the code of the time step -> [n, out, h, w]."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.norm1, self.conv1, self.norm2, self.conv2 = block.norm1, block.conv1, block.norm2, block.conv2
        self.time_emb_proj, self.conv_shortcut = block.time_emb_proj, block.conv_shortcut
        self.scales = block.time_embedding_norm == "scale_shift"
        self.divisor: float = block.output_scale_factor

    def forward(self, x: Tensor, temb: Tensor | None = None, *unused: Any, **ignored: Any) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x), inplace=True))
        code = (
            None if self.time_emb_proj is None or temb is None else self.time_emb_proj(F.silu(temb))[:, :, None, None]
        )
        if code is not None and not self.scales:
            inner += code
        inner = self.norm2(inner)
        if code is not None and self.scales:
            scale, shift = code.chunk(2, dim=1)
            inner = torch.addcmul(shift, inner, 1 + scale)
        inner = self.conv2(F.silu(inner, inplace=True))
        inner += x if self.conv_shortcut is None else self.conv_shortcut(x)
        return inner if self.divisor == 1 else inner.div_(self.divisor)
