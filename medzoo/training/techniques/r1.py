"""R1: D shall be flat where the data is (Mescheder et al., ICML 2018), every few steps (Karras et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medzoo.entry import PositiveFloat, PositiveInt
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._slope import steepness


class R1Options(Options):
    """What a configuration may state.

    Attributes:
        gamma: weight; null takes StyleGAN2-ADA's rule for a size and batch, 0.0002 x height x width / batch.
        interval: steps between two penalties, each multiplied by this, so that it weighs the same on average.
    """

    gamma: PositiveFloat | None = None
    interval: PositiveInt = 16


class R1(Technique[R1Options]):
    """gamma / 2 x |grad D(x)|^2 at the real images, as the discriminator saw them."""

    Options = R1Options

    def loss_d(self, view: StepView) -> Tensor | None:
        if view.step % self.options.interval:
            return None
        gamma = self.options.gamma or usual_gamma(view.real.shape[2], view.real.shape[3], self.batch)
        return self.options.interval * penalty(view.discriminate, view.real_seen, gamma)


def penalty(discriminate: Callable[[Tensor], Tensor], images: Tensor, gamma: float) -> Tensor:
    """gamma / 2 x |grad D|^2, the mean over the images; a scalar that can be differentiated.

    Args:
        discriminate: images -> logits [n, p], whose mean over p is the D of an image.
        images: real ones [n, c, h, w].
        gamma: weight.
    """
    return gamma / 2 * steepness(discriminate, images).mean()


def usual_gamma(height: int, width: int, batch: int) -> float:
    """The weight that StyleGAN2-ADA takes for images of so many pixels a side and so many in a batch."""
    return 0.0002 * height * width / batch


TECHNIQUE = R1
