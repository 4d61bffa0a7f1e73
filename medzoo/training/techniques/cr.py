"""Consistency regularisation: D judges a real image and its transformed copy alike (Zhang et al., ICLR 2020)."""

from __future__ import annotations

from torch import Tensor

from medzoo.entry import PositiveFloat
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._consistency import squared, transformed


class CrOptions(Options):
    """What a configuration may state.

    Attributes:
        weight: of |D(x) - D(T x)|^2.
    """

    weight: PositiveFloat = 10.0


class Cr(Technique[CrOptions]):
    """Consistency on real images; T is a flip and a shift."""

    Options = CrOptions

    def loss_d(self, view: StepView) -> Tensor:
        return self.options.weight * squared(view.logits_real, view.discriminate(transformed(view.real_seen, view.rng)))


TECHNIQUE = Cr
