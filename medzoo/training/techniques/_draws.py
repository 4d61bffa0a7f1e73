"""Random numbers of n images, from a generator on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """n numbers at a time, in float64: as many of them whatever the probability and the size of the images."""

    def __init__(self, n: int, rng: torch.Generator) -> None:
        self.n, self.rng = n, rng

    def gate(self, p: float) -> Tensor:
        """True with probability p."""
        return torch.rand(self.n, generator=self.rng, dtype=torch.float64) < p

    def uniform(self) -> Tensor:
        """From -1 to 1."""
        return 2 * torch.rand(self.n, generator=self.rng, dtype=torch.float64) - 1

    def normal(self) -> Tensor:
        return torch.randn(self.n, generator=self.rng, dtype=torch.float64)

    def whole(self, count: int) -> Tensor:
        """0 to ``count`` - 1."""
        return torch.randint(count, (self.n,), generator=self.rng)
