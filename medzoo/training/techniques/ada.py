"""ADA: augmentations with a probability that follows the overfitting (Karras et al., NeurIPS 2020).

Real and generated images are augmented before the discriminator sees them, each kind of change with probability p.
As long as p stays below one the generator still learns the unaugmented distribution (appendix C). The changes are
those of the paper's ``bgc``: pixel blitting, geometry, colour (appendix B, table 6). Geometry moves every channel,
masks included; colour changes the image channels only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from medzoo.training.techniques import _colour, _warp
from medzoo.training.techniques._base import StepView
from medzoo.training.techniques._draws import Draws
from medzoo.training.techniques._heuristic import Adaptive, AdaptiveOptions

SHIFT = 0.125  # of each side: the largest whole shift, and the standard deviation of the fractional one
SCALE, ANISOTROPY = 0.2, 0.2  # standard deviations in powers of two
BRIGHTNESS = 0.2  # standard deviation, of values in [-1, 1]
CONTRAST, SATURATION = 0.5, 1.0  # standard deviations in powers of two


class AdaOptions(AdaptiveOptions):
    """What a configuration may state.

    Attributes:
        pipeline: which changes, by the paper's letters: b (flips, quarter turns, whole shifts), g (scale, rotation,
            anisotropy, fractional shift), c (brightness, contrast, luma, hue, saturation).
    """

    pipeline: Literal["b", "bg", "bgc"] = "bgc"


class Ada(Adaptive[AdaOptions]):
    """Every image that the discriminator sees is augmented with probability ``heuristic.p`` for each change."""

    Options = AdaOptions

    def augment(self, images: Tensor, colours: int, rng: torch.Generator) -> Tensor:
        n, p, size = len(images), self.heuristic.p, (images.shape[2], images.shape[3])
        maps = blits(n, p, size, rng)
        if "g" in self.options.pipeline:
            maps = geometry(n, p, size, rng) @ maps
        images = _warp.warp(images, maps)
        return _colour.recolour(images, colour(n, p, rng), colours) if "c" in self.options.pipeline else images

    def after(self, view: StepView) -> Mapping[str, float]:
        self.heuristic.see(view.logits_real)
        return {"ada_p": self.heuristic.p, "ada_r": self.heuristic.r}


def blits(n: int, p: float, size: tuple[int, int], rng: torch.Generator) -> Tensor:
    """Maps [n, 3, 3] of the changes that need no interpolation: left-right flip, quarter turns, whole shift."""
    draw = Draws(n, rng)
    h, w = size
    flip = _warp.scaling(1 - 2 * draw.whole(2), torch.ones(n))
    maps = _warp.pick(draw.gate(p), flip)
    maps = _warp.pick(draw.gate(p), _warp.quarter_turns(draw.whole(4))) @ maps
    right, down = (SHIFT * side * draw.uniform() for side in (w, h))
    return _warp.pick(draw.gate(p), _warp.shift(right.round(), down.round())) @ maps


def geometry(n: int, p: float, size: tuple[int, int], rng: torch.Generator) -> Tensor:
    """Maps [n, 3, 3] of scale, rotation, scale along one axis, rotation once more, fractional shift.

    The two rotations are independent; that at least one takes place has probability p.
    """
    draw = Draws(n, rng)
    h, w = size
    turning = 1 - math.sqrt(1 - p)
    scale = torch.exp2(SCALE * draw.normal())
    maps = _warp.pick(draw.gate(p), _warp.scaling(scale, scale))
    maps = _warp.pick(draw.gate(turning), _warp.turn(math.pi * draw.uniform())) @ maps
    stretch = torch.exp2(ANISOTROPY * draw.normal())
    maps = _warp.pick(draw.gate(p), _warp.scaling(stretch, 1 / stretch)) @ maps
    maps = _warp.pick(draw.gate(turning), _warp.turn(math.pi * draw.uniform())) @ maps
    right, down = (SHIFT * side * draw.normal() for side in (w, h))
    return _warp.pick(draw.gate(p), _warp.shift(right, down)) @ maps


def colour(n: int, p: float, rng: torch.Generator) -> Tensor:
    """Maps [n, 3, 4] of brightness, contrast, luma flip, hue, saturation, one after the other."""
    draw = Draws(n, rng)
    changes = (
        _colour.brightness(BRIGHTNESS * draw.normal() * draw.gate(p)),
        _colour.contrast(torch.exp2(CONTRAST * draw.normal() * draw.gate(p))),
        _colour.luma_flip(draw.whole(2) * draw.gate(p)),
        _colour.hue(math.pi * draw.uniform() * draw.gate(p)),
        _colour.saturation(torch.exp2(SATURATION * draw.normal() * draw.gate(p))),
    )
    maps = _colour.identity(n)
    for change in changes:
        maps = _colour.then(maps, change)
    return maps


TECHNIQUE = Ada
