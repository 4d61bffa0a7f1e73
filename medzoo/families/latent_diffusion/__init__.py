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

The decoder takes the most memory: it gets as many images at once as should fit, and one at a time where they do not.
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
from medzoo.diffusion.samplers import OF_LATENTS, Predict, chosen, guided, sample
from medzoo.diffusion.schedule import Schedule, stated
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
        prompt: what a model with a text encoder is told where its condition is something else.
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
        told: dict[str, Any] = names.told(state)
        found = {part: json_words(state, f"{part}/config") for part in NETWORKS}
        told |= {part: fields for part, fields in found.items() if fields is not None}
        part = "scheduler/scheduler_config"
        if (fields := json_words(state, part)) is not None:
            told["schedule"] = Schedule.model_validate(stated(fields, f"{part}.json"))
        told["pad_token"] = pad_token(state)
        return {name: value for name, value in told.items() if value is not None}

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

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.facts = _facts(self.config, self.entry.model_id)
        check(self.entry, self.facts)
        self.sampler, self.steps = chosen(self.entry.model_id, self.entry.sampling, self.config.schedule, OF_LATENTS)
        state = names.renamed(names.converted(state, self.config))
        for part in (part for part in NETWORKS if getattr(self.config, part) is not None):
            if not any(key.startswith(f"{part}.") for key in state):
                raise CheckpointError(f"{self.entry.model_id}: the part '{part}' is missing: its file of numbers")
        self._tokenizer: Any = None
        if self.config.text_encoder is not None:
            vocab_size = int(self.config.text_encoder.get("vocab_size", 49408))
            self._tokenizer = read_tokenizer(state, self.config.pad_token, vocab_size)
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
        predict, scale = self._predict(given, len(noise)), sampling.guidance
        latents = sample(
            guided(predict, scale),
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

    def _predict(self, given: Given, n: int) -> Predict:
        """The UNet with all that it is conditioned on, twice where guidance needs it."""
        config, unet = self.config, self.network.unet
        guidance = self.entry.sampling.guidance not in (None, 1.0)

        def twice(one: Tensor) -> Tensor:
            return torch.cat([one, one]) if guidance else one

        beside: dict[str, Any] = {}
        if given.labels is not None:
            labels = given.labels
            none = [] if config.null_class is None else [torch.full_like(labels, config.null_class)]
            beside["class_labels"] = torch.cat([*none, labels]) if guidance and none else twice(labels)
        if self._prompts is not None:
            texts = given.texts or (config.prompt,) * n
            texts = ((config.negative_prompt,) * n if guidance else ()) + texts
            beside["encoder_hidden_states"] = self._prompts.encode(texts, self.device)
        joined = twice(self._joined(given.images)) if self.facts.role == "join" else None
        control = twice(given.images) if self.facts.role == "control" else None

        def predict(x: Tensor, t: Tensor) -> Tensor:
            x = x.to(self.dtype)
            added = beside if control is None else beside | self._controls(x, t, control, beside)
            x = x if joined is None else torch.cat([x, joined], 1)
            return unet(x, t, **added, return_dict=False)[0]

        return predict

    def _controls(self, x: Tensor, t: Tensor, control: Tensor, beside: Mapping[str, Any]) -> dict[str, Any]:
        """What the ControlNet adds to the layers of the UNet."""
        down, middle = self.network.controlnet(
            x, t, **beside, controlnet_cond=control, conditioning_scale=self.config.control_scale, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _joined(self, images: Tensor) -> Tensor:
        """Input images as further channels of the latents."""
        if self.config.images == "resize":
            return F.interpolate(images, self.latent_shape[1:], mode="nearest")
        return self._encoded(images, None).to(self.dtype)

    def _encoded(self, images: Tensor, noise: Noise | None) -> Tensor:
        """Images -> latents [B, *latent_shape] float32; of a KL autoencoder their mean, or with noise a draw."""
        vae = self.network.vae
        found = vae.encode(images)
        if self.config.vae["_class_name"] == "VQModel":
            latents = found.latents.float()
        else:
            latents = found.latent_dist.mean.float()
            if noise is not None:
                latents = latents + found.latent_dist.std.float() * noise.normal(self.latent_shape)
        return (latents - self._shift) * vae.config.scaling_factor

    def _decoded(self, latents: Tensor) -> Tensor:
        """Latents -> images [B, C, H, W]: as many at once as should fit in memory, one at a time where they do not."""
        latents = (latents / self.network.vae.config.scaling_factor + self._shift).to(self.dtype)
        widest = max(self.network.vae.config.block_out_channels[:2])
        # Of the decoder's last blocks some four maps of all channels are alive at once.
        at_once = device.batch_size(self.device, 4 * widest * math.prod(self.facts.size) // device.WORKING_NUMBERS)
        try:
            return torch.cat([self._decode(part) for part in latents.split(at_once)])
        except (RuntimeError, MemoryError) as error:
            if not device.is_out_of_memory(error) or min(at_once, len(latents)) == 1:
                raise
        device.release_memory(self.device)
        return torch.cat([self._decode(part) for part in latents.split(1)])

    def _decode(self, latents: Tensor) -> Tensor:
        return self.network.vae.decode(latents, return_dict=False)[0]

    @property
    def _shift(self) -> float:
        return float(getattr(self.network.vae.config, "shift_factor", None) or 0.0)

    def resolve(self, condition: Any, indices: range) -> Conditions:
        found = super().resolve(condition, indices)
        if self.facts.needs_image and not found.inputs:
            raise ConditionError(f"{self.entry.model_id} needs an image; it takes {accepted(self.declared)}")
        return found

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
