"""The contract that every family keeps: add a family's case to CASES."""

from __future__ import annotations

import json
from typing import Any

from medzoo.testing import FamilyCase, FamilyContract, example_images
from tests.tools.family_cases import DENOISER, GUIDED, MASS, PLANE, QUIET, VAE, VQVAE

MONAI = {"latent": 6, "start_shape": [4, 4, 4], "channels": [6, 1], "strides": [2, 1]}
MONAI_MASK = MONAI | {"channels": [6, 4]}

FASTGAN = {"ngf": 8, "nz": 8, "nc": 4, "im_size": 128}

DCGAN = {"nz": 6, "ngf": 4, "nc": 3, "image_size": 32}
DCGAN_BIAS = {"nz": 6, "ngf": 4, "nc": 1, "image_size": 16, "bias": True}
CDCGAN = {"nz": 6, "ngf": 4, "nc": 2, "image_size": 16, "conditional": True}
CDCGAN_CLASSES = CDCGAN | {"is_condition_categorical": True, "n_cond": 2, "num_embedding_dimensions": 3}
LEVEL = {
    "kind": "attributes", "required": False,
    "attributes": [{"name": "level", "low": 0.0, "high": 1.0, "unit": None}],
}  # fmt: skip

# Names as the network has them, so that its random state is a file's.
GROWN: list[Any] = [
    {"op": "conv_transpose", "key": "chain.steps.0", "stride": 1}, {"op": "batch_norm", "key": "chain.steps.1"}, "relu",
    {"op": "upsample", "scale": 2},
]  # fmt: skip
INJECTED: list[Any] = [{"op": "noise", "by": 0.1}, {"op": "dropout", "p": 0.2, "on": True}]
NORMED: dict[str, list[int]] = {
    f"chain.steps.1.{name}": [6] for name in ("weight", "bias", "running_mean", "running_var")
} | {"chain.steps.1.num_batches_tracked": []}
LIST: dict[str, Any] = {
    "latent": [5, 1, 1], "layers": [*GROWN, {"op": "conv", "key": "chain.steps.4", "padding": 1}, *INJECTED, "tanh"],
    "tensors": NORMED | {"chain.steps.0.weight": [5, 6, 4, 4], "chain.steps.4.weight": [2, 6, 3, 3]},
}  # fmt: skip
LABELLED = {
    "op": "multiply", "layers": [
        {"op": "use", "value": "label"}, {"op": "embedding", "key": "chain.steps.0.chain.steps.1"},
        {"op": "view", "shape": [5, 1, 1]},
    ],
}  # fmt: skip
LIST_OF_CLASSES: dict[str, Any] = {
    "latent": [5, 1, 1], "classes": 3, "layers": [
        LABELLED, {"op": "conv_transpose", "key": "chain.steps.1"}, {"op": "pixel_shuffle", "factor": 2}, "tanh",
    ],
    "tensors": {"chain.steps.0.chain.steps.1.weight": [3, 5], "chain.steps.1.weight": [5, 8, 4, 4]},
}  # fmt: skip
LIST_OF_IMAGES = {
    "image": [1, 8, 8], "layers": [{"op": "conv", "key": "chain.steps.0", "padding": 2}, "tanh"],
    "tensors": {"chain.steps.0.weight": [1, 1, 5, 5]},
}  # fmt: skip

POLYP = {"variant": "progan_polyp", "input_code_dim": 6, "in_channel": 8, "img_channels": 4, "step": 3}
CHEST = {
    "variant": "cxr_pggan", "z_dim": 6, "initial_channel_depth": 8, "depths": [6, 4], "out_channels": 1,
}  # fmt: skip

STYLES = {
    "z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": 16, "img_channels": 1, "channels": [6, 5, 4],
    "mapping_features": [7, 5], "embed_features": 0, "architecture": "resnet", "use_noise": True, "filter_taps": 4,
    "mapping_kwargs": {"lr_multiplier": 1.0},  # the published 0.01 goes with weights of 100
}  # fmt: skip
STYLES_OF_CLASSES = STYLES | {"c_dim": 3, "embed_features": 4, "img_channels": 4, "architecture": "skip"}
TRUNCATED = {"latent": "normal", "truncation": 0.7}

SHAPE = {"network": "shape", "input_nc": 2, "output_nc": 1, "width": 8}
MRI = {"kind": "images", "channels": 1, "range": [0.0, 1.0]}
CIRCLES = [
    {"name": name, "low": 0.0, "high": None, "unit": "pixels"}
    for name in ("x_center", "y_center", "radius_1", "radius_2", "radius_3")
]
AGEING = {
    "n_channels": 1, "model_channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_resolutions": [2],
    "use_scale_shift_norm": False, "num_groups_GN": 4,
}  # fmt: skip
YEARS = {
    "kind": "image", "inputs": ["slice"], "channels": 1,
    "attributes": [{"name": "years", "low": None, "high": None, "unit": "years"}],
}  # fmt: skip

CYCLE = {"input_nc": 1, "output_nc": 1, "ngf": 4, "n_blocks": 2, "norm": "instance"}
CYCLE_BATCH = CYCLE | {"input_nc": 3, "output_nc": 2, "norm": "batch", "use_dropout": True}
UNET = {"input_nc": 1, "output_nc": 3, "num_downs": 5, "ngf": 4, "norm": "instance"}
UNET_LIVE = UNET | {"num_downs": 6, "ngf": 2, "norm": "batch", "use_dropout": True, "live_dropout": True}
HD = {"input_nc": 3, "output_nc": 3, "ngf": 4, "n_downsampling": 3, "n_blocks": 1, "norm": "instance"}
PICTURE = {"kind": "image", "inputs": ["picture"]}

STACK = {"channels": [4, 8], "attention_levels": [False, True], "num_res_blocks": 1, "norm_num_groups": 2}
UNET_MONAI = STACK | {"in_channels": 3, "out_channels": 3, "num_head_channels": 4}
LDM = {
    "dims": 2, "latent_size": [6, 4], "diffusion": UNET_MONAI, "autoencoder": STACK | {"latent_channels": 3},
    "schedule": {"num_train_timesteps": 20, "beta_schedule": "scaled_linear", "clip_sample": False},
    "scale_factor": 0.5, "orientation": "LA",
}  # fmt: skip
LDM_VOLUMES = LDM | {
    "dims": 3, "latent_size": [2, 4, 6], "orientation": "RAS", "join_attributes": True, "unconditional": -1.0,
    # Eight channels: torch's bfloat16 Conv3d of 12 channels and depth 1 reads memory that nobody wrote (2.13, CPU).
    "diffusion": UNET_MONAI
    | {"channels": [8, 8], "in_channels": 5, "with_conditioning": True, "cross_attention_dim": 2},
}  # fmt: skip
PERSON = {
    "kind": "attributes",
    "attributes": [
        {"name": "age", "low": 40.0, "high": 80.0, "unit": "years"},
        {"name": "volume", "low": 0.0, "high": 1.0, "unit": None},
    ],
}  # fmt: skip
PIXELS = {
    "dims": 2, "latent_size": [8, 8], "schedule": {"num_train_timesteps": 20},
    "diffusion": UNET_MONAI | {"in_channels": 2, "out_channels": 2, "num_class_embeds": 2},
}  # fmt: skip

LATENTS = {
    "_class_name": "AutoencoderKL", "block_out_channels": [8, 8], "norm_num_groups": 4, "latent_channels": 2,
    "in_channels": 1, "out_channels": 1, "sample_size": 16, "scaling_factor": 0.5,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
UNET2D = {
    "_class_name": "UNet2DModel", "sample_size": [8, 4], "in_channels": 3, "out_channels": 2, "attention_head_dim": 4,
    "block_out_channels": [4, 8], "norm_num_groups": 4, "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
BETAS = {"beta_schedule": "scaled_linear", "num_train_timesteps": 20, "clip_sample": False, "steps_offset": 1}
MASKED_LATENTS = {"unet": UNET2D, "vae": LATENTS, "schedule": BETAS}
PROMPTED = {
    "unet": UNET2D | {
        "_class_name": "UNet2DConditionModel", "in_channels": 2, "cross_attention_dim": 6, "attention_head_dim": 2,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    },
    "vae": LATENTS, "schedule": BETAS | {"prediction_type": "v_prediction"},
    "text_encoder": {
        "vocab_size": 70, "hidden_size": 6, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 6, "bos_token_id": 68, "eos_token_id": 69,
    },
    "pad_token": "a",
}  # fmt: skip
LETTERS = {chr(97 + i % 26) + "</w>" * (i >= 26): i for i in range(52)} | {"lu": 52, "<|startoftext|>": 68}
TOKENIZER = {
    "tokenizer/vocab": json.dumps(LETTERS | {"<|endoftext|>": 69}),
    "tokenizer/merges": "#version: 0.2\nl u\n",
    "tokenizer/tokenizer_config": json.dumps({"pad_token": {"content": "a"}}),
}

NOISY = {"improved": DENOISER, "size": [16, 16], "schedule": QUIET | {"variance_type": "learned_range"}}
SOLVED = {"latent": "normal", "sampler": "dpm++", "steps": 3, "guidance": 2.0}


CASES = [
    FamilyCase("diffusion", NOISY, (16, 16), sampling={"latent": "normal", "sampler": "ddpm", "steps": 3}),
    FamilyCase("diffusion", GUIDED, (16, 16), sampling=SOLVED, condition=PLANE, ask="coronal"),
    FamilyCase("fastgan", FASTGAN, (128, 128), 3, 1, sampling={"latent": "normal", "norm_stats": "running"}),
    FamilyCase("fastgan", FASTGAN, (128, 128), 3, 1, sampling={"latent": "normal", "norm_stats": "sample"}),
    FamilyCase("monai_gan", MONAI, (8, 8), range=(0.0, 1.0), sampling={"latent": "uniform"}),
    FamilyCase("monai_gan", MONAI_MASK, (8, 8), channels=3, masks=1, range=(0.0, 1.0)),
    FamilyCase("monai_ldm", LDM, (8, 12), sampling={"latent": "normal", "sampler": "ddim", "steps": 4}),
    FamilyCase(
        "monai_ldm",
        LDM_VOLUMES,
        (12, 8, 4),
        sampling={"latent": "normal", "sampler": "dpm++", "steps": 3, "guidance": 2.0},
        condition=PERSON,
        ask={"age": 50, "volume": 0.25},
    ),
    FamilyCase(
        "monai_ldm",
        PIXELS,
        (8, 8),
        masks=1,
        sampling={"latent": "normal", "steps": 3},
        condition=MASS,
        ask="benign",
    ),
    FamilyCase(
        "latent_diffusion",
        MASKED_LATENTS,
        (16, 8),
        sampling={"latent": "normal", "sampler": "ddpm", "steps": 3},
        condition={"kind": "mask", "inputs": ["organ"], "channels": 1},
        ask=example_images(1, (16, 8)),
        texts={"unet/config": json.dumps(UNET2D)},
    ),
    FamilyCase(
        "latent_diffusion",
        PROMPTED,
        (16, 8),
        sampling={"latent": "normal", "sampler": "ddim", "steps": 3, "guidance": 3.0},
        condition={"kind": "text"},
        ask="a lung",
        texts=TOKENIZER,
    ),
    FamilyCase("layers", LIST, (8, 8), channels=2),
    FamilyCase("layers", LIST_OF_CLASSES, (8, 8), masks=1, condition=PLANE | {"required": False}, ask="coronal"),
    FamilyCase("layers", LIST_OF_IMAGES, (8, 8), condition=PICTURE, ask=example_images(1, (8, 8)), draws=False),
    FamilyCase("dcgan", DCGAN, (32, 32), channels=3),
    FamilyCase("dcgan", DCGAN_BIAS, (16, 16), sampling={"latent": "normal", "norm_stats": "sample"}),
    FamilyCase("dcgan", CDCGAN, (16, 16), condition=LEVEL, ask=0.25),
    FamilyCase("dcgan", CDCGAN_CLASSES, (16, 16), condition=MASS, ask="benign"),
    FamilyCase("wgan_gp", DCGAN, (32, 32), channels=3),
    FamilyCase("pggan", POLYP, (32, 32), channels=3, masks=1),
    FamilyCase("pggan", CHEST, (16, 16)),
    FamilyCase("stylegan2", STYLES, (16, 16), sampling={"latent": "normal", "noise": "random"}),
    FamilyCase("stylegan2", STYLES_OF_CLASSES, (16, 16), 3, 1, sampling=TRUNCATED, condition=PLANE, ask="coronal"),
    FamilyCase(
        "inpaint",
        SHAPE,
        (16, 16),
        condition=MRI | {"inputs": ["first", "second"]},
        ask=example_images(2, (16, 16)),
        draws=False,
    ),
    FamilyCase(
        "inpaint",
        SHAPE | {"network": "inpaint", "input_nc": 5, "output_nc": 4},
        (16, 16),
        4,
        condition=MRI | {"inputs": ["F", "T1", "T1c", "T2", "mask"]},
        ask=example_images(5, (16, 16)),
        draws=False,
    ),
    FamilyCase(
        "inpaint",
        SHAPE | {"network": "pipeline", "input_nc": 5, "output_nc": 4},
        (16, 16),
        4,
        4,
        (0.0, 1.0),
        condition=MRI | {"inputs": ["F", "T1", "T1c", "T2"], "attributes": CIRCLES},
        ask=example_images(4, (16, 16)),
    ),
    FamilyCase(
        "ageing_wgan",
        AGEING,
        (16, 16),
        condition=YEARS,
        ask={"slice": example_images(1, (16, 16)), "years": 7},
        draws=False,
    ),
    FamilyCase("cyclegan", CYCLE, (20, 24), condition=PICTURE, ask=example_images(1, (20, 24)), draws=False),
    FamilyCase(
        "cyclegan",
        CYCLE_BATCH,
        (16, 24),
        2,
        sampling={"latent": None, "norm_stats": "sample"},
        condition=PICTURE,
        ask=example_images(3, (16, 24)),
        draws=False,
    ),
    FamilyCase("pix2pixhd", HD, (32, 24), 3, condition=PICTURE, ask=example_images(3, (32, 24)), draws=False),
    FamilyCase("pix2pix", UNET, (32, 64), 3, condition=PICTURE, ask=example_images(1, (32, 64)), draws=False),
    FamilyCase(
        "pix2pix",
        UNET_LIVE,
        (64, 64),
        3,
        sampling={"latent": None, "norm_stats": "sample"},
        condition=PICTURE,
        ask=example_images(1, (64, 64)),
    ),
    FamilyCase("vae", VAE, (16, 16), 3, 1),
    FamilyCase("vae", VAE | {"channels": 1, "image_size": 28, "classes": 2}, (28, 28), condition=MASS, ask="benign"),
    FamilyCase("vqvae", VQVAE, (16, 16), sampling={"latent": "uniform"}, condition=MASS, ask="benign", smooth=False),
]


class TestContract(FamilyContract):
    cases = CASES
