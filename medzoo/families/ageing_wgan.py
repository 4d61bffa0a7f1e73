"""Cardiac ageing (Campello et al., "Cardiac aging synthesis from cross-sectional data with conditional generative
adversarial networks", Frontiers in Cardiovascular Medicine 2022).

The generator of a conditional WGAN-GP: a slice of the heart and a signed number of years become a map of changes that
is added to the slice. The network is the U-Net of Dhariwal and Nichol ("Diffusion models beat GANs on image
synthesis", NeurIPS 2021) with the years where that has the time step. Names and shapes are those of the code that the
first author published (github vicmancr/CardiacAging at fcdd6e3, configuration ``attention_full_0_1``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from medzoo.diffusion.unet import Shape, UNet, infer_config
from medzoo.diffusion.unet_fused import fuse
from medzoo.entry import PositiveInt
from medzoo.errors import ConditionError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise


class Config(FamilyConfig):
    """In the words of the published configuration; all but the last three follow from the state dict.

    Attributes:
        n_channels: of the image.
        model_channels: width at full size, and length of the code of the years.
        channel_mult: width of each level, half the size of the one before, in units of ``model_channels``.
        num_res_blocks: residual blocks of a level on the way down; one more on the way up.
        attention_resolutions: how many times smaller than the image the maps with attention are.
        use_scale_shift_norm: the years scale and shift the second norm of a block, instead of an addition before it.
        embedding_max_period: years after which the slowest wave of their code comes back.
        num_groups_GN, num_heads: groups of the norms, heads of the attention.
    """

    n_channels: PositiveInt
    model_channels: Annotated[int, Field(ge=2, multiple_of=2)]
    channel_mult: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    num_res_blocks: PositiveInt
    attention_resolutions: tuple[PositiveInt, ...]
    use_scale_shift_norm: bool
    embedding_max_period: Annotated[float, Field(gt=1)] = 100.0
    num_groups_GN: PositiveInt = 32
    num_heads: PositiveInt = 1


class AgeingWGAN(Generator):
    """Slice in [0, 1] and years to add -> slice, about [0, 1], unbounded."""

    Config = Config

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        names = {"in_channels": "n_channels"} | {name: name for name in Config.model_fields}
        return {names[name]: value for name, value in infer_config(state).items() if name in names}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        return config.n_channels, None

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        years = {"name": "age_offset", "low": None, "high": None, "unit": "years"}
        return {
            "kind": "image", "inputs": ("image",), "channels": config.n_channels, "range": (0.0, 1.0),
            "attributes": [years],
        }  # fmt: skip

    def build(self) -> nn.Module:
        stated = dict(self.config)
        channels = stated.pop("n_channels")
        groups, period = stated.pop("num_groups_GN"), stated.pop("embedding_max_period")
        return UNet(Shape(in_channels=channels, out_channels=channels, groups=groups, max_period=period, **stated))

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        return fuse(network) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        name, images, years = self.entry.model_id, given.images, given.attributes
        if images is None or years is None or years.shape[1] != 1:
            raise ConditionError(f"{name} needs an image and one number, the years to add to its age")
        multiple = 2 ** (len(self.config.channel_mult) - 1)
        if images.shape[2] % multiple or images.shape[3] % multiple:
            raise ConditionError(
                f"{name}: height and width of the input image must be multiples of {multiple}, "
                f"found {images.shape[2]} x {images.shape[3]}"
            )
        return images + self.network(images, years[:, 0])
