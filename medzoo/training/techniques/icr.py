"""Improved consistency regularisation: bCR and zCR together (Zhao et al., AAAI 2021)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from medzoo.entry import Record
from medzoo.training.techniques._base import Look, Technique
from medzoo.training.techniques._consistency import balanced, latent_d, latent_g


class Options(Record):
    """What a configuration may state: the options of ``bcr`` and of ``zcr``.

    Attributes:
        real: weight of |D(x) - D(T x)|^2.
        fake: weight of |D(G(z)) - D(T G(z))|^2.
        sigma: standard deviation of the change of the latent.
        discriminator: weight of |D(G(z)) - D(G(T z))|^2.
        generator: weight of -|G(z) - G(T z)|^2.
    """

    real: Annotated[float, Field(ge=0)] = 10.0
    fake: Annotated[float, Field(ge=0)] = 10.0
    sigma: Annotated[float, Field(gt=0)] = 0.05
    discriminator: Annotated[float, Field(ge=0)] = 20.0
    generator: Annotated[float, Field(ge=0)] = 0.5


class Icr(Technique[Options]):
    """Consistency in the image and in the latent."""

    Options = Options

    def loss_d(self, look: Look) -> Tensor:
        options = self.options
        return balanced(look, options.real, options.fake) + latent_d(look, options.sigma, options.discriminator)

    def loss_g(self, look: Look) -> Tensor:
        return latent_g(look, self.options.sigma, self.options.generator)


TECHNIQUE = Icr
