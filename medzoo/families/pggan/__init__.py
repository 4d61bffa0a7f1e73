"""Progressive GAN (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR
2018), in the two variants whose checkpoints were published for medical images.

Both grow an image from 4 px by blocks of up-sampling and two 3x3 convolutions with equalised learning rate, and keep a
head for every resolution; while the last block is faded in, the image of the head before is mixed to it. ``Polyp``
(Thambawita et al., PLOS ONE 2022) up-samples bilinearly and scales weights; ``ChestXRay`` (Segal et al., SN Computer
Science 2021) takes the nearest pixel, normalises every pixel, and scales what comes out of a layer, bias included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families.pggan.network import Fused, Layer, Mode, Network
from medzoo.randomness import Noise

# Channels of the polyp variant at each resolution, as a part of ``in_channel``.
POLYP_WIDTHS = {4: 1, 8: 1, 16: 1, 32: 1, 64: 2, 128: 4, 256: 4}
# The fields of the configuration that are of one variant alone.
VARIANTS = {
    "progan_polyp": {"input_code_dim", "in_channel", "img_channels", "pixel_norm", "tanh", "step"},
    "cxr_pggan": {"z_dim", "initial_channel_depth", "depths", "out_channels", "norm_layers", "equalize"}
    | {"leakiness", "mode"},
}


class Config(FamilyConfig):
    """Arguments of the two published networks, under their names; those of the other variant may not be stated.

    Attributes:
        variant: inferred from the state dict.
        alpha: where the last block is faded in: the weight of the new head (progan_polyp; outside [0, 1) it stands
            alone), or of the old one (cxr_pggan, whose state dict holds it). None for no fading.
        input_code_dim, z_dim: length of the latent.
        in_channel, initial_channel_depth: channels of the first map.
        depths: channels of each block.
        img_channels, out_channels: channels of the image, masks included.
        pixel_norm, norm_layers: whether every pixel is normalised behind every convolution.
        tanh: whether the output passes tanh.
        step: which head gives the image, 4 * 2^step px.
        equalize: whether the learning rate was equalised.
        leakiness: slope of LeakyReLU; 0.1 in the polyp variant.
        mode: how maps are up-sampled.
    """

    variant: Literal["progan_polyp", "cxr_pggan"]
    alpha: float | None = None
    input_code_dim: PositiveInt = 128
    in_channel: Annotated[int, Field(ge=4)] = 128
    img_channels: PositiveInt = 4
    pixel_norm: bool = False
    tanh: bool = False
    step: Annotated[int, Field(ge=1, le=6)] = 6
    z_dim: PositiveInt = 512
    initial_channel_depth: PositiveInt = 512
    depths: Annotated[tuple[PositiveInt, ...], Field(max_length=10)] = (512, 512, 512, 256, 128, 64, 32, 16)
    out_channels: PositiveInt = 3
    norm_layers: bool = True
    equalize: bool = True
    leakiness: float = 0.2
    mode: Mode = "nearest"

    @model_validator(mode="after")
    def _of_one_variant(self) -> Config:
        known = VARIANTS[self.variant] | {"variant", "alpha"}
        if foreign := sorted(self.model_fields_set - known):
            raise ValueError(f"variant '{self.variant}' has no {', '.join(foreign)}")
        return self

    @property
    def fade(self) -> float:
        """Weight of the older head in the image, 0 to 1."""
        if self.variant == "cxr_pggan":
            return max(0.0, self.alpha or 0.0) if self.depths else 0.0
        return 1 - self.alpha if self.alpha is not None and 0 <= self.alpha < 1 and self.step > 1 else 0.0


class PGGAN(Generator):
    """Latents N(0, 1) -> image and mask channels, without bound unless ``tanh``."""

    Config = Config
    kinds = ()
    tolerates = (r"^(current_size|current_depth|alpha)$",)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        config = self.config
        return (config.input_code_dim if config.variant == "progan_polyp" else config.z_dim,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        return _infer_polyp(state) or _infer_chest(state)

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        if config.variant == "progan_polyp":
            return config.img_channels, (4 << config.step, 4 << config.step)
        return config.out_channels, (4 << len(config.depths), 4 << len(config.depths))

    def build(self) -> nn.Module:
        return (Polyp if self.config.variant == "progan_polyp" else ChestXRay)(self.config)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        return Fused(network) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        return self.network(self.latent(noise))


class Equalised(nn.Module):
    """A convolution of the polyp variant: its stored weight is scaled by sqrt(2 / fan-in), its bias is not.

    The fan-in is taken over dimension 1 and the kernel, also for the transposed first layer.
    """

    def __init__(self, *shape: int, bias: int) -> None:
        super().__init__()
        self.conv = nn.ParameterDict({"bias": torch.zeros(bias), "weight_orig": torch.randn(shape)})

    def layer(self) -> Layer:
        weight = self.conv["weight_orig"]
        return weight * math.sqrt(2 / weight[0].numel()), self.conv["bias"]


class Polyp(Network):
    """The polyp variant. Names of the published state dict."""

    norm_first, norm_latent, norm_start = True, False, True
    slope, mode = 0.1, "bilinear"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm, self.tanh, self.fade = config.pixel_norm, config.tanh, config.fade
        self.sizes = [4 << i for i in range(config.step + 1)]
        inp = config.in_channel
        self.input_layer = nn.Sequential(Equalised(config.input_code_dim, inp, 4, 4, bias=inp))
        for size, part in POLYP_WIDTHS.items():
            out = config.in_channel // part
            convs = {
                "0": Equalised(out, inp, 3, 3, bias=out),
                "3" if self.norm else "2": Equalised(out, out, 3, 3, bias=out),
            }
            self.add_module(f"progression_{size}", _module(conv=nn.ModuleDict(convs)))
            if size > 4:
                self.add_module(f"to_rgb_{size}", Equalised(config.img_channels, out, 1, 1, bias=config.img_channels))
            inp = out

    def start(self) -> Layer:
        weight, bias = self.input_layer[0].layer()
        return weight.permute(0, 2, 3, 1).flatten(1), bias.repeat(16)

    def blocks(self) -> list[list[Layer]]:
        found = [self.get_submodule(f"progression_{size}.conv").children() for size in self.sizes]
        return [[conv.layer() for conv in block] for block in found]

    def heads(self) -> list[Layer]:
        return [self.get_submodule(f"to_rgb_{size}").layer() for size in self.sizes[:0:-1][:2]]


class ChestXRay(Network):
    """The chest X-ray variant. Names of the published state dict; plain layers where nothing is equalised."""

    norm_first, norm_start, tanh = False, False, False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = self.norm_latent = config.norm_layers
        self.slope, self.mode, self.fade, self.equalize = config.leakiness, config.mode, config.fade, config.equalize
        first, second = "0", "3" if config.norm_layers else "2"
        inp = config.initial_channel_depth
        wrapped = self.wrapped
        self.latent_linear = nn.ModuleList([_module(module=nn.Linear(config.z_dim, 16 * inp))])
        self.init_conv = nn.ModuleList([wrapped(nn.Conv2d(inp, inp, 3))])
        self.ScaleBlocks = nn.ModuleList()
        self.toRGB = nn.ModuleList([wrapped(nn.Conv2d(inp, config.out_channels, 1))])
        for out in config.depths:
            convs = {first: wrapped(nn.Conv2d(inp, out, 3)), second: wrapped(nn.Conv2d(out, out, 3))}
            self.ScaleBlocks.append(_module(convolv=nn.ModuleDict(convs)))
            self.toRGB.append(wrapped(nn.Conv2d(out, config.out_channels, 1)))
            inp = out

    def wrapped(self, conv: nn.Module) -> nn.Module:
        return _module(module=conv) if self.equalize else conv

    def layer(self, module: nn.Module) -> Layer:
        """Weight and bias, both scaled: the published layer scales what comes out."""
        inner: Any = module.get_submodule("module") if hasattr(module, "module") else module
        scale = math.sqrt(2 / inner.weight[0].numel()) if self.equalize else 1.0
        return inner.weight * scale, inner.bias * scale

    def start(self) -> Layer:
        weight, bias = (
            one.unflatten(0, (-1, 16)).transpose(0, 1).flatten(0, 1) for one in self.layer(self.latent_linear[0])
        )
        return weight.t(), bias

    def blocks(self) -> list[list[Layer]]:
        grown = [[self.layer(conv) for conv in block.get_submodule("convolv").children()] for block in self.ScaleBlocks]
        return [[self.layer(self.init_conv[0])], *grown]

    def heads(self) -> list[Layer]:
        return [self.layer(head) for head in reversed(self.toRGB[-2:])]


def _module(**children: nn.Module) -> nn.Module:
    """A module that holds others under names of a published state dict."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def _infer_polyp(state: Mapping[str, Tensor]) -> dict[str, Any]:
    first, head = state.get("input_layer.0.conv.weight_orig"), state.get("to_rgb_8.conv.weight_orig")
    if first is None or head is None or first.dim() != 4:
        return {}
    return {
        "variant": "progan_polyp", "input_code_dim": first.shape[0], "in_channel": first.shape[1],
        "img_channels": len(head), "pixel_norm": "progression_4.conv.3.conv.weight_orig" in state,
    }  # fmt: skip


def _infer_chest(state: Mapping[str, Tensor]) -> dict[str, Any]:
    first, equalize = state.get("latent_linear.0.module.weight"), "init_conv.0.module.weight" in state
    end = ".module.weight" if equalize else ".weight"
    head, alpha = state.get(f"toRGB.0{end}"), state.get("alpha")
    if first is None or head is None or first.dim() != 2 or head.dim() != 4:
        return {}
    blocks = (state.get(f"ScaleBlocks.{i}.convolv.0{end}") for i in range(len(state)))
    fading = {} if alpha is None or alpha.numel() != 1 else {"alpha": float(alpha)}
    return fading | {
        "variant": "cxr_pggan", "z_dim": first.shape[1], "initial_channel_depth": head.shape[1],
        "out_channels": len(head), "depths": tuple(len(one) for one in blocks if one is not None),
        "norm_layers": f"ScaleBlocks.0.convolv.2{end}" not in state, "equalize": equalize,
    }  # fmt: skip
