"""Classical augmentation: only the real images are changed. It leaks.

The discriminator never sees a generated image changed, so turned and shifted images are what "real" means to it, and
the generator learns to make them: the distribution that it learns is the augmented one (Karras et al. 2020, section
2). It is here to be compared with, and for changes that the data should have anyway, such as mirror images.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from medzoo.training.techniques import _colour, _warp
from medzoo.training.techniques._base import BeforeStep, Options, Technique
from medzoo.training.techniques._draws import Draws

Share = Annotated[float, Field(ge=0, lt=1)]


class ClassicalOptions(Options):
    """What a configuration may state; every change is drawn uniformly within its range, for each image.

    Attributes:
        flip: probability of a left-right flip.
        rotation: degrees, either way.
        zoom: 0.1 makes images larger or smaller by up to 10 %.
        shift: share of each side, either way.
        brightness: added, of a range of 2.
        contrast: 0.1 multiplies by 0.9 to 1.1.
    """

    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    rotation: Annotated[float, Field(ge=0, le=180)] = 15.0
    zoom: Share = 0.1
    shift: Share = 0.1
    brightness: Share = 0.1
    contrast: Share = 0.1


class Classical(Technique[ClassicalOptions]):
    """Real images are flipped, turned, zoomed, shifted, and made brighter or darker; masks move along."""

    Options = ClassicalOptions

    def reals(self, images: Tensor, before: BeforeStep, rng: torch.Generator) -> Tensor:
        options, draw = self.options, Draws(len(images), rng)
        h, w = images.shape[2:]
        maps = _warp.pick(draw.gate(options.flip), _warp.scaling(-torch.ones(draw.n), torch.ones(draw.n)))
        zoom = 1 + options.zoom * draw.uniform()
        right, down = (options.shift * side * draw.uniform() for side in (w, h))
        maps = _warp.turn(math.radians(options.rotation) * draw.uniform()) @ maps
        maps = _warp.shift(right, down) @ _warp.scaling(zoom, zoom) @ maps
        colour = _colour.then(
            _colour.contrast(1 + options.contrast * draw.uniform()),
            _colour.brightness(options.brightness * draw.uniform()),
        )
        return _colour.recolour(_warp.warp(images, maps), colour, before.colours).clamp(-1, 1)


TECHNIQUE = Classical
