"""pix2pixHD (Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR
2018).

The global generator: the ResNet of CycleGAN with more steps down and a bias in every convolution. Names of the
published state dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig
from medzoo.families._resnet import Network, ResnetTranslator, infer


class Config(FamilyConfig):
    """Settings of the network; all of them are inferred from a state dict.

    Attributes:
        input_nc, output_nc: channels of the images.
        ngf: channels of the first map.
        n_downsampling: how often height and width are halved.
        n_blocks: residual blocks.
        norm: ``instance`` as in the paper, or ``batch``.
    """

    input_nc: PositiveInt
    output_nc: PositiveInt
    ngf: PositiveInt
    n_downsampling: Annotated[int, Field(ge=0, le=10)]
    n_blocks: PositiveInt
    norm: Literal["batch", "instance"]


class Pix2PixHD(ResnetTranslator):
    """An image of one kind -> an image of another."""

    Config = Config

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        found = infer(state)
        found.pop("use_dropout", None)
        return found

    def build(self) -> nn.Module:
        return Network(**dict(self.config), bias=True)
