"""The contract of a recipe: a family's networks, what goes into them, and their losses.

The loop, snapshots, resuming, tables and checks are the trainer's. A recipe's generator is the network of the family
in the zoo, under its names, so that what was trained runs there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from medzoo.randomness import Noise
from medzoo.training.config import TrainConfig
from medzoo.training.losses import Comparison, Copies

S = TypeVar("S", bound=TrainConfig)


@dataclass(frozen=True)
class Facts:
    """What the images decide.

    Attributes:
        colours: channels of the picture, 1 or 3.
        masks: mask channels to learn, 0 or 1.
        classes: their names in the order of the labels, where they are learned; else None.
    """

    colours: int
    masks: int
    classes: tuple[str, ...] | None

    @property
    def channels(self) -> int:
        return self.colours + self.masks


@dataclass(frozen=True)
class Inputs:
    """What a generator takes for n images: latents [n, nz], maps of noise [n, ...] and classes int64 [n]."""

    latents: Tensor
    noise: tuple[Tensor, ...] = ()
    labels: Tensor | None = None

    def to(self, device: torch.device) -> Inputs:
        labels = None if self.labels is None else self.labels.to(device)
        return Inputs(self.latents.to(device), tuple(one.to(device) for one in self.noise), labels)

    def with_latents(self, latents: Tensor) -> Inputs:
        """For other latents, with everything else the same."""
        return replace(self, latents=latents)


class Recipe(ABC, Generic[S]):
    """One family's side of a training run.

    Args:
        settings: the configuration.
        facts: of the images. Raises TrainingError where the two do not fit.
    """

    configuration: ClassVar[type[TrainConfig]]
    # Updates of the discriminator for each of the generator.
    critic_steps: int = 1

    def __init__(self, settings: S, facts: Facts) -> None:
        self.settings, self.facts = settings, facts

    @abstractmethod
    def generator(self) -> nn.Module:
        """The zoo's network with start values drawn from torch's global generator."""

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """Likewise."""

    @abstractmethod
    def draw(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Inputs:
        """What the generator takes in training, on the CPU."""

    @abstractmethod
    def sampled(self, noise: Noise) -> Inputs:
        """What the zoo gives the generator for the samples of ``noise``."""

    @abstractmethod
    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        """Raw images [n, c, size, size] and whatever smaller copies the discriminator also sees."""

    def copies(self, images: Tensor) -> Copies:
        """Full-size images in the form that ``compare`` takes."""
        return (images,)

    @abstractmethod
    def judge(self, discriminator: nn.Module, images: Copies) -> Tensor:
        """Logits [n, p] float32."""

    @abstractmethod
    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        rng: torch.Generator,
    ) -> Comparison:
        """The losses of one look at a batch of each.

        Args:
            real, fake: as augmented; ``fake`` carries the generator's gradient, which ``loss`` must not reach.
            labels: classes of real and of generated images, where they are learned.
            rng: draws for this step.
        """

    @abstractmethod
    def entry(self) -> dict[str, Any]:
        """The fields ``config``, ``condition`` and ``sampling`` of the model's entry."""
