"""Balanced consistency regularisation: as CR, on generated images too (Zhao et al., AAAI 2021, algorithm 1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._consistency import balanced


class BcrOptions(Options):
    """What a configuration may state.

    Attributes:
        real: weight of |D(x) - D(T x)|^2.
        fake: weight of |D(G(z)) - D(T G(z))|^2.
    """

    real: Annotated[float, Field(ge=0)] = 10.0
    fake: Annotated[float, Field(ge=0)] = 10.0


class Bcr(Technique[BcrOptions]):
    """Consistency on real and generated images; T is a flip and a shift, drawn for each."""

    Options = BcrOptions

    def loss_d(self, view: StepView) -> Tensor:
        return balanced(view, self.options.real, self.options.fake)


TECHNIQUE = Bcr
