"""StyleGAN2 (Karras et al., CVPR 2020) with the settings and classes of StyleGAN2-ADA (Karras et al., NeurIPS 2020).

The non-saturating logistic loss; R1 on the real images every 16 steps; path length regularisation of the generator
every 4. Both are added to the loss of their step, times that interval. The published code takes an update of its own
for them and slows Adam down by as much (CVPR 2020, appendix B); without extra updates there is nothing to correct.

The published half-life of the averaged generator, 10 x batch / 32 thousand images, is a decay of 0.5^(32 / 10000) a
step whatever the batch, and the trainer's warm-up is close to its ramp.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.families.stylegan2.config import Config as ZooConfig
from medzoo.families.stylegan2.network import Layer, Linear, Network
from medzoo.randomness import Noise
from medzoo.training.config import Decay, TrainConfig
from medzoo.training.losses import Comparison, Copies, GeneratorLoss, non_saturating
from medzoo.training.recipes._base import Adversarial, Inputs, class_condition
from medzoo.training.recipes._stylegan2_discriminator import Discriminator
from medzoo.training.techniques._slope import unscaled
from medzoo.training.techniques.r1 import penalty, usual_gamma

R1_EVERY, PATH_EVERY = 16, 4  # steps
PATH_DECAY, PATH_SHARE = 0.01, 2  # of the running mean; the batch is divided by
MIXED = 0.9  # share of samples whose later layers take the w of another latent
W_DECAY = 0.995  # of the running mean of w

Weight = Annotated[float, Field(ge=0)]


class Config(Record):
    """The generator; narrower than published, so that a model takes some ten megabytes.

    Attributes:
        z_dim: of the latent, and of w.
        layers: of the mapping network.
        channel_base, channel_max: channels at s px are channel_base / s, at most channel_max.
    """

    z_dim: PositiveInt = 128
    layers: PositiveInt = 2
    channel_base: Annotated[int, Field(ge=256)] = 8192
    channel_max: PositiveInt = 256


class Critic(Record):
    """The discriminator and the regularisation of both networks.

    Attributes:
        channel_base, channel_max: as of the generator.
        r1: weight of R1, gamma; null takes the published rule, 0.0002 x size^2 / batch.
        path: weight of the path length regularisation; 0 leaves it out.
    """

    channel_base: Annotated[int, Field(ge=256)] = 8192
    channel_max: PositiveInt = 256
    r1: Weight | None = None
    path: Weight = 2.0


class Settings(TrainConfig):
    """A configuration of this family; Adam and the average as published."""

    family: Literal["stylegan2"]
    size: Literal[32, 64, 128, 256]
    config: Config = Config()
    critic: Critic = Critic()
    batch: Annotated[int, Field(ge=2)] = 16
    lr: PositiveFloat = 0.0025
    betas: tuple[Decay, Decay] = (0.0, 0.99)
    ema: Annotated[float, Field(gt=0, lt=1)] = 0.9978

    @model_validator(mode="after")
    def _fitting_techniques(self) -> Settings:
        names = [one["name"] for one in self.techniques]
        if "r1" in names:
            raise ValueError("techniques: stylegan2 has R1 of its own; state critic.r1 instead")
        if "spectral_norm" in names:
            raise ValueError("techniques: stylegan2 scales its weights itself; leave spectral_norm out")
        if self.classes and (without := {"cr", "bcr", "zcr", "icr"}.intersection(names)):
            raise ValueError(
                f"techniques: leave {', '.join(sorted(without))} out, or take classes: false; with classes, judgements "
                "that know the class would be compared with others that do not"
            )
        return self


class StyleGAN2(Adversarial[Settings]):
    """The generator with noise for each sample and mixed styles against a residual discriminator."""

    configuration = Settings
    title = "StyleGAN2"

    @cached_property
    def zoo_config(self) -> ZooConfig:
        return ZooConfig.model_validate(self.entry()["config"])

    @property
    def places(self) -> int:
        """Where a w goes in."""
        return 2 * len(self.zoo_config.resolutions())

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Of the maps of noise of one sample: one of the smallest layer, two of each other size."""
        return [(1, size, size) for size in self.zoo_config.resolutions() for _ in range(1 if size == 4 else 2)]

    @property
    def gamma(self) -> float:
        stated, size = self.settings.critic.r1, self.settings.size
        return usual_gamma(size, size, self.settings.batch) if stated is None else stated

    def generator(self) -> nn.Module:
        network = Network(self.zoo_config)
        reset(network)
        return network

    def discriminator(self) -> nn.Module:
        critic = self.settings.critic
        widths = [min(critic.channel_base // size, critic.channel_max) for size in self.zoo_config.resolutions()]
        return Discriminator(widths, self.facts.channels, len(self.facts.classes or ()))

    def draw(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Inputs:
        """Behind the maps of noise: other latents [n, z_dim], and from which place on they decide, int64 [n]."""
        latents, others = torch.randn(2, n, self.settings.config.z_dim, generator=rng)
        first = torch.randint(1, self.places, (n,), generator=rng)
        first[torch.rand(n, generator=rng) >= MIXED] = self.places
        maps = (torch.randn(n, *shape, generator=rng) for shape in self.shapes)
        return Inputs(latents, (*maps, others, first), labels)

    def zoo_inputs(self, noise: Noise) -> Inputs:
        latents = noise.latent((self.settings.config.z_dim,))
        return Inputs(latents, tuple(noise.normal(shape) for shape in self.shapes), self.classes(noise))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        assert isinstance(generator, Network)
        ws = self.ws(generator, inputs, track=generator.training)
        return (self.synthesised(generator, ws, inputs),)

    def ws(self, generator: Network, inputs: Inputs, *, track: bool) -> Tensor:
        """The w of every place [n, places, z_dim], mixed where ``inputs`` come from ``draw``.

        Args:
            track: whether the mean w follows.
        """
        latents, labels = inputs.latents, inputs.labels
        c = None if labels is None else F.one_hot(labels, self.zoo_config.c_dim).to(latents)
        w = generator.mapping(latents, c)
        if track:
            generator.mapping.w_avg.lerp_(w.detach().float().mean(0), 1 - W_DECAY)
        ws = w[:, None].expand(-1, self.places, -1)
        mixing = inputs.noise[len(self.shapes) :]
        if not mixing:
            return ws
        others, first = mixing
        later = torch.arange(self.places, device=w.device) >= first[:, None]
        return torch.where(later[:, :, None], generator.mapping(others, c)[:, None], ws)

    def synthesised(self, generator: Network, ws: Tensor, inputs: Inputs) -> Tensor:
        return generator.synthesis(ws, inputs.noise[: len(self.shapes)])

    def discriminate(self, discriminator: nn.Module, images: Copies) -> Tensor:
        """With classes, the mean over all of them."""
        logits: Tensor = discriminator(images[0])
        return logits.float()

    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        step: int,
        rng: torch.Generator,
    ) -> Comparison:
        assert isinstance(discriminator, Discriminator)
        of_real, of_fake = labels or (None, None)
        logits_real = discriminator(real[0], of_real).float()
        logits_fake = discriminator(fake[0].detach(), of_fake).float()
        loss = non_saturating(logits_real, logits_fake)
        if self.gamma and step % R1_EVERY == 0:
            steep = penalty(lambda images: discriminator(images, of_real).float(), real[0], self.gamma)
            discriminator.slope.copy_(steep.detach())
            loss = loss + R1_EVERY * steep

        def score_fakes() -> GeneratorLoss:
            logits = discriminator(fake[0], of_fake).float()
            return GeneratorLoss(F.softplus(-logits).mean(), logits, {"path": discriminator.path})

        return Comparison(loss, logits_real, logits_fake, score_fakes, {"r1": discriminator.slope})

    def regularise(
        self, generator: nn.Module, discriminator: nn.Module, n: int, step: int, rng: torch.Generator
    ) -> Tensor | None:
        """Path length regularisation."""
        assert isinstance(generator, Network) and isinstance(discriminator, Discriminator)
        weight, device = self.settings.critic.path, discriminator.path.device
        if not weight or step % PATH_EVERY:
            return None
        n, count = max(1, n // PATH_SHARE), self.zoo_config.c_dim
        inputs = self.draw(n, rng, torch.randint(count, (n,), generator=rng) if count else None).to(device)
        with unscaled(device):
            ws = self.ws(generator, inputs, track=False)
            images = self.synthesised(generator, ws, inputs).float()
            lengths = path_lengths(images, ws, torch.randn(images.shape, generator=rng).to(device))
        discriminator.path.lerp_(lengths.detach().mean(), PATH_DECAY)
        return PATH_EVERY * weight * (lengths - discriminator.path).square().mean()

    def entry(self) -> dict[str, Any]:
        stated, classes = self.settings.config, self.facts.classes
        return {
            "config": {
                "z_dim": stated.z_dim,
                "c_dim": len(classes or ()),
                "w_dim": stated.z_dim,
                "img_resolution": self.settings.size,
                "img_channels": self.facts.channels,
                "mapping_kwargs": {"num_layers": stated.layers},
                "synthesis_kwargs": {"channel_base": stated.channel_base, "channel_max": stated.channel_max},
            },
            "condition": class_condition(classes),
            "sampling": {
                "latent": "normal", "norm_stats": None, "truncation": None, "steps": None, "noise": "random"
            },
        }  # fmt: skip


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """|J^T y| of each image [n], differentiable (CVPR 2020, equation 4): how far a step in w moves the image.

    The mean over places is taken of the squared lengths.

    Args:
        images: [n, c, h, w], made from ``ws`` [n, places, z_dim].
        noise: y before its division by sqrt(h w), N(0, 1), in the shape of ``images``.
    """
    sides = images.shape[2] * images.shape[3]
    (gradient,) = torch.autograd.grad((images * noise).sum() / math.sqrt(sides), ws, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()


def reset(network: Network) -> None:
    """Published start values: weights N(0, 1) once they are scaled, styles 1, other biases and noise strengths 0."""
    for name, parameter in network.named_parameters():
        if name.endswith(("weight", "const")):
            nn.init.normal_(parameter)
        else:
            nn.init.constant_(parameter, float(name.endswith("affine.bias")))
    for module in network.modules():
        if isinstance(module, Linear):
            nn.init.normal_(module.weight, 0.0, 1 / module.bias_gain)
        elif isinstance(module, Layer):
            nn.init.normal_(module.noise_const)
    nn.init.zeros_(network.mapping.w_avg)


RECIPE = StyleGAN2
