"""Improved consistency regularisation: bCR and zCR together (Zhao et al., AAAI 2021)."""

from __future__ import annotations

from torch import Tensor

from medzoo.training.techniques._base import StepView, Technique
from medzoo.training.techniques._consistency import balanced, latent_d, latent_g
from medzoo.training.techniques.bcr import BcrOptions
from medzoo.training.techniques.zcr import ZcrOptions


class IcrOptions(ZcrOptions, BcrOptions):
    """The options of ``bcr`` and those of ``zcr``."""


class Icr(Technique[IcrOptions]):
    """Consistency in the image and in the latent."""

    Options = IcrOptions

    def loss_d(self, view: StepView) -> Tensor:
        options = self.options
        return balanced(view, options.real, options.fake) + latent_d(view, options.sigma, options.discriminator)

    def loss_g(self, view: StepView) -> Tensor:
        return latent_g(view, self.options.sigma, self.options.generator)


TECHNIQUE = Icr
