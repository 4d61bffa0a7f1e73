"""APA: with a probability that follows the overfitting, generated images pass for real (Jiang et al., NeurIPS 2021).

The discriminator that has learned the training images by heart is deceived as often as the heuristic asks for. The
published code takes the images of the generator's last step; here they are made anew, so that they have the classes
of the images which they replace and a run goes on after a kill without them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medzoo.training.techniques._base import BeforeStep, StepView
from medzoo.training.techniques._heuristic import Adaptive, AdaptiveOptions


class Apa(Adaptive[AdaptiveOptions]):
    """Each real image is replaced by a generated one with probability ``heuristic.p``."""

    Options = AdaptiveOptions

    def reals(self, images: Tensor, before: BeforeStep, rng: torch.Generator) -> Tensor:
        pseudo = torch.rand(len(images), generator=rng, dtype=torch.float64) < self.heuristic.p
        if not bool(pseudo.any()):
            return images
        fakes = before.generate(rng).detach().to(images)
        return torch.where(pseudo.to(images.device)[:, None, None, None], fakes, images)

    def after(self, view: StepView) -> Mapping[str, float]:
        self.heuristic.see(view.logits_real)
        return {"apa_p": self.heuristic.p, "apa_lambda_r": self.heuristic.r}


TECHNIQUE = Apa
