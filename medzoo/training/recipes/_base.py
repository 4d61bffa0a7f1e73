"""The contract of a recipe: a family's networks, what goes into them, and their losses.

The loop, snapshots, resuming, tables and checks are the trainer's. A recipe's generator is the network of the family
in the zoo, under its names, so that what was trained runs there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from medzoo.randomness import Noise
from medzoo.training.config import TrainConfig
from medzoo.training.losses import Comparison, Copies, Loss
from medzoo.training.presets import LENGTHS, Preset

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
        return Inputs(self.latents.to(device), tuple(noise.to(device) for noise in self.noise), labels)

    def with_latents(self, latents: Tensor) -> Inputs:
        """For other latents, with everything else the same."""
        return replace(self, latents=latents)


class Recipe(ABC, Generic[S]):
    """One family's side of a training run: :class:`Adversarial` or :class:`Direct`.

    Args:
        settings: the configuration.
        facts: of the images. Raises TrainingError where the two do not fit.
    """

    configuration: ClassVar[type[TrainConfig]]
    # What the titles of entries call the family; the family's own name where there is none.
    title: ClassVar[str | None] = None
    # Sizes of a run by name: tiny, small, full (medzoo.training.presets).
    presets: ClassVar[Mapping[str, Preset]] = LENGTHS

    def __init__(self, settings: S, facts: Facts) -> None:
        self.settings, self.facts = settings, facts

    @abstractmethod
    def generator(self) -> nn.Module:
        """The zoo's network with start values drawn from torch's global generator."""

    @abstractmethod
    def zoo_inputs(self, noise: Noise) -> Inputs:
        """What the zoo gives the generator for the samples of ``noise``, on its device."""

    def classes(self, noise: Noise) -> Tensor | None:
        """Classes int64 [n] that the zoo draws for the samples of ``noise``; None where none are learned."""
        names = self.facts.classes
        return None if names is None else torch.from_numpy(noise.classes(len(names))).to(noise.device)

    @abstractmethod
    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        """Raw images [n, c, size, size] in [-1, 1], and the smaller copies [n, c, s, s] that a discriminator also sees.

        Volumes are [n, c, d, h, w].
        """

    def fit_state(self, state: Mapping[str, Tensor], generator: nn.Module) -> Mapping[str, Tensor]:
        """The state dict that fine-tuning begins with.

        Args:
            state: of the generator to begin from, names and shapes as in its own configuration.
            generator: the network of this run.

        Returns:
            ``state`` in the shapes of ``generator`` where the recipe can make it so, else as it is; what does not fit
            is then an error.
        """
        return state

    def compile(self, networks: Mapping[str, nn.Module]) -> None:
        """Let TorchInductor fuse parts of the networks in train mode, with ``compile: true``; nothing by default.

        Args:
            networks: by their names in a run's state: ``generator`` and, where there is one, ``discriminator``.
        """

    @abstractmethod
    def entry(self) -> dict[str, Any]:
        """The fields ``config``, ``condition`` and ``sampling`` of the model's entry."""


class Adversarial(Recipe[S]):
    """A generator against a discriminator; trained by ``medzoo.training.adversarial``.

    Its configuration has one more field, ``critic``: the discriminator and its losses.
    """

    # Updates of the discriminator for each of the generator.
    discriminator_steps: int = 1

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """With start values drawn from torch's global generator."""

    @abstractmethod
    def draw(self, n: int, rng: torch.Generator, labels: Tensor | None) -> Inputs:
        """What the generator takes for n images in training: latents [n, nz] and maps of noise [n, ...], on the CPU.

        Args:
            rng: on the CPU, seeded by (seed, step).
            labels: classes int64 [n] of the images to make, on the CPU; None where none are learned.
        """

    def copies(self, images: Tensor) -> Copies:
        """Full-size images [n, c, size, size] -> these, and the smaller copies [n, c, s, s] that ``compare`` takes."""
        return (images,)

    @abstractmethod
    def discriminate(self, discriminator: nn.Module, images: Copies) -> Tensor:
        """Logits [n, p] float32 of images (and their copies) of unknown classes, p of each image."""

    @abstractmethod
    def compare(
        self,
        discriminator: nn.Module,
        real: Copies,
        fake: Copies,
        labels: tuple[Tensor, Tensor] | None,
        step: int,
        rng: torch.Generator,
    ) -> Comparison:
        """The losses of the discriminator for a batch of real and one of generated images.

        Args:
            real, fake: as augmented; ``fake`` carries the generator's gradient, which ``loss`` must not reach.
            labels: classes int64 [n] of real and of generated images, where they are learned.
            step: steps done before this one.
            rng: draws for this step.
        """

    def regularise(
        self, generator: nn.Module, discriminator: nn.Module, n: int, step: int, rng: torch.Generator
    ) -> Tensor | None:
        """An extra generator loss (a scalar, already weighted) on images that the discriminator does not see.

        Called once a step, after the discriminator's update; the discriminator is frozen. None in steps without one.

        Args:
            n: generated images of the step.
            step: steps done before this one.
            rng: draws for this step.
        """
        return None


class Direct(Recipe[S]):
    """One network and one loss (autoencoders, diffusion); trained by ``medzoo.training.direct``.

    ``generator()`` is that network, with whatever else of it the zoo keeps (an encoder, a prior).
    """

    @abstractmethod
    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        """The loss of one batch, in train mode.

        A parameter that gets no gradient in a step stays as it is, so a model of two stages decides by ``step``
        which of them learns.

        Args:
            images: real ones [n, c, s, s] in [-1, 1], masks in the last channels; or volumes [n, c, d, h, w].
            labels: int64 [n] on the device, where classes are learned.
            step: steps done before this one.
            rng: on the CPU, seeded by (seed, step).
        """

    def after_update(self, network: nn.Module) -> None:
        """Called once a step after the optimizer, without gradients; a codebook that follows averages belongs here.

        What it changes must be buffers of the network: with several processes they are averaged after each step.
        """


def class_condition(classes: tuple[str, ...] | None) -> dict[str, Any] | None:
    """The condition of an entry whose network learned these classes."""
    if classes is None:
        return None
    about = "One of the classes of the training images; where none is given, all are equally likely."
    return {"kind": "class", "classes": list(classes), "required": False, "about": about}
