"""WGAN-GP (Gulrajani et al., NeurIPS 2017): DCGAN's networks with layer norm in the discriminator, and a penalty."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.training.config import Decay, NoClasses, TrainConfig
from medzoo.training.losses import Comparison, Copies, minus_mean
from medzoo.training.recipes._base import Facts
from medzoo.training.recipes.dcgan import Config, Size, TransposedConvolutions
from medzoo.training.techniques.gradient_penalty import penalty


class Critic(Record):
    """The discriminator.

    Attributes:
        ndf: width.
        steps: its updates for each of the generator.
        penalty: weight of the gradient penalty.
    """

    ndf: Annotated[int, Field(ge=4)] = 64
    steps: PositiveInt = 5
    penalty: Annotated[float, Field(ge=0)] = 10.0


class Settings(TrainConfig):
    """A configuration of this family; Adam as published."""

    family: Literal["wgan_gp"]
    size: Size
    classes: NoClasses = False
    config: Config = Config()
    critic: Critic = Critic()
    batch: Annotated[int, Field(ge=2)] = 64
    lr: PositiveFloat = 1e-4
    betas: tuple[Decay, Decay] = (0.0, 0.9)

    @model_validator(mode="after")
    def _one_penalty(self) -> Settings:
        if any(one["name"] == "gradient_penalty" for one in self.techniques):
            raise ValueError("techniques: wgan_gp has a gradient penalty of its own; state critic.penalty instead")
        return self


class LayerNorm(nn.GroupNorm):
    """Over all of an image's numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class WganGp(TransposedConvolutions[Settings]):
    """Difference of mean scores; the discriminator's gradient is held at length 1 between real and generated images."""

    configuration = Settings
    title = "WGAN-GP"
    norm = LayerNorm  # the penalty is of each image's own gradient, which batch norm would mix

    def __init__(self, settings: Settings, facts: Facts) -> None:
        super().__init__(settings, facts)
        self.discriminator_steps = settings.critic.steps

    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        step: int,
        rng: torch.Generator,
    ) -> Comparison:
        still = fake[0].detach()
        logits_real, logits_fake = self.discriminate(discriminator, real), self.discriminate(discriminator, (still,))
        steep = penalty(lambda images: self.discriminate(discriminator, (images,)), real[0], still, 1.0, rng)
        return Comparison(
            loss=logits_fake.mean() - logits_real.mean() + self.settings.critic.penalty * steep,
            real=logits_real,
            fake=logits_fake,
            score_fakes=lambda: minus_mean(self.discriminate(discriminator, fake)),
            parts={"penalty": steep},
        )


RECIPE = WganGp
