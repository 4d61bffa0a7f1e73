"""CycleGAN (Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017).

The ResNet generator, one direction: two steps down, any number of residual blocks. Names of the published state dicts,
where a convolution with a norm behind it has a bias only if that norm is instance norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig
from medzoo.families._resnet import Network, ResnetTranslator, infer


class Config(FamilyConfig):
    """Settings of the network; all of them are inferred from a state dict.

    Attributes:
        input_nc, output_nc: channels of the images.
        ngf: channels of the first map.
        n_blocks: residual blocks.
        norm: ``instance`` as in the paper, or ``batch``.
        use_dropout: the network was trained with dropout: its blocks have an idle layer more.
    """

    input_nc: PositiveInt
    output_nc: PositiveInt
    ngf: PositiveInt
    n_blocks: PositiveInt
    norm: Literal["batch", "instance"]
    use_dropout: bool = False

    @property
    def n_downsampling(self) -> int:
        return 2


class CycleGAN(ResnetTranslator):
    """An image of one domain -> an image of the other."""

    Config = Config

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        found = infer(state)
        found.pop("n_downsampling", None)
        return found

    def build(self) -> nn.Module:
        return Network(**dict(self.config), n_downsampling=2, bias=self.config.norm == "instance")
