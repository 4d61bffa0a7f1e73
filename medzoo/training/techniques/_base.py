"""The contract of a technique: what it may change of a training step, every hook changing nothing by default.

A file of this folder is a technique when it has a ``TECHNIQUE``, a subclass of ``Technique`` with its own ``Options``.
The trainer calls, once, ``networks``; then in every step

    ``reals`` -> ``augment`` (real images, then generated ones) -> ``loss_d`` -> ``loss_g`` -> ``after``

with several techniques one after the other, in the order in which the configuration names them.

Images are [n, c, h, w] in [-1, 1]: the first ``colours`` channels are the picture (1 or 3), the rest are masks.
Geometry moves all channels alike, colour changes the picture only. Everything random is drawn from the ``rng`` that is
handed in, which is on the CPU and seeded by (seed, step): so a run that was killed and goes on follows the same path.
Whatever else a technique remembers from one step to the next belongs into ``state``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from medzoo.entry import Record


class Options(Record):
    """What a configuration may state of a technique; a technique with options has a subclass with its fields."""


O = TypeVar("O", bound=Options)  # noqa: E741


@dataclass(frozen=True, eq=False)
class BeforeStep:
    """What is known before a step, when ``reals`` chooses the real images to show.

    Attributes:
        step: steps done before this one.
        colours: image channels; those after them are masks.
        labels: int64 [n] on the device, the classes of the batch; None where there are none.
        generate: ``rng`` -> as many images [n, c, h, w] as the batch has, for its labels, by the generator as it is,
            without gradient. Statistics of batch norm stay as they are.
    """

    step: int
    colours: int
    labels: Tensor | None
    generate: Callable[[torch.Generator], Tensor]


@dataclass(frozen=True, eq=False)
class StepView:
    """The images and logits of a step: one view for the discriminator's update, and one for the generator's.

    Attributes:
        step: steps done before this one. (With several updates of the discriminator a step, ``loss_d`` is called for
            each of them.)
        colours: image channels; those after them are masks.
        real, fake: images [n, c, h, w] before augmentation, ``real`` after ``reals``. In ``loss_d`` no gradient goes
            from ``fake`` to the generator, in ``loss_g`` it does.
        real_seen, fake_seen: the same after augmentation, as the discriminator saw them.
        logits_real, logits_fake: [n, p], float32, of ``real_seen`` and ``fake_seen``, with the gradients of the loss
            at hand. In ``loss_g`` ``logits_real`` is that of the discriminator's last update, without gradient; in
            ``after`` both are.
        latents: [n, nz] behind ``fake``.
        labels: int64 [n], the classes of ``real``; None where there are none.
        fake_labels: int64 [n], those of ``fake``.
        discriminate: images [n, c, h, w] -> logits [n, p] float32; not augmented.
        generate: latents [n, nz] -> images [n, c, h, w] before augmentation, with the classes (``fake_labels``) and the
            injected noise of ``fake``, so that only the latents differ.
        generator, discriminator: the networks, for techniques that look inside.
        rng: draws for this step.
    """

    step: int
    colours: int
    real: Tensor
    fake: Tensor
    real_seen: Tensor
    fake_seen: Tensor
    logits_real: Tensor
    logits_fake: Tensor
    latents: Tensor
    labels: Tensor | None
    fake_labels: Tensor | None
    discriminate: Callable[[Tensor], Tensor]
    generate: Callable[[Tensor], Tensor]
    generator: nn.Module
    discriminator: nn.Module
    rng: torch.Generator


class Technique(Generic[O]):
    """Base of all techniques; see the module for when each hook is called.

    Args:
        options: what the configuration states, the rest at its defaults.
        batch: real images of one update, which controllers count with.
    """

    # Fields that the configuration may state; a technique without any leaves it as it is.
    Options: ClassVar[type[Record]] = Options

    def __init__(self, options: O, batch: int) -> None:
        self.options, self.batch = options, batch

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Change the networks in place, once, before optimizers are made and a saved state is loaded.

        Parameters with ``requires_grad`` False stay as they are. Modules added to the discriminator (a head) are
        trained and saved with it. The generator must keep its names and shapes, or nothing else can load it.
        Random start values come from torch's global generator, which is seeded here. In fine-tuning the networks hold
        the weights that the run begins with (``TrainConfig.start``), also when it is called for a run that goes on.
        """

    def reals(self, images: Tensor, before: BeforeStep, rng: torch.Generator) -> Tensor:
        """The batch of real images [n, c, h, w] to show; it becomes ``StepView.real``."""
        return images

    def augment(self, images: Tensor, colours: int, rng: torch.Generator) -> Tensor:
        """Augmented images, differentiable, in the shape, type and place of ``images``.

        Called for real and generated images alike. Where a discriminator sees copies of several sizes, it is called
        for each with the same draws: how many numbers it draws must depend on n alone, not on the size.
        """
        return images

    def loss_d(self, view: StepView) -> Tensor | None:
        """A term to add to the discriminator's loss (a scalar, already weighted); None in steps without one."""
        return None

    def loss_g(self, view: StepView) -> Tensor | None:
        """A term to add to the generator's loss (a scalar, already weighted); None in steps without one.

        The discriminator is frozen.
        """
        return None

    def after(self, view: StepView) -> Mapping[str, float]:
        """Called at the end of a step, without gradients: controllers; numbers for ``log.csv``.

        Where several processes train together, the logits are those of all of them, so that controllers agree; the
        images are this process's.
        The names must be the same in every step, and finite.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """What ``load_state`` needs to go on: numbers, text, tensors, and lists and dicts of them."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
