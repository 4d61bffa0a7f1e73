"""Diffusion in pixels (Ho et al., NeurIPS 2020): the network learns v from images at a random time step.

The U-Net of improved-diffusion, small; schedule and v of ``_velocity``; the weights of Min-SNR (Hang et al., ICCV 2023,
gamma 5). A class is left out now and then, so that the model can be sampled with classifier-free guidance (Ho and
Salimans, 2022).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.diffusion.guidance import Conditioning, guided
from medzoo.diffusion.unet import Attention, Block, Shape, UNet
from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.randomness import Noise
from medzoo.training.config import Decay, TrainConfig
from medzoo.training.losses import Copies, Loss
from medzoo.training.recipes._base import Direct, Inputs, class_condition
from medzoo.training.recipes._velocity import SCHEDULE, denoised, noised


class Config(Record):
    """The network.

    Attributes:
        width: channels at full size.
        mult: channels of each level, half the size of the one before, in units of ``width``.
        blocks: residual blocks of a level.
        attention: how many times smaller than the image the maps with attention are.
        heads: of the attention.
    """

    width: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    mult: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 2)
    blocks: PositiveInt = 2
    attention: tuple[PositiveInt, ...] = (4,)
    heads: PositiveInt = 2


class Settings(TrainConfig):
    """A configuration of this family.

    Attributes:
        without_class: share of images that are shown without their class; 0 for a model without guidance.
        sampling_steps: of DPM-Solver++, for measurements, and in the entry.
        guidance: scale of classifier-free guidance, likewise; 1 for none.
        gamma: of Min-SNR.
    """

    family: Literal["diffusion"]
    size: Annotated[int, Field(ge=8, le=256)]
    config: Config = Config()
    without_class: Annotated[float, Field(ge=0, lt=1)] = 0.1
    sampling_steps: Annotated[int, Field(ge=1, le=999)] = 10
    guidance: Annotated[float, Field(ge=0)] = 1.0
    gamma: PositiveFloat = 5.0
    batch: Annotated[int, Field(ge=2)] = 32
    betas: tuple[Decay, Decay] = (0.9, 0.999)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.size % (multiple := 2 ** (len(self.config.mult) - 1)):
            raise ValueError(f"size must be a multiple of {multiple} with {len(self.config.mult)} levels (config.mult)")
        if self.guidance != 1 and not (self.classes and self.without_class):
            raise ValueError("guidance needs classes: true and without_class above 0")
        return self


class Diffusion(Direct[Settings]):
    """Mean squared error of v, weighted by the ratio of signal to noise."""

    configuration = Settings
    title = "Diffusion"

    @property
    def shape(self) -> Shape:
        config, classes = self.settings.config, len(self.facts.classes or ())
        return Shape(
            in_channels=self.facts.channels,
            out_channels=self.facts.channels,
            model_channels=config.width,
            channel_mult=config.mult,
            num_res_blocks=config.blocks,
            attention_resolutions=config.attention,
            use_scale_shift_norm=True,
            num_classes=classes + (self.settings.without_class > 0) if classes else None,
            num_heads=config.heads,
            groups=8,
        )

    def generator(self) -> nn.Module:
        network = UNet(self.shape)
        for module in network.modules():  # as published, every block begins as one that changes nothing
            if isinstance(module, Block):
                nn.init.zeros_(module.out_layers[-1].weight)  # type: ignore[arg-type]
            elif isinstance(module, Attention):
                nn.init.zeros_(module.proj_out.weight)
        nn.init.zeros_(network.out[-1].weight)  # type: ignore[arg-type]
        return network

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        batch = noised(images, rng)
        dropped = torch.rand(len(images), generator=rng) < self.settings.without_class
        if labels is not None and self.settings.without_class:
            labels = labels.masked_fill(dropped.to(labels.device), len(self.facts.classes or ()))
        v = network(batch.x_t, batch.timesteps, labels).float()
        error = (v - batch.v).square().flatten(1).mean(1)
        # The error of v is SNR + 1 times that of x0; Min-SNR weighs that of x0 by min(SNR, gamma).
        snr = batch.alpha_bar_t / (1 - batch.alpha_bar_t)
        weight = snr.clamp(max=self.settings.gamma) * (1 - batch.alpha_bar_t)
        return Loss((weight * error).mean(), {"v_error": error.mean()})

    def zoo_inputs(self, noise: Noise) -> Inputs:
        size = self.settings.size
        return Inputs(noise.latent((self.facts.channels, size, size)), labels=self.classes(noise))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        condition = Conditioning(labels=inputs.labels)
        without = condition.without(labels=len(self.facts.classes or ()))

        def predict(x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
            v: Tensor = generator(x, t.expand(len(x)), condition.labels)
            return v

        guided_predict = guided(predict, condition, without, self.settings.guidance)
        return (denoised(guided_predict, inputs.latents, self.settings.sampling_steps),)

    def entry(self) -> dict[str, Any]:
        size, guidance = self.settings.size, self.settings.guidance if self.facts.classes else None
        schedule = SCHEDULE.model_dump(exclude_unset=True)
        return {
            "config": {"improved": self.shape.model_dump(mode="json"), "schedule": schedule, "size": [size, size]},
            "condition": class_condition(self.facts.classes),
            "sampling": {
                **{"latent": "normal", "norm_stats": None, "truncation": None},
                **{"steps": self.settings.sampling_steps, "sampler": "dpm++", "guidance": guidance},
            },
        }


RECIPE = Diffusion
