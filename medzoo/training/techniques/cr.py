"""Consistency regularisation: D judges a real image and its transformed copy alike (Zhang et al., ICLR 2020)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from medzoo.entry import Record
from medzoo.training.techniques._base import Look, Technique
from medzoo.training.techniques._consistency import squared, transformed


class Options(Record):
    """What a configuration may state.

    Attributes:
        weight: of |D(x) - D(T x)|^2.
    """

    weight: Annotated[float, Field(gt=0)] = 10.0


class Cr(Technique[Options]):
    """Consistency on real images; T is a flip and a shift."""

    Options = Options

    def loss_d(self, look: Look) -> Tensor:
        return self.options.weight * squared(look.logits_real, look.judge(transformed(look.real_seen, look.rng)))


TECHNIQUE = Cr
