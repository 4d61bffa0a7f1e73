"""Latent consistency regularisation: for a small change of z, G shall change and D shall not mind.

Zhao et al., "Improved Consistency Regularization for GANs", AAAI 2021, algorithm 2.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from medzoo.entry import PositiveFloat
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._consistency import latent_d, latent_g


class ZcrOptions(Options):
    """What a configuration may state.

    Attributes:
        sigma: standard deviation of the change of the latent.
        discriminator: weight of |D(G(z)) - D(G(T z))|^2.
        generator: weight of -|G(z) - G(T z)|^2.
    """

    sigma: PositiveFloat = 0.05
    discriminator: Annotated[float, Field(ge=0)] = 20.0
    generator: Annotated[float, Field(ge=0)] = 0.5


class Zcr(Technique[ZcrOptions]):
    """Consistency in the latent."""

    Options = ZcrOptions

    def loss_d(self, view: StepView) -> Tensor:
        return latent_d(view, self.options.sigma, self.options.discriminator)

    def loss_g(self, view: StepView) -> Tensor:
        return latent_g(view, self.options.sigma, self.options.generator)


TECHNIQUE = Zcr
