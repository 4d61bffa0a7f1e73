"""Names of tensors in other layouts: one file as the authors of latent diffusion store it, and older diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medzoo.errors import CheckpointError
from medzoo.families._diffusers_config import settings

UNET, EMA, VAE, TEXT = "model.diffusion_model.", "model_ema.", "first_stage_model.", "cond_stage_model."
# The part that such a file is where the model has others, too: its tokenizer, or configurations.
PART = "checkpoint."
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD = re.compile(rf"(attentions\.\d+)\.({'|'.join(OLD_ATTENTION)})\.")

# Stable Diffusion 1.x as published; the file itself does not say how many heads share the channels.
SD_BLOCKS = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "attention_head_dim": 8}
SD_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel", "sample_size": 64, "cross_attention_dim": 768, "out_channels": 4, **SD_BLOCKS
}  # fmt: skip
SD_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL", "sample_size": 512, "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2, "latent_channels": 4, "scaling_factor": 0.18215,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
SD_TEXT: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
}  # fmt: skip
SD_SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
    "clip_sample": False, "set_alpha_to_one": False, "method": "ddim",
}  # fmt: skip


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of a single file with the shapes of Stable Diffusion 1.x; empty for any other."""
    state = _single(state)
    first = state.get(f"{UNET}input_blocks.0.0.weight")
    text = state.get(f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    if first is None or text is None or first.shape[0] != 320 or text.shape[1] != 768:
        return {}
    return {
        "unet": SD_UNET | {"in_channels": int(first.shape[1])},
        "vae": SD_VAE,
        "text_encoder": SD_TEXT,
        "schedule": SD_SCHEDULE,
    }


def converted(state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
    """A single file under the names of diffusers, by the conversion of diffusers itself; others as they are.

    Averaged weights go before others. Text files stay.

    Raises CheckpointError: the names are not those of the layout.
    """
    single = _single(state)
    if not any(key.startswith(UNET) for key in single):
        return dict(state)
    from diffusers.loaders import single_file_utils as layout

    found = {key: value for key, value in state.items() if key.endswith(".text")}
    try:
        parts = {
            "unet": layout.convert_ldm_unet_checkpoint(
                single, settings("unet", config.unet), extract_ema=any(key.startswith(EMA) for key in single)
            ),
            "vae": layout.convert_ldm_vae_checkpoint(dict(single), settings("vae", config.vae)),
        }
        if config.text_encoder is not None:
            parts["text_encoder"] = layout.convert_ldm_clip_checkpoint(single)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"one file in the layout of latent diffusion ({UNET}...), but not with the blocks of 'config': {error!r}"
        ) from None
    for key, value in single.items():
        if key.startswith(f"{VAE}quantize."):
            parts["vae"][key.removeprefix(VAE)] = value
    for part, tensors in parts.items():
        found |= {f"{part}.{key}": value for key, value in tensors.items() if value is not None}
    return found


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of today for those that older versions of diffusers and transformers stored."""
    found = {}
    for key, value in state.items():
        new = key.replace("text_encoder.text_model.", "text_encoder.", 1)
        new = _OLD.sub(lambda match: f"{match[1]}.{OLD_ATTENTION[match[2]]}.", new)
        if new != key and value.dim() == 4:  # attention was a convolution of one pixel
            value = value[:, :, 0, 0]
        found[new] = value
    return found


def _single(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(PART): value for key, value in state.items() if not key.endswith(".text")}
