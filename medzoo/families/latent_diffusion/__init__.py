"""Latent diffusion (Rombach et al., "High-resolution image synthesis with latent diffusion models", CVPR 2022).

A UNet takes noise from the latents of an autoencoder (KL or VQ), whose decoder makes images of them. Files are those of
diffusers' ``save_pretrained``, one part each; also one file of the original layout (``names.py``). What goes in
beside noise:

    a text      CLIP's encoder, cross-attention: Stable Diffusion 1.x and 2.x
    a class     an embedding added to that of the time step
    an image    through a ControlNet (Zhang et al. 2023), or joined to the latents along the channels where the UNet has
                more channels than they have, or else what sampling begins with, as far as ``sampling.strength`` says

``sampling.guidance`` above 1 weighs the condition against none: the prompt against ``negative_prompt``, the class
against ``null_class``.

The decoder takes the most memory: it gets as many images at once as should fit, and fewer where they do not.
The text encoder is on the device only while it encodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo import device
from medzoo.diffusion.guidance import Conditioning, guided, is_guided
from medzoo.diffusion.samplers import choose_sampler, sample
from medzoo.diffusion.schedule import Schedule, parse_scheduler_config
from medzoo.diffusion.unet_fused import fuse
from medzoo.errors import CheckpointError, ConditionError, EntryError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._clip_text import END, Prompts, pad_token, read_tokenizer
from medzoo.families._condition import Conditions, Given, accepted, by
from medzoo.families._diffusers_config import json_words, network
from medzoo.families.latent_diffusion import names
from medzoo.families.latent_diffusion.facts import Facts, check, facts
from medzoo.randomness import Noise

NETWORKS = ("unet", "vae", "text_encoder", "controlnet")


class Config(FamilyConfig):
    """What the parts of the model are.

    Attributes:
        unet, vae, text_encoder, controlnet: their ``config.json``: the class and its fields.
        schedule: fields of ``scheduler_config.json``.
        size: (height, width) of the images in pixels; null for what ``unet.sample_size`` says.
        images: how an image is joined to the latents: ``resize`` brings it to their size (nearest pixel), ``encode``
            gives it to the autoencoder.
        prompt: what a model with a text encoder gets where its condition is something else.
        negative_prompt: what guidance leads away from.
        null_class: number of the class that stands for none; null where there is none.
        pad_token: what prompts are filled up with.
        control_scale: weight of what the ControlNet adds.
        tiled: decode in overlapping tiles of the size the autoencoder was trained with. Tiles change the image a
            little, so that memory running out never chooses them.
    """

    unet: dict[str, Any]
    vae: dict[str, Any]
    schedule: Schedule
    text_encoder: dict[str, Any] | None = None
    controlnet: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    images: Literal["resize", "encode"] = "resize"
    prompt: str = ""
    negative_prompt: str = ""
    null_class: int | None = None
    pad_token: str = END
    control_scale: float = 1.0
    tiled: bool = False

    @model_validator(mode="before")
    @classmethod
    def _parts_are_there(cls, fields: Any) -> Any:
        files = {"unet": "unet/config", "vae": "vae/config", "schedule": "scheduler/scheduler_config"}
        missing = [f"{part} ({part}.json)" for name, part in files.items() if not fields.get(name)]
        if missing:
            names = ", ".join(name for name in files if not fields.get(name))
            raise ValueError(f"missing {names}; add the part {', '.join(missing)} to 'weights', or state it")
        return fields


class Networks(nn.Module):
    """The networks of a config, each under the name of its part."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        for part in NETWORKS:
            fields = getattr(config, part)
            if fields is not None:
                made = network(part, fields)
                self.add_module(part, getattr(made, "text_model", made))  # as older transformers have it


class LatentDiffusion(Generator):
    Config = Config
    options = ("steps", "sampler", "guidance", "strength")
    Network = Networks
    tolerates = (r"position_ids$",)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        config = names.infer_config(state)
        files = {part: json_words(state, f"{part}/config") for part in NETWORKS}
        config |= {part: fields for part, fields in files.items() if fields is not None}
        part = "scheduler/scheduler_config"
        if (fields := json_words(state, part)) is not None:
            config["schedule"] = Schedule.model_validate(parse_scheduler_config(fields, f"{part}.json"))
        config["pad_token"] = pad_token(state)
        return {name: value for name, value in config.items() if value is not None}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        known = _facts(config)
        return known.channels, known.size

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        return _facts(config).condition()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.facts.latent

    def build(self) -> nn.Module:
        return Networks(self.config)

    def begin(self, state: Mapping[str, Tensor]) -> None:
        self.facts = _facts(self.config, self.entry.model_id)
        check(self.entry, self.facts)
        self.sampler, self.steps = choose_sampler(
            self.entry.model_id, self.entry.sampling, self.config.schedule, latents=True
        )
        self._tokenizer: Any = None
        if self.config.text_encoder is not None:
            vocab_size = int(self.config.text_encoder.get("vocab_size", 49408))
            self._tokenizer = read_tokenizer(state, self.config.pad_token, vocab_size)

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        state = names.renamed(names.converted(state, self.config))
        for part in (part for part in NETWORKS if getattr(self.config, part) is not None):
            if not any(key.startswith(f"{part}.") for key in state):
                raise CheckpointError(f"{self.entry.model_id}: the part '{part}' is missing: its file of numbers")
        return {key: value for key, value in state.items() if not key.endswith(".text")}

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        if self.config.tiled:
            network.vae.enable_tiling()
        if fused:
            for part in ("unet", "vae", "controlnet"):
                if hasattr(network, part):
                    fuse(getattr(network, part))
        self._prompts: Prompts | None = None
        if self._tokenizer is not None:
            self._prompts = Prompts(network.text_encoder, self._tokenizer)
        return network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        exact = noise.on(self.device, torch.float32)  # only the networks run in half precision
        start, sampling = self.latent(exact).float(), self.entry.sampling
        self._check_images(given.images)
        image = None
        if given.images is not None and self.facts.role == "start":
            image = self._encoded(given.images, exact)
        condition, without = self._conditionings(given, len(noise))
        latents = sample(
            guided(self._predict, condition, without, sampling.guidance),
            start,
            self.config.schedule,
            self.sampler,
            self.steps,
            lambda: exact.normal(self.latent_shape),
            image=image,
            strength=None if image is None else sampling.strength,
            tell=self.on_progress,
        )
        return self._decoded(latents)

    # How it is done.

    def _conditionings(self, given: Given, n: int) -> tuple[Conditioning, Conditioning]:
        """What n samples are conditioned on, and what guidance leads away from."""
        config, role = self.config, self.facts.role
        context = negative = None
        if self._prompts is not None:
            texts = given.texts or (config.prompt,) * n
            negatives = (config.negative_prompt,) * n if is_guided(self.entry.sampling.guidance) else ()
            encoded = self._prompts.encode((*negatives, *texts), self.device)  # all at once
            negative, context = encoded[: len(negatives)], encoded[len(negatives) :]
        condition = Conditioning(
            labels=given.labels,
            context=context,
            joined=self._joined(given.images) if role == "join" and given.images is not None else None,
            control=given.images if role == "control" else None,
        )
        return condition, condition.without(labels=config.null_class, context=negative)

    def _predict(self, x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
        """What the UNet makes of latents [B, C, h, w] at a time step: [B, C or 2 C, h, w]."""
        x = x.to(self.dtype)
        inputs: dict[str, Any] = {}
        if condition.labels is not None:
            inputs["class_labels"] = condition.labels
        if condition.context is not None:
            inputs["encoder_hidden_states"] = condition.context
        if condition.control is not None:
            inputs |= self._control_residuals(x, t, condition.control, inputs)
        if condition.joined is not None:
            x = torch.cat([x, condition.joined], 1)
        out: Tensor = self.network.unet(x, t, **inputs, return_dict=False)[0]
        return out

    def _control_residuals(self, x: Tensor, t: Tensor, control: Tensor, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the ControlNet adds to the layers of the UNet."""
        down, middle = self.network.controlnet(
            x, t, **inputs, controlnet_cond=control, conditioning_scale=self.config.control_scale, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _joined(self, images: Tensor) -> Tensor:
        """Input images [B, channels, H, W] as further channels of the latents, [B, more, h, w]."""
        if self.config.images == "resize":
            return F.interpolate(images, self.latent_shape[1:], mode="nearest")
        return self._encoded(images, None).to(self.dtype)

    def _encoded(self, images: Tensor, noise: Noise | None) -> Tensor:
        """Images -> latents [B, *latent_shape] float32; of a KL autoencoder their mean, or with noise a draw."""
        vae = self.network.vae
        encoded = vae.encode(images)
        if self.config.vae["_class_name"] == "VQModel":
            latents = encoded.latents.float()
        else:
            latents = encoded.latent_dist.mean.float()
            if noise is not None:
                latents = latents + encoded.latent_dist.std.float() * noise.normal(self.latent_shape)
        return (latents - self._shift) * vae.config.scaling_factor

    def _decoded(self, latents: Tensor) -> Tensor:
        """Latents -> images [B, C, H, W]: as many at once as should fit in memory, fewer where they do not."""
        latents = (latents / self.network.vae.config.scaling_factor + self._shift).to(self.dtype)
        widest = max(self.network.vae.config.block_out_channels[:2])
        # Of the decoder's last blocks some four maps of all channels are alive at once.
        at_once = device.batch_size(self.device, 4 * widest * math.prod(self.facts.size) // device.WORKING_NUMBERS)
        parts = device.in_parts(lambda part: self._decode(latents[part]), len(latents), at_once, self.device)
        return torch.cat(list(parts))

    def _decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] as the autoencoder has them -> images [B, C, H, W]."""
        images: Tensor = self.network.vae.decode(latents, return_dict=False)[0]
        return images

    @property
    def _shift(self) -> float:
        return float(getattr(self.network.vae.config, "shift_factor", None) or 0.0)

    def resolve(self, condition: Any, indices: range) -> Conditions:
        conditions = super().resolve(condition, indices)
        if self.facts.needs_image and not conditions.inputs:
            raise ConditionError(f"{self.entry.model_id} needs an image; it takes {accepted(self.declared)}")
        return conditions

    def _check_images(self, images: Tensor | None) -> None:
        if images is None and self.facts.needs_image:
            raise ConditionError(f"{self.entry.model_id} needs an image; it takes {accepted(self.declared)}")
        wanted = (self.facts.image_channels, *self.facts.size)
        if images is not None and tuple(images.shape[1:]) != wanted:
            raise ConditionError(
                f"{self.entry.model_id} takes images of {by(wanted)} (channels x height x width), found "
                f"{by(images.shape[1:])}; bring them to that size, or state condition.size in the entry"
            )


def _facts(config: Any, where: str = "latent_diffusion") -> Facts:
    try:
        return facts(config)
    except ValueError as error:
        raise EntryError(f"{where}: config.{error}") from None
