"""What the consistency regularisations share: the transformation T, and how far two judgements are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from medzoo.training.techniques import _warp
from medzoo.training.techniques._base import StepView
from medzoo.training.techniques._draws import Draws

SHIFT = 1 / 8  # of each side


def transformed(images: Tensor, rng: torch.Generator) -> Tensor:
    """Half of the images flipped left to right, each shifted by whole pixels up to 1/8 of a side, borders mirrored."""
    draw = Draws(len(images), rng)
    h, w = images.shape[2:]
    flip = _warp.pick(draw.gate(0.5), _warp.scaling(-torch.ones(draw.n), torch.ones(draw.n)))
    right, down = (SHIFT * side * draw.uniform() for side in (w, h))
    return _warp.warp(images, _warp.shift(right.round(), down.round()) @ flip)


def balanced(view: StepView, real: float, fake: float) -> Tensor:
    """``real`` x |D(x) - D(T x)|^2 + ``fake`` x |D(G(z)) - D(T G(z))|^2, x and G(z) as the discriminator saw them."""
    loss = real * squared(view.logits_real, view.discriminate(transformed(view.real_seen, view.rng)))
    return loss + fake * squared(view.logits_fake, view.discriminate(transformed(view.fake_seen, view.rng)))


def latent_d(view: StepView, sigma: float, weight: float) -> Tensor:
    """``weight`` x |D(G(z)) - D(G(T z))|^2: what a small change of the latent does shall not change the judgement."""
    with torch.no_grad():
        near = view.generate(perturbed(view.latents, sigma, view.rng))
    # What the discriminator saw may be augmented, which would be judged along with the latent.
    here = view.logits_fake if torch.equal(view.fake_seen, view.fake) else view.discriminate(view.fake)
    return weight * squared(here, view.discriminate(near))


def latent_g(view: StepView, sigma: float, weight: float) -> Tensor:
    """-``weight`` x |G(z) - G(T z)|^2, the mean over pixels: the generator is rewarded for what changes."""
    return -weight * squared(view.fake, view.generate(perturbed(view.latents, sigma, view.rng)))


def perturbed(latents: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
    """T z = z + N(0, sigma)."""
    return latents + sigma * torch.randn(latents.shape, generator=rng).to(latents)


def squared(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference."""
    return (one.float() - other.float()).square().mean()
