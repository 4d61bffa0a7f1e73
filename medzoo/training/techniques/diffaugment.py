"""DiffAugment (Zhao et al., NeurIPS 2020): the same differentiable augmentations for real and generated images.

Images are [n, c, h, w] in [-1, 1]. Colour changes touch the first ``colours`` channels only; geometry moves every
channel alike, so a mask stays on its image.

An augmentation is drawn once for n images and applied to their copies of any size: the published code draws anew for
the small image of a generated pair, and has the small image of a real pair made from the augmented large one. Here
both pairs move and change colour together, so that no augmentation tells real from generated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medzoo.training.techniques import _shift
from medzoo.training.techniques._base import Options, Technique

TRANSLATION, CUTOUT = 1 / 8, 1 / 2  # of each side, as published


class DiffAugmentOptions(Options):
    """What a configuration may state.

    Attributes:
        policy: which augmentations, in the order in which they are applied.
        margin: what a translation brings in: ``zero``, the middle of the range, as published, or ``mirror``, the image
            mirrored. A zero margin can leak: an image with an outline of zeros looks like one that was shifted by a
            pixel more, so nothing keeps a generator from painting one.
    """

    policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout")
    margin: Literal["zero", "mirror"] = "zero"


class DiffAugment(Technique[DiffAugmentOptions]):
    """Every image that the discriminator sees is augmented."""

    Options = DiffAugmentOptions

    def augment(self, images: Tensor, colours: int, rng: torch.Generator) -> Tensor:
        mirrors = self.options.margin == "mirror"
        policy = ["mirrored" if mirrors and one == "translation" else one for one in self.options.policy]
        return Augmentation.draw(policy, len(images), rng)(images, colours)


@dataclass(frozen=True)
class Augmentation:
    """One drawn augmentation of n images.

    Attributes:
        policy: ``color``, ``translation``, ``mirrored`` (a translation), ``cutout``, in the order in which they are
            applied.
        draws: U(0, 1) numbers [7, n]: brightness, saturation, contrast, shift down and right, cutout row and column.
            With 1/2 everywhere, ``color`` and ``translation`` change nothing.
    """

    policy: tuple[str, ...]
    draws: Tensor

    @classmethod
    def draw(cls, policy: Sequence[str], n: int, generator: torch.Generator) -> Augmentation:
        return cls(tuple(policy), torch.rand(7, n, generator=generator))

    def __call__(self, x: Tensor, colours: int) -> Tensor:
        """Augmented images, in the shape, type and place of ``x`` [n, c, h, w]."""
        for name in self.policy:
            x = PARTS[name](x, colours, self.draws)
        return x


def color(x: Tensor, colours: int, draws: Tensor) -> Tensor:
    """Brightness +-0.5, saturation 0 to 2, contrast 0.5 to 1.5, each uniform and per image.

    Args:
        x: images [n, c, h, w] in [-1, 1]; the result may leave that range.
        colours: channels that are changed; masks behind them are not.
        draws: U(0, 1) numbers [7, n] of :class:`Augmentation`, of which the first three are used.
    """
    image, rest = x[:, :colours], x[:, colours:]
    brightness, saturation, contrast = draws[:3, :, None, None, None].to(x)
    image = image + (brightness - 0.5)
    grey = image.mean(1, keepdim=True)
    image = (image - grey) * (saturation * 2) + grey
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * (contrast + 0.5) + mean
    return torch.cat([image, rest], 1)


def translation(x: Tensor, colours: int, draws: Tensor) -> Tensor:
    """Shift by up to 1/8 of each side, whole pixels, zeros (the middle of the range) coming in.

    Every shift of a size is equally likely; those of two sizes differ by less than a pixel of the smaller one.
    """
    return _shift.zeros(x, *_shift.drawn(x, draws[3:5], TRANSLATION))


def mirrored(x: Tensor, colours: int, draws: Tensor) -> Tensor:
    """The same shift, the image mirrored at its border coming in."""
    return _shift.mirrored(x, *_shift.drawn(x, draws[3:5], TRANSLATION))


def cutout(x: Tensor, colours: int, draws: Tensor) -> Tensor:
    """Zero a square of half the side, centred anywhere, so partly outside of most images.

    Args:
        x: images [n, c, h, w]; every channel is cut alike.
        draws: U(0, 1) numbers [7, n] of :class:`Augmentation`, of which the last two are used: row and column.
    """
    h, w = x.shape[2:]
    cut_h, cut_w = round(h * CUTOUT), round(w * CUTOUT)
    top = _shift.whole(draws[5], h + 1 - cut_h % 2)[:, None] - cut_h // 2
    left = _shift.whole(draws[6], w + 1 - cut_w % 2)[:, None] - cut_w // 2
    rows, cols = torch.arange(h), torch.arange(w)
    inside = ((rows >= top) & (rows < top + cut_h))[:, :, None] & ((cols >= left) & (cols < left + cut_w))[:, None, :]
    return x * (~inside)[:, None].to(x)


PARTS: dict[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "mirrored": mirrored,
    "cutout": cutout,
}

TECHNIQUE = DiffAugment
