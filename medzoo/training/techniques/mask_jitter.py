"""Masks that sit loosely: every mask that the discriminator sees is shifted a few pixels against its image.

An outline drawn by hand lies a few pixels beside the edge that it means. A generator paints mask and image with one
last layer, so its own lie exactly on an edge, and it gains by making that edge sharp; a segmenter trained on such pairs
looks for sharp edges, which real images do not have. Real and generated masks are shifted alike, so where a mask is to
be within those pixels is no longer judged, and its shape and place at large still are. Ours; no paper describes it.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from medzoo.training.techniques import _shift
from medzoo.training.techniques._base import Options, Technique


class MaskJitterOptions(Options):
    """What a configuration may state.

    Attributes:
        reach: largest shift either way, in hundredths of a side; a pixel at least.
    """

    reach: Annotated[float, Field(gt=0, le=12.5)] = 3.0


class MaskJitter(Technique[MaskJitterOptions]):
    """Whole pixels in each direction, drawn per image, mirrored at the border; without masks nothing changes."""

    Options = MaskJitterOptions

    def augment(self, images: Tensor, colours: int, rng: torch.Generator) -> Tensor:
        draws = torch.rand(2, len(images), generator=rng)
        colour, masks = images[:, :colours], images[:, colours:]
        shifts = _shift.drawn(masks, draws, self.options.reach / 100)
        return torch.cat([colour, _shift.mirrored(masks, *shifts)], 1)


TECHNIQUE = MaskJitter
