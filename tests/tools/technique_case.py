"""A ``StepView`` for tests of techniques: any two networks on a few small images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.training.techniques import StepView


class Tiny(nn.Module):
    """A generator: latents [n, 3] -> images [n, 1, 8, 8], with two convolutions and statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(3, 6 * 16)
        self.convs = nn.Sequential(
            nn.Conv2d(6, 6, 3, 1, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(6, 5, 3, 1, 1),
        )
        self.image = nn.Conv2d(5, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.image(self.convs(self.start(z).reshape(-1, 6, 4, 4))).tanh()


class Patches(nn.Sequential):
    """A discriminator: images [n, c, 8, 8] -> logits [n, 4]."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__(
            *(nn.Conv2d(channels, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 5, 3, 1, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(5, 1, 3, 1), nn.Flatten()),
        )


def make_view(generator: nn.Module, discriminator: nn.Module, n: int = 4, **changes: Any) -> StepView:
    """Of ``n`` random real images and as many generated ones, not augmented."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(n, 3, generator=rng)
    fake = generator(latents)
    real = torch.rand(fake.shape, generator=rng) * 2 - 1
    made = StepView(
        step=0,
        colours=1,
        real=real,
        fake=fake,
        real_seen=real,
        fake_seen=fake,
        logits_real=discriminator(real),
        logits_fake=discriminator(fake),
        latents=latents,
        labels=None,
        fake_labels=None,
        discriminate=discriminator,
        generate=generator,
        generator=generator,
        discriminator=discriminator,
        rng=rng,
    )
    return replace(made, **changes)
