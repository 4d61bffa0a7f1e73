"""VAE (Kingma and Welling, ICLR 2014): reconstruction and the KL divergence of the encoder's Gaussian from N(0, 1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.families import vae
from medzoo.randomness import Noise
from medzoo.training.config import Decay, TrainConfig
from medzoo.training.losses import Copies, Loss
from medzoo.training.recipes._base import Direct, Inputs, class_condition
from medzoo.training.recipes._reconstruction import of_masks, of_picture


class Config(Record):
    """Width and latent size of the network."""

    width: Annotated[int, Field(ge=4)] = 32
    blocks: Annotated[int, Field(ge=0)] = 1
    latent: PositiveInt = 128


class Settings(TrainConfig):
    """A configuration of this family.

    Attributes:
        kl_weight: of the KL divergence, summed over the latent, against a reconstruction loss that is a mean over
            pixels, for images of 64 x 64; for others it goes with 1 / their number of pixels, as the sum over pixels
            of the original objective does. 2.4e-4 is 1 / 64^2.
        edges: weight of the slopes in the reconstruction loss.
    """

    family: Literal["vae"]
    size: Literal[28, 32, 64, 128]
    config: Config = Config()
    kl_weight: Annotated[float, Field(ge=0)] = 2.5e-4
    edges: Annotated[float, Field(ge=0)] = 1.0
    batch: Annotated[int, Field(ge=2)] = 64
    lr: PositiveFloat = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)


class VAE(Direct[Settings]):
    """A Laplace likelihood with slopes for the picture, cross-entropy for masks, KL for the latent."""

    configuration = Settings
    title = "VAE"

    @property
    def zoo_config(self) -> vae.Config:
        return vae.Config(
            **self.settings.config.model_dump(),
            channels=self.facts.channels,
            image_size=self.settings.size,
            classes=len(self.facts.classes or ()),
        )

    def generator(self) -> nn.Module:
        return vae.Network(self.zoo_config)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        assert isinstance(network, vae.Network)
        settings, colours = self.settings, self.facts.colours
        mean, log_variance = (one.float() for one in network.encode(images))
        drawn = torch.randn(mean.shape, generator=rng).to(mean.device)
        made = network(mean + (log_variance / 2).exp() * drawn, labels).float()
        picture = of_picture(made[:, :colours], images[:, :colours], settings.edges)
        masks, kl = of_masks(made[:, colours:], images[:, colours:]), divergence(mean, log_variance).mean()
        parts = {"reconstruction": picture, "kl": kl} | ({"masks": masks} if self.facts.masks else {})
        # The likelihood of the picture at the scale that fits it best (Rybkin et al., "Simple and effective VAE
        # training with calibrated decoders", ICML 2021; theirs is Gaussian): the nearer the images, the more the rest
        # of the difference counts, so that details are learned too.
        fit = picture.clamp_min(1e-6).log()
        return Loss(fit + masks + settings.kl_weight * (64 / settings.size) ** 2 * kl, parts)

    def zoo_inputs(self, noise: Noise) -> Inputs:
        return Inputs(noise.latent((self.settings.config.latent,)), labels=self.classes(noise))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        return (generator(inputs.latents, inputs.labels),)

    def entry(self) -> dict[str, Any]:
        return {
            "config": self.zoo_config.model_dump(),
            "condition": class_condition(self.facts.classes),
            "sampling": {"latent": "normal", "norm_stats": None, "truncation": None, "steps": None},
        }


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) [n] of [n, latent], summed over the latent (Kingma and Welling, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


RECIPE = VAE
