"""DCGAN (Radford et al., ICLR 2016), class-conditional with the head of ACGAN (Odena et al., ICML 2017).

Non-saturating binary cross-entropy; with classes the discriminator also names the class of real and of generated
images, and both networks learn from that.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt, Record
from medzoo.families import dcgan
from medzoo.nets import BatchNorm2d
from medzoo.randomness import Noise
from medzoo.training.config import TrainConfig
from medzoo.training.losses import Comparison, Copies, GeneratorLoss, non_saturating
from medzoo.training.presets import Preset
from medzoo.training.recipes._base import Adversarial, Inputs, S, class_condition

LEAK, STD = 0.2, 0.02
EMBEDDING = 50  # numbers a class

Size = Literal[16, 28, 32, 56, 64, 112, 128, 224, 256]


class Config(Record):
    """Width and latent size of the generator; half of the published width, which makes a model of a few megabytes."""

    ngf: Annotated[int, Field(ge=4)] = 32
    nz: PositiveInt = 100


class Critic(Record):
    """The discriminator.

    Attributes:
        ndf: width.
        class_weight: of the loss of the classes, where they are learned.
    """

    ndf: Annotated[int, Field(ge=4)] = 64
    class_weight: Annotated[float, Field(ge=0)] = 1.0


class Settings(TrainConfig):
    """A configuration of this family."""

    family: Literal["dcgan"]
    size: Size
    config: Config = Config()
    critic: Critic = Critic()
    batch: Annotated[int, Field(ge=2)] = 64


class TransposedConvolutions(Adversarial[S]):
    """The networks of this family and of wgan_gp.

    Attributes:
        norm: what follows every convolution of the discriminator but the first.
    """

    norm: type[nn.Module] = BatchNorm2d
    presets = {
        "full": Preset(),
        "small": Preset({"critic": {"ndf": 32}, "steps": 10_000}, share=0.36),
        "tiny": Preset({"config": {"ngf": 16}, "critic": {"ndf": 16}, "steps": 2_000}, share=0.12),
    }

    @property
    def zoo_config(self) -> dcgan.Config:
        classes = self.facts.classes
        config: Any = self.settings.config
        size: Any = self.settings.size
        return dcgan.Config(
            nz=config.nz,
            ngf=config.ngf,
            nc=self.facts.channels + (classes is not None),
            image_size=size,
            conditional=classes is not None,
            is_condition_categorical=classes is not None,
            n_cond=len(classes or ()) or 1,
            num_embedding_dimensions=EMBEDDING,
        )

    def generator(self) -> nn.Module:
        network = dcgan.Network(self.zoo_config)
        reset(network)
        return network

    def discriminator(self) -> nn.Module:
        critic: Any = self.settings.critic  # type: ignore[attr-defined]
        size: Any = self.settings.size
        network = Discriminator(critic.ndf, self.facts.channels, size, len(self.facts.classes or ()), self.norm)
        reset(network)
        return network

    def draw(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Inputs:
        return Inputs(torch.randn(n, self.zoo_config.nz, generator=rng), labels=labels)

    def zoo_inputs(self, noise: Noise) -> Inputs:
        return Inputs(noise.latent((self.zoo_config.nz,)), labels=self.classes(noise))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        return (generator(inputs.latents, inputs.labels),)

    def discriminate(self, discriminator: nn.Module, images: Copies) -> Tensor:
        logits: Tensor = discriminator(*images)[0]
        return logits.float()

    def entry(self) -> dict[str, Any]:
        classes, stated = self.facts.classes, self.zoo_config.model_dump()
        fields = ["nz", "ngf", "nc", "image_size"]
        fields += ["conditional", "is_condition_categorical", "n_cond", "num_embedding_dimensions"] if classes else []
        return {
            "config": {name: stated[name] for name in fields},
            "condition": class_condition(classes),
            "sampling": {"latent": "normal", "norm_stats": "running", "truncation": None, "steps": None},
        }


class DCGAN(TransposedConvolutions[Settings]):
    """Strided convolutions with batch norm against transposed ones."""

    configuration = Settings
    title = "DCGAN"

    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        step: int,
        rng: torch.Generator,
    ) -> Comparison:
        logits_real, named_real = (output.float() for output in discriminator(real[0]))
        logits_fake, named_fake = (output.float() for output in discriminator(fake[0].detach()))
        loss, weight, parts = non_saturating(logits_real, logits_fake), self.settings.critic.class_weight, {}
        if labels is not None:
            parts = {"class_d": F.cross_entropy(named_real, labels[0]) + F.cross_entropy(named_fake, labels[1])}
            loss = loss + weight * parts["class_d"]

        def score_fakes() -> GeneratorLoss:
            logits, named = (output.float() for output in discriminator(fake[0]))
            loss_g = F.softplus(-logits).mean()
            if labels is None:
                return GeneratorLoss(loss_g, logits)
            of_class = F.cross_entropy(named, labels[1])
            return GeneratorLoss(loss_g + weight * of_class, logits, {"class_g": of_class})

        return Comparison(loss, logits_real, logits_fake, score_fakes, parts)


class Discriminator(nn.Module):
    """Images [n, nc, size, size] -> logits [n, 1], and logits of the classes [n, classes].

    Args:
        ndf: channels of the first map; each next one has twice as many, at most eight times.
        norm: what follows every convolution but the first; None if nothing does.
    """

    def __init__(self, ndf: int, nc: int, size: int, classes: int, norm: type[nn.Module] | None = BatchNorm2d) -> None:
        super().__init__()
        width, side = ndf, size // 2
        layers: list[nn.Module] = [nn.Conv2d(nc, width, 4, 2, 1), nn.LeakyReLU(LEAK)]
        while side not in (4, 7):
            wider = min(2 * width, 8 * ndf)
            layers.append(nn.Conv2d(width, wider, 4, 2, 1, bias=norm is None))
            layers += [norm(wider)] if norm else []
            layers.append(nn.LeakyReLU(LEAK))
            width, side = wider, side // 2
        self.main = nn.Sequential(*layers)
        self.logit = nn.Conv2d(width, 1, side)
        self.name = nn.Conv2d(width, classes, side) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.main(images)
        named = maps.new_zeros(len(maps), 0) if self.name is None else self.name(maps).flatten(1)
        return self.logit(maps).flatten(1), named


def reset(network: nn.Module) -> None:
    """N(0, 0.02) weights of convolutions, gains of norms N(1, 0.02), no biases, as published."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, STD)
        elif isinstance(module, BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, STD)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)


RECIPE = DCGAN
