"""Tiny latent diffusion models with random weights, made and saved by diffusers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZE = 16  # pixels; latents are half of it
LENGTH = 10  # tokens of a prompt
LDM_NAMES = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
DOWN, UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def lively(network: Any, seed: int) -> Any:
    """Seeded weights whose layers all say something: diffusers sets the last ones of a ControlNet to zero."""
    torch.manual_seed(seed)
    for name, weight in network.named_parameters():
        noise = torch.randn_like(weight)
        scaled = 0.1 * noise + name.endswith("weight") if weight.dim() == 1 else noise / weight[0].numel() ** 0.5
        weight.data.copy_(scaled)
    return network.eval()


def autoencoder(kind: str = "AutoencoderKL", **changes: Any) -> Any:
    import diffusers

    fields: dict[str, Any] = {
        "block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4, "sample_size": SIZE,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    }  # fmt: skip
    more = {"num_vq_embeddings": 16, "scaling_factor": 0.7} if kind == "VQModel" else {}
    return lively(getattr(diffusers, kind)(**fields | more | changes), 1)


def text_unet(**changes: Any) -> Any:
    import diffusers

    fields: dict[str, Any] = {
        "sample_size": SIZE // 2, "cross_attention_dim": 12, "attention_head_dim": 2,
        "down_block_types": DOWN, "up_block_types": UP, **BLOCKS,
    }  # fmt: skip
    return lively(diffusers.UNet2DConditionModel(**fields | changes), 2)


def plain_unet(**changes: Any) -> Any:
    import diffusers

    fields: dict[str, Any] = {
        "sample_size": SIZE // 2, "in_channels": 4, "out_channels": 4, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        **BLOCKS,
    }  # fmt: skip
    return lively(diffusers.UNet2DModel(**fields | changes), 3)


def text_encoder(**changes: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    fields: dict[str, Any] = {
        "vocab_size": 200, "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": LENGTH, "bos_token_id": 198, "eos_token_id": 199,
    }  # fmt: skip
    return lively(CLIPTextModel(CLIPTextConfig(**fields | changes)), 4)


VOCABULARY = {chr(33 + i % 94) + "</w>" * (i >= 94): i for i in range(188)}
VOCABULARY |= {"lu": 188, "ng</w>": 189, "lung</w>": 190, "<|startoftext|>": 198, "<|endoftext|>": 199}
MERGES = [("l", "u"), ("n", "g</w>"), ("lu", "ng</w>")]


def tokenizer(**changes: Any) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=dict(VOCABULARY), merges=list(MERGES), model_max_length=LENGTH, **changes)


def scheduler(name: str = "DDIMScheduler", **changes: Any) -> Any:
    import diffusers

    ends = {"clip_sample": False} if name in ("DDIMScheduler", "DDPMScheduler") else {}
    ends |= {"set_alpha_to_one": False} if name == "DDIMScheduler" else {}
    return getattr(diffusers, name)(**SCHEDULE | ends | changes)


def stable_diffusion(
    schedule: Any = None, unet: Any = None, encoder: Any = None, words: Any = None, control: Any = None
) -> Any:
    """A StableDiffusionPipeline, or with ``control`` a StableDiffusionControlNetPipeline."""
    import diffusers

    parts = {
        "vae": autoencoder(), "unet": unet or text_unet(), "text_encoder": encoder or text_encoder(),
        "tokenizer": words or tokenizer(), "scheduler": schedule or scheduler(),
    }  # fmt: skip
    kind = "StableDiffusionPipeline" if control is None else "StableDiffusionControlNetPipeline"
    parts |= {} if control is None else {"controlnet": control}
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return quiet(getattr(diffusers, kind)(**parts, **none))


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder


def single_file(pipeline: Any) -> dict[str, torch.Tensor]:
    """The numbers of a pipeline in one state dict, named as the authors of latent diffusion do."""
    unet = {_unet_name(key): value for key, value in pipeline.unet.state_dict().items()}
    vae = {_vae_name(key): value for key, value in pipeline.vae.state_dict().items()}
    for key, value in vae.items():
        if ".attn_1." in key and value.dim() == 2:
            vae[key] = value[:, :, None, None]  # attention is a convolution of one pixel there
    text = {key: value for key, value in pipeline.text_encoder.state_dict().items()}
    return {
        **{f"model.diffusion_model.{key}": value for key, value in unet.items()},
        **{f"first_stage_model.{key}": value for key, value in vae.items()},
        **{f"cond_stage_model.transformer.text_model.{key}": value for key, value in text.items()},
        "betas": torch.zeros(3),
    }


def _unet_name(key: str) -> str:
    """Of a UNet with one layer a block: input blocks 1 and 3 are layers, 2 is the way down."""
    first, _, rest = key.partition(".")
    whole = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
    if first in whole:
        return f"{whole[first]}.{rest}"
    if first == "time_embedding":
        return f"time_embed.{2 * (int(rest[7]) - 1)}.{rest[9:]}"
    if first == "mid_block":
        kind, at, rest = rest.split(".", 2)
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(at)}.{_inner(rest)}"
    block, kind, at, rest = rest.split(".", 3)
    if kind == "downsamplers":
        return f"input_blocks.2.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.1.2.{rest}"
    where = (
        f"input_blocks.{1 + 2 * int(block)}" if first == "down_blocks" else f"output_blocks.{2 * int(block) + int(at)}"
    )
    return f"{where}.{int(kind == 'attentions')}.{_inner(rest)}"


def _inner(name: str) -> str:
    layer, _, rest = name.partition(".")
    return f"{LDM_NAMES.get(layer, layer)}.{rest}"


def _vae_name(key: str) -> str:
    """Of an autoencoder with two blocks; its decoder counts them the other way round."""
    names = {
        "conv_norm_out": "norm_out", "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1", "down_blocks.": "down.", "resnets.": "block.",
        "downsamplers.0": "downsample", "upsamplers.0": "upsample", "conv_shortcut": "nin_shortcut",
        "up_blocks.0": "up.1", "up_blocks.1": "up.0", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
        "to_out.0": "proj_out",
    }  # fmt: skip
    for today, theirs in names.items():
        key = key.replace(today, theirs)
    return key
