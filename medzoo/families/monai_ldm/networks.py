"""MONAI's networks of a latent diffusion model, made from checked fields, and the names of their older checkpoints.

MONAI itself (the extra ``monai``) is imported when a network is built. Fields have the names and the
defaults of ``monai.networks.nets.AutoencoderKL``, ``DiffusionModelUNet`` and ``ControlNet`` (MONAI 1.5 and later), so
that an entry states what a bundle's configuration states.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveFloat
from medzoo.errors import MedzooError, pip_install
from medzoo.families import _diffusers_config
from medzoo.families._base import FamilyConfig

Width = Annotated[int, Field(ge=1, le=2**16)]  # channels, classes, or a side: what memory can hold
Levels = Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)]
Blocks = Annotated[int, Field(ge=1, le=100)]


class _Levels(FamilyConfig):
    """A stack of resolution levels, from the finest."""

    channels: Levels
    attention_levels: tuple[bool, ...]
    num_res_blocks: Blocks | tuple[Blocks, ...] = 2
    norm_num_groups: Width = 32
    norm_eps: PositiveFloat = 1e-6
    include_fc: bool = True
    use_combined_linear: bool = False

    @model_validator(mode="after")
    def _one_for_each_level(self) -> _Levels:
        for name in ("attention_levels", "num_res_blocks", "num_head_channels"):
            value = getattr(self, name, None)
            if isinstance(value, tuple) and len(value) != len(self.channels):
                raise ValueError(
                    f"{name} needs {len(self.channels)} values, one for each of channels, has {len(value)}"
                )
        return self


class Autoencoder(_Levels):
    """``AutoencoderKL``: its decoder is what generates, so nothing is stated of the encoder alone.

    Attributes:
        with_decoder_nonlocal_attn: attention at the coarsest level.
        include_fc: a linear layer after attention; MONAI Generative Models, before they became part of MONAI, had
            none in effect.
    """

    latent_channels: Width
    out_channels: Width = 1
    with_decoder_nonlocal_attn: bool = True
    use_convtranspose: bool = False


class Diffusion(_Levels):
    """``DiffusionModelUNet``.

    Attributes:
        in_channels: of the latent and of all that is joined to it.
        with_conditioning, cross_attention_dim: attention to the numbers of a sample, and how many.
        num_class_embeds: how many classes; null for none.
    """

    in_channels: Width
    out_channels: Width
    resblock_updown: bool = False
    num_head_channels: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], ...] = 8
    with_conditioning: bool = False
    transformer_num_layers: Blocks = 1
    cross_attention_dim: Width | None = None
    num_class_embeds: Width | None = None
    upcast_attention: bool = False


class Control(FamilyConfig):
    """``ControlNet``: the UNet's first half again, which sees an image as large as the output.

    Attributes:
        scale: what its contribution is multiplied by.
    """

    conditioning_embedding_in_channels: Width = 1
    conditioning_embedding_num_channels: Levels = (16, 32, 96, 256)
    scale: Annotated[float, Field(ge=0)] = 1.0


class Network(nn.Module):
    """The parts of a model under their names; the autoencoder without its encoder, unless ``encoder``."""

    def __init__(
        self,
        dims: int,
        autoencoder: Autoencoder | None,
        diffusion: Diffusion,
        controlnet: Control | None,
        text_encoder: Mapping[str, Any] | None,
        encoder: bool = False,
    ) -> None:
        super().__init__()
        nets = _monai()
        self.diffusion = nets.DiffusionModelUNet(spatial_dims=dims, **dict(diffusion))
        self.autoencoder: nn.Module | None = None
        self.controlnet: nn.Module | None = None
        self.text_encoder: nn.Module | None = None
        if text_encoder is not None:
            made = _diffusers_config.network("text_encoder", text_encoder)
            self.text_encoder = getattr(made, "text_model", made)  # as older transformers have it
        if autoencoder is not None:
            stated = {"in_channels": autoencoder.out_channels, "with_encoder_nonlocal_attn": False, **dict(autoencoder)}
            self.autoencoder = nets.AutoencoderKL(spatial_dims=dims, **stated)
            for name in () if encoder else ("encoder", "quant_conv_mu", "quant_conv_log_sigma"):
                delattr(self.autoencoder, name)
        if controlnet is not None:
            shared = {name: value for name, value in diffusion if name != "out_channels"}
            self.controlnet = nets.ControlNet(
                spatial_dims=dims, **shared, **{k: v for k, v in controlnet if k != "scale"}
            )


def renamed(state: Mapping[str, Tensor], without_fc: Collection[str]) -> dict[str, Tensor]:
    """A state dict under MONAI's names of today, without the autoencoder's encoder and without text files.

    The repository MONAI Generative Models, where these networks come from, named attention and up-sampling otherwise,
    and stored a linear layer after attention (``proj_attn``) that it never applied.

    Args:
        without_fc: parts whose networks lack that layer.
    """
    current = {}
    for key, tensor in state.items():
        if re.match(r"autoencoder\.(encoder|quant_conv_mu|quant_conv_log_sigma)\.", key):
            continue
        if key.endswith(".text") or ".proj_attn." in key and key.partition(".")[0] in without_fc:
            continue
        for pattern, name in _OLD_NAMES:
            key = re.sub(pattern, name, key)
        current[key] = tensor
    return current


_OLD_NAMES = (
    (r"(\.attentions\.\d+|\.attention|\.blocks\.\d+)\.(to_[qkv])\.", r"\1.attn.\2."),
    (r"(\.attentions\.\d+|\.attention|\.blocks\.\d+)\.proj_attn\.", r"\1.attn.out_proj."),
    (r"(\.attn[12])\.to_out\.0\.", r"\1.out_proj."),
    (r"^text_encoder\.text_model\.", "text_encoder."),
    (r"^(autoencoder\.decoder\.blocks\.\d+|diffusion\..*\.upsampler)\.conv\.conv\.", r"\1.postconv.conv."),
)


def speed_up(network: nn.Module, dtype: torch.dtype, *, fused: bool) -> None:
    """Attention by PyTorch's fused kernel, which never holds the matrix of all pairs of voxels.

    Scores are computed in float32 in lower precision, too, by that kernel. MONAI's own way of doing so
    (``upcast_attention``) only runs in float32, where it changes nothing, and is switched off.
    """
    for module in network.modules():
        if hasattr(module, "use_flash_attention") and hasattr(module, "attention_dtype"):
            module.use_flash_attention = fused
            if fused or dtype != torch.float32:
                module.attention_dtype = None


def _monai() -> Any:
    try:
        import einops  # noqa: F401  (MONAI finds out late that it needs it)
        from monai.networks import nets
    except ImportError as error:
        raise MedzooError(f"this model needs MONAI ({error}); type: {pip_install('medzoo[monai]')}") from None
    if not hasattr(nets, "DiffusionModelUNet") or not hasattr(nets, "ControlNet"):
        raise MedzooError("this model needs MONAI 1.5 or later; type: pip install --upgrade monai")
    return nets
