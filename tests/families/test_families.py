"""The contract that every family keeps, applied to each by one line; and what is special to some.

To add a family: append its ``Case`` to ``CASES``.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import medzoo.families as families
from medzoo import device as devices
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, ConditionError, DeviceError, EntryError, GenerationError, RegistryError
from medzoo.families import get_family, known_families
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise
from medzoo.samples import Samples
from tests.conftest import entry_fields, random_state


@dataclass(frozen=True)
class Case:
    """A tiny model of a family.

    Attributes:
        range: raw values that become 0 and 1.
        condition: fields of the entry's condition; None for a model without.
        ask: what callers say as condition; images are given in turn.
        draws: whether the seed matters: not for a network from image to image.
        words: parts that are files of words, beside those of numbers.
        smooth: whether the output follows what goes in: not where codes are drawn.
    """

    family: str
    config: dict[str, Any]
    size: tuple[int, ...]
    channels: int = 1
    masks: int = 0
    range: tuple[float, float] = (-1.0, 1.0)
    sampling: dict[str, Any] = field(default_factory=lambda: {"latent": "normal"})
    condition: dict[str, Any] | None = None
    ask: Any = None
    draws: bool = True
    words: dict[str, str] = field(default_factory=dict)
    smooth: bool = True

    def fields(self) -> dict[str, Any]:
        kind = "image" if len(self.size) == 2 else "volume"
        output = {
            "type": f"{kind}+mask" if self.masks else kind, "size": list(self.size), "channels": self.channels,
            "masks": self.masks, "range": list(self.range), "spacing": None,
        }  # fmt: skip
        return entry_fields(
            family=self.family, config=self.config, output=output, sampling=self.sampling, condition=self.condition
        )

    def load(self, state: dict[str, torch.Tensor] | None = None, **options: Any) -> Generator:
        state = self.state() if state is None else state
        return get_family(self.family)(Entry.model_validate(self.fields()), state, device="cpu", **options)

    def state(self) -> dict[str, torch.Tensor]:
        words = {
            f"{part}.text": torch.tensor(list(text.encode()), dtype=torch.uint8) for part, text in self.words.items()
        }
        return random_state(self.fields()) | words

    def __str__(self) -> str:
        words = [str(value) for value in (*self.sampling.values(), (self.condition or {}).get("kind")) if value]
        return "-".join([self.family + ("+mask" if self.masks else ""), *words])


def images(channels: int, size: tuple[int, int], n: int = 8) -> np.ndarray:
    """Smooth grey input images uint8 [n, channels, H, W], all different."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [[127 + 120 * np.sin((x + 2 * y) / (3 + i + c) + i) for c in range(channels)] for i in range(n)]
    return np.array(waves).astype(np.uint8)


MONAI = {"latent": 6, "start_shape": [4, 4, 4], "channels": [6, 1], "strides": [2, 1]}
MONAI_MASK = MONAI | {"channels": [6, 4]}

FASTGAN = {"ngf": 8, "nz": 8, "nc": 4, "im_size": 128}

DCGAN = {"nz": 6, "ngf": 4, "nc": 3, "image_size": 32}
DCGAN_BIAS = {"nz": 6, "ngf": 4, "nc": 1, "image_size": 16, "bias": True}
CDCGAN = {"nz": 6, "ngf": 4, "nc": 2, "image_size": 16, "conditional": True}
CDCGAN_CLASSES = CDCGAN | {"is_condition_categorical": True, "n_cond": 2, "num_embedding_dimensions": 3}
MASS = {"kind": "class", "classes": ["malignant", "benign"], "required": False}
LEVEL = {
    "kind": "attributes", "required": False,
    "attributes": [{"name": "level", "low": 0.0, "high": 1.0, "unit": None}],
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
PLANE = {"kind": "class", "classes": ["axial", "coronal", "sagittal"]}

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

DENOISER = {
    "in_channels": 1, "out_channels": 2, "model_channels": 32, "channel_mult": [1, 1], "num_res_blocks": 1,
    "attention_resolutions": [2],
}  # fmt: skip
QUIET = {"num_train_timesteps": 20, "beta_end": 0.2, "prediction_type": "v_prediction", "clip_sample": False}
NOISY = {"improved": DENOISER, "size": [16, 16], "schedule": QUIET | {"variance_type": "learned_range"}}
GUIDED = {"improved": DENOISER | {"num_classes": 4}, "size": [16, 16], "schedule": QUIET}
SOLVED = {"latent": "normal", "sampler": "dpm++", "steps": 3, "guidance": 2.0}

VAE = {"latent": 6, "width": 4, "channels": 4, "image_size": 16, "blocks": 1}
VQVAE = {
    "width": 4, "channels": 1, "image_size": 16, "classes": 2, "downs": 2, "codes": 9, "code_dim": 5, "prior_width": 8,
    "prior_layers": 2, "temperature": 0.8, "top_k": 7,
}  # fmt: skip

CASES = [
    Case("diffusion", NOISY, (16, 16), sampling={"latent": "normal", "sampler": "ddpm", "steps": 3}),
    Case("diffusion", GUIDED, (16, 16), sampling=SOLVED, condition=PLANE, ask="coronal"),
    Case("fastgan", FASTGAN, (128, 128), 3, 1, sampling={"latent": "normal", "norm_stats": "running"}),
    Case("fastgan", FASTGAN, (128, 128), 3, 1, sampling={"latent": "normal", "norm_stats": "sample"}),
    Case("monai_gan", MONAI, (8, 8), range=(0.0, 1.0), sampling={"latent": "uniform"}),
    Case("monai_gan", MONAI_MASK, (8, 8), channels=3, masks=1, range=(0.0, 1.0)),
    Case("monai_ldm", LDM, (8, 12), sampling={"latent": "normal", "sampler": "ddim", "steps": 4}),
    Case(
        "monai_ldm",
        LDM_VOLUMES,
        (12, 8, 4),
        sampling={"latent": "normal", "sampler": "dpm++", "steps": 3, "guidance": 2.0},
        condition=PERSON,
        ask={"age": 50, "volume": 0.25},
    ),
    Case(
        "monai_ldm",
        PIXELS,
        (8, 8),
        masks=1,
        sampling={"latent": "normal", "steps": 3},
        condition=MASS,
        ask="benign",
    ),
    Case(
        "latent_diffusion",
        MASKED_LATENTS,
        (16, 8),
        sampling={"latent": "normal", "sampler": "ddpm", "steps": 3},
        condition={"kind": "mask", "inputs": ["organ"], "channels": 1},
        ask=images(1, (16, 8)),
        words={"unet/config": json.dumps(UNET2D)},
    ),
    Case(
        "latent_diffusion",
        PROMPTED,
        (16, 8),
        sampling={"latent": "normal", "sampler": "ddim", "steps": 3, "guidance": 3.0},
        condition={"kind": "text"},
        ask="a lung",
        words=TOKENIZER,
    ),
    Case("dcgan", DCGAN, (32, 32), channels=3),
    Case("dcgan", DCGAN_BIAS, (16, 16), sampling={"latent": "normal", "norm_stats": "sample"}),
    Case("dcgan", CDCGAN, (16, 16), condition=LEVEL, ask=0.25),
    Case("dcgan", CDCGAN_CLASSES, (16, 16), condition=MASS, ask="benign"),
    Case("wgan_gp", DCGAN, (32, 32), channels=3),
    Case("pggan", POLYP, (32, 32), channels=3, masks=1),
    Case("pggan", CHEST, (16, 16)),
    Case("stylegan2", STYLES, (16, 16), sampling={"latent": "normal", "noise": "random"}),
    Case("stylegan2", STYLES_OF_CLASSES, (16, 16), 3, 1, sampling=TRUNCATED, condition=PLANE, ask="coronal"),
    Case(
        "inpaint",
        SHAPE,
        (16, 16),
        condition=MRI | {"inputs": ["first", "second"]},
        ask=images(2, (16, 16)),
        draws=False,
    ),
    Case(
        "inpaint",
        SHAPE | {"network": "inpaint", "input_nc": 5, "output_nc": 4},
        (16, 16),
        4,
        condition=MRI | {"inputs": ["F", "T1", "T1c", "T2", "mask"]},
        ask=images(5, (16, 16)),
        draws=False,
    ),
    Case(
        "inpaint",
        SHAPE | {"network": "pipeline", "input_nc": 5, "output_nc": 4},
        (16, 16),
        4,
        4,
        (0.0, 1.0),
        condition=MRI | {"inputs": ["F", "T1", "T1c", "T2"], "attributes": CIRCLES},
        ask=images(4, (16, 16)),
    ),
    Case("ageing_wgan", AGEING, (16, 16), condition=YEARS, ask={"slice": images(1, (16, 16)), "years": 7}, draws=False),
    Case("cyclegan", CYCLE, (20, 24), condition=PICTURE, ask=images(1, (20, 24)), draws=False),
    Case(
        "cyclegan",
        CYCLE_BATCH,
        (16, 24),
        2,
        sampling={"latent": None, "norm_stats": "sample"},
        condition=PICTURE,
        ask=images(3, (16, 24)),
        draws=False,
    ),
    Case("pix2pixhd", HD, (32, 24), 3, condition=PICTURE, ask=images(3, (32, 24)), draws=False),
    Case("pix2pix", UNET, (32, 64), 3, condition=PICTURE, ask=images(1, (32, 64)), draws=False),
    Case(
        "pix2pix",
        UNET_LIVE,
        (64, 64),
        3,
        sampling={"latent": None, "norm_stats": "sample"},
        condition=PICTURE,
        ask=images(1, (64, 64)),
    ),
    Case("vae", VAE, (16, 16), 3, 1),
    Case("vae", VAE | {"channels": 1, "image_size": 28, "classes": 2}, (28, 28), condition=MASS, ask="benign"),
    Case("vqvae", VQVAE, (16, 16), sampling={"latent": "uniform"}, condition=MASS, ask="benign", smooth=False),
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def close(one: Samples, other: Samples, atol: float = 1e-5) -> None:
    """Images equal to ``atol``; masks equal but for pixels that lie on the threshold."""
    np.testing.assert_allclose(one.images, other.images, atol=atol)
    assert one.indices.tolist() == other.indices.tolist()
    if one.masks is not None:
        assert other.masks is not None
        assert (one.masks != other.masks).mean() < 0.01


class TestContract:
    def test_output_is_what_the_entry_states(self, case: Case) -> None:
        samples = case.load(weights_sha256="f" * 64).generate(5, case.ask, seed=2, start=3)
        assert samples.images.shape == (5, case.channels, *case.size) and samples.images.dtype == np.float32
        assert samples.images.min() >= 0 and samples.images.max() <= 1 and samples.images.std() > 0
        assert (samples.masks is None) == (case.masks == 0)
        if samples.masks is not None:
            assert samples.masks.shape == (5, case.masks, *case.size)
            assert 0 < samples.masks.mean() < 1
        assert samples.indices.tolist() == [3, 4, 5, 6, 7]
        assert (samples.seed, samples.model_id, samples.weights_sha256) == (2, "99001_TINY", "f" * 64)
        assert len({image.tobytes() for image in samples.images}) == 5

    @pytest.mark.parametrize("fused", [True, False])
    def test_a_sample_is_decided_by_seed_and_index_alone(self, case: Case, fused: bool) -> None:
        generator = case.load(fused=fused)
        whole = generator.generate(7, case.ask, seed=5, start=2, batch_size=7)
        for size in (1, 3, 4):
            close(generator.generate(7, case.ask, seed=5, start=2, batch_size=size), whole)
        close(generator.generate(1, case.ask, seed=5, start=6), whole[4])
        close(case.load(fused=fused).generate(3, case.ask, seed=5, start=4), whole[2:5])
        other = generator.generate(1, case.ask, seed=6, start=6)
        assert (abs(other.images - whole[4].images).max() > 1e-3) == case.draws

    def test_running_the_model_does_not_change_it(self, case: Case) -> None:
        state = case.state()
        before = {key: tensor.clone() for key, tensor in state.items()}
        generator = case.load(state, fused=False)
        first = generator.generate(3, case.ask)
        assert np.array_equal(generator.generate(3, case.ask).images, first.images)
        assert all(torch.equal(state[key], before[key]) for key in state)

    def test_fused_gives_the_same_images(self, case: Case) -> None:
        close(case.load(fused=True).generate(6, case.ask), case.load(fused=False).generate(6, case.ask), atol=1e-4)

    @pytest.mark.parametrize("fused", [True, False])
    def test_decode_of_the_latents_is_the_sample(self, case: Case, fused: bool) -> None:
        generator = case.load(fused=fused)
        indices = [4, 5, 6]
        latents = latents_of(generator, indices, seed=3)
        with torch.no_grad():
            raw = generator.decode(latents, case.ask, noise=Noise(3, indices))
            default = generator.decode(latents_of(generator, range(2)), case.ask)[:2]
        assert raw.dtype == torch.float32
        low, high = case.range
        scaled = ((raw - low) / (high - low))[:, : case.channels].clamp(0, 1).numpy()
        for row, index in enumerate(indices):
            sample = generator.generate(1, case.ask, seed=3, start=index)
            np.testing.assert_allclose(scaled[row], sample.images[0], atol=1e-5)
        scaled = ((default - low) / (high - low))[:, : case.channels].clamp(0, 1).numpy()
        np.testing.assert_allclose(scaled, generator.generate(2, case.ask).images, atol=1e-5)

    def test_gradients_reach_what_goes_in(self, case: Case) -> None:
        """The latents, or else the input images."""
        if not case.smooth:
            pytest.skip("a draw jumps from code to code")
        generator = case.load(fused=False)
        shape = generator.latent_shape
        given = Given() if case.ask is None else given_of(generator, case.ask, 2)
        assert shape is not None or given.images is not None
        start = generator.latents(range(2)) if shape is not None else given.images
        assert start is not None
        wants = start.clone().requires_grad_()

        def run(x: torch.Tensor) -> torch.Tensor:
            return generator.decode(x, given) if shape is not None else generator.decode(None, replace(given, images=x))

        (gradient,) = torch.autograd.grad(run(wants)[0].sum(), wants)
        assert torch.isfinite(gradient).all()
        assert gradient[0].abs().max() > 0
        assert gradient[1].abs().max() == 0  # no sample sees another
        direction = gradient[:1] / gradient[0].norm()
        step = 1e-3
        with torch.no_grad():
            ahead, behind = (
                run(start + sign * step * torch.cat([direction, 0 * direction]))[0].double() for sign in (1, -1)
            )
        slope = ((ahead - behind).sum() / (2 * step)).item()
        assert slope == pytest.approx((gradient[:1] * direction).sum().item(), rel=0.05)

    def test_the_config_is_told_by_the_weights(self, case: Case) -> None:
        """What the family infers from names and shapes is what the entry states."""
        family = get_family(case.family)
        full = family.Config.model_validate(case.config)
        told = family.infer(case.state())
        assert told and told == {name: getattr(full, name) for name in told}
        assert family.infer({"who.are.you": torch.zeros(1)}) == {}

    def test_the_family_knows_its_output(self, case: Case) -> None:
        channels, size = get_family(case.family).output(case.load().config)
        assert channels == case.channels + case.masks
        assert size in (None, case.size)

    def test_state_dicts_that_do_not_fit_are_named(self, case: Case) -> None:
        state = case.state()
        key = next(key for key in state if key.endswith(("weight", "weight_orig")) and state[key].dim() > 1)
        missing = {other: tensor for other, tensor in state.items() if other != key}
        with pytest.raises(CheckpointError, match=f"99001_TINY.*1 missing: {key}"):
            case.load(missing)
        with pytest.raises(CheckpointError, match="1 unexpected: who.are.you"):
            case.load(state | {"who.are.you": torch.zeros(1)})
        shape = list(state[key].shape)
        with pytest.raises(CheckpointError) as caught:
            case.load(state | {key: torch.zeros(2, 3)})
        assert f"1 of another shape: {key} is [2, 3], the network needs {shape}" in str(caught.value)

    def test_config_errors_name_the_field(self, case: Case) -> None:
        fields = case.fields() | {"config": case.config | {"colour": "blue"}}
        with pytest.raises(EntryError, match=r"99001_TINY.*config\.colour"):
            get_family(case.family)(Entry.model_validate(fields), {})

    def test_no_samples(self, case: Case) -> None:
        samples = case.load().generate(0, case.ask, start=5)
        assert samples.images.shape == (0, case.channels, *case.size) and len(samples.indices) == 0
        assert (samples.masks is None) == (case.masks == 0)
        assert list(case.load().stream(0, case.ask)) == []

    def test_low_precision_stays_near(self, case: Case) -> None:
        exact = case.load().generate(4, case.ask)
        rough = case.load(precision="bfloat16").generate(4, case.ask)
        assert rough.images.dtype == np.float32
        assert abs(rough.images - exact.images).mean() < 0.05
        assert abs(rough.images - exact.images).max() > 0

    def test_weights_stored_in_half_precision_run_in_float32(self, case: Case) -> None:
        state = {k: v.half() if v.is_floating_point() else v for k, v in case.state().items()}
        full = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        close(case.load(state).generate(2, case.ask), case.load(full).generate(2, case.ask))

    def test_arguments_are_checked(self, case: Case) -> None:
        generator = case.load()
        for arguments in ({"n": -1}, {"n": 1.5}, {"n": "3"}, {"n": True}, {"n": 1, "start": -1}, {"n": 1, "seed": -1}):
            with pytest.raises(GenerationError, match=f"^{list(arguments)[-1]} must"):
                generator.stream(condition=case.ask, **arguments)  # at once, not at the first batch
        with pytest.raises(GenerationError, match="batch_size must lie between 1 and"):
            generator.generate(1, case.ask, batch_size=0)
        with pytest.raises(GenerationError, match=r"start \+ n must lie"):
            generator.generate(2, case.ask, start=2**63 - 2)
        with pytest.raises(ConditionError, match="99001_TINY"):
            generator.generate(1, {"left": "right"})
        with pytest.raises(GenerationError, match="latents must be"):
            generator.decode(torch.zeros(2, 1, 1, 1, 1, 1), case.ask)
        with pytest.raises(GenerationError, match="latents must be a torch tensor, found ndarray"):
            generator.decode(np.zeros((2, 3), np.float32), case.ask)  # type: ignore[arg-type]
        if generator.latent_shape is None:
            with pytest.raises(GenerationError, match="has no latents"):
                generator.latents([0])
            return
        for index in (-1, 2**63, 0.5):
            with pytest.raises(GenerationError, match="^index must"):
                generator.latents([index])  # type: ignore[list-item]


def latents_of(generator: Generator, indices: Iterable[int], seed: int = 0) -> torch.Tensor | None:
    """The latents behind samples; None for a family that draws none."""
    if generator.latent_shape is None:
        return None
    latents = generator.latents(indices, seed)
    assert latents.shape[1:] == generator.latent_shape and latents.dtype == torch.float32
    return latents


def given_of(generator: Generator, ask: Any, n: int) -> Given:
    """What the network sees of a condition."""
    return generator.given(ask, range(n))


class Fixed(Generator):
    """A family for the tests below: hands out what it is told to, and remembers what it was asked."""

    class Config(FamilyConfig):
        pass

    class Network(nn.Module):
        pass

    raw: torch.Tensor | None = None
    largest = 10**9

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1,)

    def sample_batch(self, noise: Noise, given: Given) -> torch.Tensor:
        self.asked = given
        if len(noise) > self.largest:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        if self.raw is not None:
            return self.raw[: len(noise)]
        return self.latent(noise)[:, :, None, None].expand(-1, 1, 8, 8)


@pytest.mark.parametrize(
    "change",
    [{"channels": [2**31, 1]}, {"latent": 10**30}, {"strides": [0, 1]}, {"start_shape": [4, -4, -4]},
     {"num_res_units": 10**9}],
)  # fmt: skip
def test_a_config_that_makes_no_network_is_told(change: dict[str, Any], tiny_entry: Callable[..., Entry]) -> None:
    entry = tiny_entry()
    entry = tiny_entry(config={**entry.config, **change})
    with pytest.raises(EntryError, match="99001_TINY: 'config' does not (make a network of|fit) family 'monai_gan'"):
        get_family("monai_gan")(entry, {}, device="cpu")


@pytest.fixture
def fixed(tiny_entry: Callable[..., Entry]) -> Callable[..., Fixed]:
    return lambda **changes: Fixed(tiny_entry(**{"config": {}} | changes), {}, device="cpu")


def test_raw_values_are_scaled_clipped_and_cut(fixed: Callable[..., Fixed]) -> None:
    output = {"type": "image+mask", "size": [1, 4], "channels": 1, "masks": 1, "range": [-1.0, 3.0], "spacing": None}
    generator = fixed(output=output)
    generator.raw = torch.tensor([[[[-2.0, -1.0, 1.0, 5.0]], [[0.9, 1.0, 1.1, -9.0]]]])
    samples = generator.generate(1)
    assert samples.images.tolist() == [[[[0.0, 0.0, 0.5, 1.0]]]]
    assert samples.masks is not None and samples.masks.tolist() == [[[[0, 0, 1, 0]]]]


def test_numbers_that_are_not_finite_name_their_samples(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.raw = torch.zeros(4, 1, 8, 8)
    generator.raw[1, 0, 3, 3], generator.raw[3, 0, 0, 0] = float("nan"), float("inf")
    with pytest.raises(GenerationError, match="99001_TINY.*not finite for index 101, 103 in float32"):
        generator.generate(4, start=100, batch_size=4)


def test_a_wrong_shape_is_told_with_both(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.raw = torch.zeros(4, 3, 8, 8)
    with pytest.raises(GenerationError, match=r"states output \[2, 1, 8, 8\].*the network gave \[2, 3, 8, 8\]"):
        generator.generate(2, batch_size=2)


def test_the_batch_is_halved_when_memory_runs_out(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    whole = generator.generate(20, batch_size=20)
    generator.largest = 3
    sizes = [len(part) for part in generator.stream(20, batch_size=16)]
    assert sizes == [2] * 10
    assert np.array_equal(generator.generate(20, batch_size=16).images, whole.images)
    generator.largest = 0
    with pytest.raises(DeviceError, match="99001_TINY: the memory of 'cpu' is too small for a single sample"):
        generator.generate(3)


def test_other_errors_of_a_network_are_not_taken_for_memory(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.sample_batch = lambda noise, given: torch.zeros(2, 3) @ torch.zeros(2, 3)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        generator.generate(1)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
              RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)  # fmt: skip
def test_what_running_out_of_memory_looks_like(error: Exception) -> None:
    assert devices.is_out_of_memory(error)


def test_the_suggested_batch_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(devices, "_free_memory", lambda: 8 * 2**30)
    assert [devices.batch_size(cpu, size) for size in (1, 4 * 256 * 256, 4 * 1024 * 1024, 10**9)] == CPU_BATCHES
    monkeypatch.setattr(devices, "_free_memory", lambda: 2**28)
    assert devices.batch_size(cpu, 4 * 256 * 256) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * 2**30, 80 * 2**30))
    assert devices.batch_size(torch.device("cuda"), 4 * 256 * 256) == 128


# Samples of 1 number, 256 px, 1024 px with four channels, and far too large.
CPU_BATCHES = [32, 8, 1, 1]

CLASSES = {
    "kind": "class", "classes": ["benign", "malignant"], "inputs": None, "channels": None, "attributes": None,
    "required": True, "about": None,
}  # fmt: skip


def test_classes_by_name_index_and_sequence(fixed: Callable[..., Fixed]) -> None:
    generator = fixed(condition=CLASSES)
    for condition in (1, "1", "malignant", "Malignant", np.int64(1), ["malignant"] * 3, (1, "1", 1), np.ones(3, int)):
        samples = generator.generate(3, condition)
        assert generator.asked.labels is not None and generator.asked.labels.tolist() == [1, 1, 1]
        assert samples.labels is not None and samples.labels.tolist() == [1, 1, 1]
        assert samples.condition == ("malignant",) * 3
    parts = list(generator.stream(3, [0, "malignant", 0], batch_size=2))
    assert [part.condition for part in parts] == [("benign", "malignant"), ("benign",)]
    empty = generator.generate(0, "benign")
    assert empty.labels is not None and len(empty.labels) == 0 and empty.condition == ()
    optional = fixed(condition=CLASSES | {"required": False})
    drawn = optional.generate(40, seed=3)
    assert drawn.labels is not None and set(drawn.labels) == {0, 1}  # each sample draws its own, and says so
    assert drawn.condition == tuple(CLASSES["classes"][label] for label in drawn.labels)
    assert optional.generate(5, seed=3, start=7, batch_size=2).condition == drawn.condition[7:12]


def test_only_some_of_the_samples(fixed: Callable[..., Fixed]) -> None:
    """What a killed run has left: conditions stay with their samples."""
    generator = fixed(condition=CLASSES)
    labels = [0, 1, 1, 0, 1, 0]
    left = [range(11, 13), range(15, 16)]
    parts = list(generator.stream(6, labels, start=10, among=left, batch_size=8))
    assert [part.indices.tolist() for part in parts] == [[11, 12], [15]]
    assert [part.labels.tolist() for part in parts if part.labels is not None] == [[1, 1], [0]]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"needs a class: benign \(0\), malignant \(1\)"),
        ("cyst", "no class 'cyst'; it takes benign"),
        (2, "no class 2"),
        (-1, "no class -1"),
        (True, "no class True"),
        ([0, 1], "3 samples need 3 classes or one for all, found 2"),
        ([0, 1, 0.5], "0.5 is no class"),
        (0.5, "3 samples need 3 classes"),
    ],
)
def test_wrong_classes_say_what_is_right(fixed: Callable[..., Fixed], condition: Any, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        fixed(condition=CLASSES).generate(3, condition)


def test_one_class_for_a_million_takes_no_memory(fixed: Callable[..., Fixed]) -> None:
    generator = fixed(condition=CLASSES)
    tracemalloc.start()
    first = next(generator.stream(10**8, "malignant", batch_size=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first.condition == ("malignant",) * 2 and first.labels is not None and first.labels.tolist() == [1, 1]
    assert peak < 10**6


@pytest.mark.parametrize("device", ["cud", "cuda:99", "meta", "cpu:7", 3.5])
def test_unknown_devices_name_those_there_are(tiny_entry: Callable[..., Entry], device: Any) -> None:
    with pytest.raises(DeviceError, match=f"device '{device}'.*this machine has: cpu"):
        Fixed(tiny_entry(config={}), {}, device=device)


def test_unknown_precision(tiny_entry: Callable[..., Entry]) -> None:
    with pytest.raises(GenerationError, match="unknown precision 'fp8'; choose from float32, bfloat16, float16"):
        Fixed(tiny_entry(config={}), {}, precision="fp8")


def test_a_network_that_computes_buffers_of_its_own_keeps_them(tiny_entry: Callable[..., Entry]) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.empty(1))
            self.place: torch.Tensor
            self.register_buffer("place", torch.arange(64.0).reshape(8, 8) / 64, persistent=False)

    class Family(Fixed):
        def build(self) -> nn.Module:
            return Positions()

        def sample_batch(self, noise: Noise, given: Given) -> torch.Tensor:
            assert isinstance(self.network, Positions)
            return (self.network.gain * self.network.place).expand(len(noise), 1, 8, 8)

    generator = Family(tiny_entry(config={}), {"gain": torch.ones(1)}, device="cpu")
    assert generator.generate(1).images.max() == 63 / 64


def test_families_are_imported_only_when_named() -> None:
    import subprocess

    code = (
        "import sys; from medzoo.families import known_families; print(known_families());"
        "assert 'torch' not in sys.modules; from medzoo.families import get_family; get_family('monai_gan');"
        "assert 'medzoo.families.fastgan' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "'monai_gan'" in result.stdout


def test_another_package_provides_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("their_package")
    module.TheirGenerator = Fixed  # type: ignore[attr-defined]
    module.something = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_package", module)
    points = {"theirs": "their_package:TheirGenerator", "odd": "their_package:something", "gone": "their_package:Gone"}
    monkeypatch.setattr(families._FOLDER, "_elsewhere", lambda: points)
    assert "theirs" in known_families()
    assert get_family("theirs") is Fixed
    with pytest.raises(RegistryError, match="'odd' of an installed package: their_package:something is no family"):
        get_family("odd")
    with pytest.raises(RegistryError, match="'gone' of an installed package does not load: their_package:Gone"):
        get_family("gone")
    with pytest.raises(RegistryError, match="no family is named 'dream'; there are .*gone.*monai_gan"):
        get_family("dream")


def test_monai_gan_equals_monai(shared: Path) -> None:
    """The published MedNIST weights through MONAI's own network."""
    monai = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
    state = torch.load(shared / "checkpoints" / "mednist_gan" / "model.pt", weights_only=True)
    config = {"latent": 64, "start_shape": [64, 8, 8], "channels": [32, 16, 8, 1], "strides": [2, 2, 2, 1]}
    reference = monai.Generator(
        latent_shape=64, start_shape=(64, 8, 8), channels=(32, 16, 8, 1), strides=(2, 2, 2, 1)
    ).eval()
    reference.load_state_dict(state)
    case = Case("monai_gan", config, (64, 64), range=(0.0, 1.0), sampling={"latent": "uniform"})
    for fused in (True, False):
        generator = case.load(dict(state), fused=fused)
        latents = generator.latents(range(8))
        assert latents.min() >= 0 and latents.max() < 1
        with torch.inference_mode():
            expected = torch.sigmoid(reference(latents))
        torch.testing.assert_close(generator.decode(latents), expected, atol=1e-5, rtol=0)


def test_monai_gan_config_needs_as_many_strides_as_channels() -> None:
    with pytest.raises(EntryError, match="config: needs as many strides as channels, found 1 and 2"):
        Case("monai_gan", MONAI | {"strides": [2]}, (8, 8)).load({})
