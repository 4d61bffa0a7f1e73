"""WGAN-GP (Gulrajani et al., NeurIPS 2017): the generator of DCGAN, a critic without batch norm, a gradient penalty."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.entry import Record
from medzoo.training.config import Decay, NoClasses, Positive, TrainConfig
from medzoo.training.losses import Comparison, Copies, minus_mean
from medzoo.training.recipes._base import Facts
from medzoo.training.recipes.dcgan import Config, Discriminator, Size, TransposedConvolutions, reset
from medzoo.training.techniques.gradient_penalty import penalty


class Critic(Record):
    """The critic.

    Attributes:
        ndf: width.
        steps: its updates for each of the generator.
        penalty: weight of the gradient penalty.
    """

    ndf: Annotated[int, Field(ge=4)] = 64
    steps: Positive = 5
    penalty: Annotated[float, Field(ge=0)] = 10.0


class Settings(TrainConfig):
    """A configuration of this family; Adam as published."""

    family: Literal["wgan_gp"]
    size: Size
    classes: NoClasses = False
    config: Config = Config()
    critic: Critic = Critic()
    batch: Annotated[int, Field(ge=2)] = 64
    lr: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[Decay, Decay] = (0.0, 0.9)

    @model_validator(mode="after")
    def _one_penalty(self) -> Settings:
        if any(one["name"] == "gradient_penalty" for one in self.techniques):
            raise ValueError("techniques: wgan_gp has a gradient penalty of its own; state critic.penalty instead")
        return self


class WganGp(TransposedConvolutions[Settings]):
    """Difference of mean scores; the critic's gradient is held at length 1 between real and generated images."""

    configuration = Settings
    title = "WGAN-GP"

    def __init__(self, settings: Settings, facts: Facts) -> None:
        super().__init__(settings, facts)
        self.critic_steps = settings.critic.steps

    def discriminator(self) -> nn.Module:
        # The penalty is of each image's own gradient, which batch norm would mix.
        network = Discriminator(self.settings.critic.ndf, self.facts.channels, self.settings.size, 0, norm=LayerNorm)
        reset(network)
        return network

    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        rng: torch.Generator,
    ) -> Comparison:
        still = fake[0].detach()
        logits_real, logits_fake = self.judge(discriminator, real), self.judge(discriminator, (still,))
        steep = penalty(lambda images: self.judge(discriminator, (images,)), real[0], still, 1.0, rng)
        return Comparison(
            loss=logits_fake.mean() - logits_real.mean() + self.settings.critic.penalty * steep,
            real=logits_real,
            fake=logits_fake,
            again=lambda: minus_mean(self.judge(discriminator, fake)),
            parts={"penalty": steep},
        )


class LayerNorm(nn.GroupNorm):
    """Over all of an image's numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


RECIPE = WganGp
