"""APA: with a probability that follows the overfitting, generated images pass for real (Jiang et al., NeurIPS 2021).

The discriminator that has learned the training images by heart is deceived as often as the heuristic asks for. The
published code takes the images of the generator's last step; here they are made anew, so that they have the classes
of the images which they replace and a run goes on after a kill without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medzoo.training.techniques._base import Look, Standing, Technique
from medzoo.training.techniques._heuristic import AdaptiveOptions, Heuristic


class Apa(Technique[AdaptiveOptions]):
    """Each real image is replaced by a generated one with probability ``heuristic.p``."""

    Options = AdaptiveOptions

    def __init__(self, options: AdaptiveOptions, batch: int) -> None:
        super().__init__(options, batch)
        self.heuristic = Heuristic(options, batch)

    def reals(self, images: Tensor, standing: Standing, rng: torch.Generator) -> Tensor:
        pseudo = torch.rand(len(images), generator=rng, dtype=torch.float64) < self.heuristic.p
        if not bool(pseudo.any()):
            return images
        fakes = standing.generate(rng).detach().to(images)
        return torch.where(pseudo.to(images.device)[:, None, None, None], fakes, images)

    def after(self, look: Look) -> Mapping[str, float]:
        self.heuristic.see(look.logits_real)
        return {"apa_p": self.heuristic.p, "apa_lambda_r": self.heuristic.r}

    def state(self) -> dict[str, Any]:
        return self.heuristic.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.heuristic.load_state(state)


TECHNIQUE = Apa
