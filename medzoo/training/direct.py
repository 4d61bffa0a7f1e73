"""One network and one loss: a step of training without a discriminator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medzoo.errors import TrainingError
from medzoo.training.config import TrainConfig
from medzoo.training.learner import Learner
from medzoo.training.recipes import Direct, Facts
from medzoo.training.start import begin
from medzoo.training.techniques import BeforeStep, Technique

HOOKS = ("networks", "augment", "loss_d", "loss_g", "after")  # of a technique, beside ``reals``


class DirectLearner(Learner[Direct[Any]]):
    """The network of a :class:`Direct` recipe.

    Raises:
        TrainingError: a technique that does more than change real images.
    """

    def __init__(
        self, config: TrainConfig, data: Tensor, labels: Tensor | None, facts: Facts, device: torch.device
    ) -> None:
        super().__init__(config, data, labels, facts, device)
        for stated, technique in zip(config.techniques, self.techniques, strict=True):
            if not changes_real_images_alone(technique):
                raise TrainingError(
                    f"techniques: {stated['name']} needs a discriminator, and {config.family} has none; "
                    "take classical, or mirror: true"
                )

    def start_networks(self) -> dict[str, nn.Module]:
        networks = {"generator": self.recipe.generator()}
        if self.config.start is not None:
            begin(self.recipe, self.config.start, networks)
        return networks

    def update(self, step: int, rng: torch.Generator) -> dict[str, float]:
        images, labels = self.draw_reals(rng)
        before = BeforeStep(step, self.facts.colours, labels, _no_pseudo_images)
        for technique in self.techniques:
            images = technique.reals(images, before, rng)
        with self.autocast():
            loss = self.recipe.loss(self.generator, images, labels, step, rng)
        self.step_optimizer("generator", loss.total)
        with torch.no_grad():
            self.recipe.after_update(self.generator)
        values = {"loss": loss.total, **loss.parts}
        return {name: value.detach().item() for name, value in values.items()}


def changes_real_images_alone(technique: Technique[Any]) -> bool:
    """Whether a technique has no other hook than ``reals``."""
    return all(getattr(type(technique), hook) is getattr(Technique, hook) for hook in HOOKS)


def _no_pseudo_images(rng: torch.Generator) -> Tensor:
    raise TrainingError("a technique asks for generated images, which this family makes none of in training")
