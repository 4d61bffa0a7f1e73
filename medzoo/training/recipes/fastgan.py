"""FastGAN (Liu et al., ICLR 2021), with its own discriminator or a projected one (Sauer et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from medzoo.entry import PositiveInt, Record
from medzoo.errors import TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.families.fastgan.gate import compile_gates
from medzoo.randomness import Noise
from medzoo.training.config import NoClasses, TrainConfig
from medzoo.training.losses import Comparison, Copies
from medzoo.training.presets import Preset
from medzoo.training.recipes._base import Adversarial, Facts, Inputs
from medzoo.training.recipes._fastgan_discriminator import Discriminator, resize
from medzoo.training.recipes._narrow import narrow, wider


class Config(Record):
    """Width and latent size of the generator; about half of the published ones, a model of 12 MB at 128 px."""

    ngf: Annotated[int, Field(ge=8)] = 28
    nz: PositiveInt = 128


class Critic(Record):
    """The discriminator.

    Attributes:
        kind: ``fastgan``, or ``projected``: judges in the features of a network pretrained on ImageNet (needs
            ``medzoo[metrics]``), which learns several times faster. Held-out distances, taken in the same features,
            then flatter the generator.
        ndf: width of FastGAN's own.
        reconstruction: weight of the L1 self-supervision of FastGAN's own.
    """

    kind: Literal["fastgan", "projected"] = "fastgan"
    ndf: Annotated[int, Field(ge=4)] = 64
    reconstruction: Annotated[float, Field(ge=0)] = 1.0


class Settings(TrainConfig):
    """A configuration of this family."""

    family: Literal["fastgan"]
    size: Literal[128, 256, 512, 1024]
    classes: NoClasses = False
    config: Config = Config()
    critic: Critic = Critic()


class FastGAN(Adversarial[Settings]):
    """Images and their small copies, hinge loss with random margins, reconstruction as self-supervision."""

    configuration = Settings
    title = "FastGAN"
    presets = {
        "full": Preset(),
        "small": Preset({"critic": {"ndf": 32}, "steps": 10_000}, share=0.32),
        "tiny": Preset({"config": {"ngf": 16}, "critic": {"ndf": 16}, "steps": 2_000}, share=0.12),
    }

    def __init__(self, settings: Settings, facts: Facts) -> None:
        super().__init__(settings, facts)
        if settings.critic.kind == "projected" and facts.colours != 3:
            raise TrainingError(f"critic.kind: projected needs colour images, {settings.source} has none")

    def generator(self) -> nn.Module:
        network = Network(**self.entry()["config"])
        network.reset()
        return network

    def fit_state(self, state: Mapping[str, Tensor], generator: nn.Module) -> Mapping[str, Tensor]:
        """The strongest channels of a wider generator."""
        assert isinstance(generator, Network)
        return narrow(state, generator) if wider(state, generator) else state

    def compile(self, networks: Mapping[str, nn.Module]) -> None:
        """Norms with their gates."""
        for network in networks.values():
            compile_gates(network)

    def discriminator(self) -> nn.Module:
        critic = self.settings.critic
        if critic.kind == "fastgan":
            return Discriminator(critic.ndf, self.facts.channels, self.settings.size, critic.reconstruction)
        from medzoo.training.recipes._projected_discriminator import ProjectedDiscriminator

        return ProjectedDiscriminator(self.facts.masks)

    def draw(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Inputs:
        latents = torch.randn(n, self.settings.config.nz, generator=rng)
        shapes = noise_shapes(self.settings.size)
        return Inputs(latents, tuple(torch.randn(n, *shape, generator=rng) for shape in shapes))

    def zoo_inputs(self, noise: Noise) -> Inputs:
        latents = noise.latent((self.settings.config.nz,))
        return Inputs(latents, tuple(noise.normal(shape) for shape in noise_shapes(self.settings.size)))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        assert isinstance(generator, Network)
        return generator.images(inputs.latents, list(inputs.noise))

    def copies(self, images: Tensor) -> Copies:
        return images, resize(images, min(128, images.shape[-1] // 2))

    def discriminate(self, discriminator: nn.Module, images: Copies) -> Tensor:
        found: Tensor = discriminator.logits(images)  # type: ignore[operator]
        return found

    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        step: int,
        rng: torch.Generator,
    ) -> Comparison:
        found: Comparison = discriminator.compare(real, fake, rng)  # type: ignore[operator]
        return found

    def entry(self) -> dict[str, Any]:
        stated = self.settings.config.model_dump()
        return {
            "config": {**stated, "nc": self.facts.channels, "im_size": self.settings.size},
            "condition": None,
            "sampling": {"latent": "normal", "norm_stats": "running", "truncation": None, "steps": None},
        }


RECIPE = FastGAN
