"""Configuration of the StyleGAN2 generator: arguments of the training code, and what is inferred from weights."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig

Even = Annotated[int, Field(ge=2, multiple_of=2)]
Architecture = Literal["skip", "orig", "resnet"]


class MappingKwargs(FamilyConfig):
    """``mapping_kwargs`` of the published training code; null: inferred from the weights, or its default."""

    num_layers: PositiveInt | None = None
    embed_features: PositiveInt | None = None
    layer_features: PositiveInt | None = None
    activation: Literal["lrelu"] = "lrelu"
    lr_multiplier: float = 0.01
    w_avg_beta: float | None = None  # training only


class SynthesisKwargs(FamilyConfig):
    """``synthesis_kwargs`` of the published training code; null: inferred from the weights, or its default."""

    channel_base: PositiveInt | None = None
    channel_max: PositiveInt | None = None
    architecture: Architecture | None = None
    use_noise: bool | None = None
    conv_clamp: float | None = None  # follows from no shape; 256 for models trained with mixed precision
    resample_filter: tuple[float, ...] | None = None
    activation: Literal["lrelu"] = "lrelu"
    num_fp16_res: int = 0  # everything runs in the precision that the caller asks for
    fp16_channels_last: bool = False


class Config(FamilyConfig):
    """Arguments of the published network, and below them what usually only the weights state.

    Attributes:
        z_dim, c_dim, w_dim: latent, classes (0: unconditional), intermediate latent.
        truncation_cutoff: truncate the first layers only; null for all.
        channels: of each resolution from 4 px; not stated where ``channel_base`` is.
        mapping_features: outputs of the mapping layers, ``embed_features`` of the embedded class.
        architecture: of the published three; ``skip`` sums images of all resolutions.
        use_noise: whether the layers add noise.
        filter_taps: length of the resampling filter.
    """

    z_dim: PositiveInt
    c_dim: Annotated[int, Field(ge=0)]
    w_dim: PositiveInt
    img_resolution: Annotated[int, Field(ge=4)]
    img_channels: PositiveInt
    mapping_kwargs: MappingKwargs = MappingKwargs()
    synthesis_kwargs: SynthesisKwargs = SynthesisKwargs()
    truncation_cutoff: Annotated[int, Field(ge=0)] | None = None
    channels: tuple[PositiveInt, ...] | None = None
    mapping_features: tuple[PositiveInt, ...] | None = None
    embed_features: Annotated[int, Field(ge=0)] | None = None
    architecture: Architecture | None = None
    use_noise: bool | None = None
    filter_taps: Even | None = None

    @field_validator("img_resolution")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError(f"needs a power of two, found {size}")
        return size

    def resolutions(self) -> list[int]:
        return [2**i for i in range(2, self.img_resolution.bit_length())]

    def widths(self) -> list[int]:
        """Channels of each resolution."""
        stated = self.synthesis_kwargs
        if self.channels is None or stated.channel_base is not None or stated.channel_max is not None:
            base, most = stated.channel_base or 32768, stated.channel_max or 512
            return [min(base // size, most) for size in self.resolutions()]
        return list(self.channels)

    def mapping_widths(self) -> list[int]:
        """Outputs of each mapping layer."""
        stated = self.mapping_kwargs
        if self.mapping_features is not None and stated.num_layers is None and stated.layer_features is None:
            return list(self.mapping_features)
        count = stated.num_layers or len(self.mapping_features or (0,) * 8)
        return [stated.layer_features or self.w_dim] * (count - 1) + [self.w_dim]

    def embedding(self) -> int:
        """Numbers that a class becomes, 0 without classes."""
        stated = self.mapping_kwargs.embed_features or self.embed_features or self.w_dim
        return stated if self.c_dim else 0

    def noisy(self) -> bool:
        """Whether the layers add noise."""
        stated = (self.synthesis_kwargs.use_noise, self.use_noise)
        return next((one for one in stated if one is not None), True)

    def taps(self) -> tuple[float, ...]:
        """Start values of the resampling filter; those of the file take their place."""
        stated = self.synthesis_kwargs.resample_filter
        if stated is not None:
            return stated
        count = self.filter_taps or 4
        return tuple(float(math.comb(count - 1, k)) for k in range(count))
