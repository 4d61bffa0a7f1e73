"""Tumour inpainting in four MR sequences (Kim et al., "Synthesis of brain tumor multicontrast MR images for improved
data augmentation", Medical Physics 2021; preprint arXiv 2003.07526).

Three networks in a row: concentric circles become a tumour mask that fits the brain (``shape``), mask and circles
become grades (``grade``), and the slices without the tumour region become slices with the tumour (``inpaint``). Each
network is also a model of its own. State-dict names of the published files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.errors import ConditionError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families.inpaint.networks import CUTS, DECODERS, Inpainter, Pipeline, Shape
from medzoo.randomness import Noise

SEQUENCES = ("FLAIR", "T1", "T1c", "T2")
CIRCLES = ("x_center", "y_center", "radius_1", "radius_2", "radius_3")
PUBLISHED_SIZE = 256  # pixels; circles are drawn for it and scaled to other sizes


class Config(FamilyConfig):
    """Which network it is, and its size; all of it is inferred from the state dict.

    Attributes:
        network: ``pipeline`` (parts ``shape``, ``grade``, ``inpaint``), ``shape`` (also the grade network) or
            ``inpaint``.
        input_nc, output_nc: channels of the network, of the inpainter in a pipeline.
        width: channels after the first layer.
    """

    network: Literal["pipeline", "shape", "inpaint"]
    input_nc: Annotated[int, Field(ge=2)]
    output_nc: PositiveInt
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 32


class Inpaint(Generator):
    """Four slices and circles -> four slices with a tumour, and masks; or what one of the networks gives.

    The pipeline's masks are the published binary tumour mask, then where the grade reaches 0.5 (edema), 0.75
    (enhancing tumour) and 1 (necrotic core); the published grade mask is half the second plus a quarter of each of the
    last two. Circles that nobody states are drawn from the sample's own noise, in the published range.

    The published script leaves the networks in train mode, which spectral norm alone notices:
    ``sampling.norm_stats: sample`` takes its one power iteration.
    """

    Config = Config
    draws_attributes = True
    kinds = ("mask", "image", "images")
    pipeline: Pipeline | None = None

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        inner, shape = "model_initial.0.conv.0.weight", "model.0.conv.0.weight"
        for key, network in ((f"inpaint.{inner}", "pipeline"), (inner, "inpaint"), (shape, "shape")):
            weight = state.get(key)
            if weight is not None and weight.dim() == 4:
                outputs = len(DECODERS) if network != "shape" else len(state.get("model.16.conv.0.bias", ())) or 1
                return {"network": network, "input_nc": weight.shape[1], "output_nc": outputs, "width": len(weight)}
        return {}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        masks = 1 + len(CUTS) if config.network == "pipeline" else 0
        return config.output_nc + masks, None

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        inputs: tuple[str, ...] = SEQUENCES
        if config.network == "shape":
            inputs = ("first", "second")
        elif config.network == "inpaint":
            inputs = (*SEQUENCES, "mask")
        numbers = [{"name": name, "low": 0.0, "high": None, "unit": "pixels"} for name in CIRCLES]
        attributes = numbers if config.network == "pipeline" else None
        return {"kind": "images", "inputs": inputs, "channels": 1, "range": (0.0, 1.0), "attributes": attributes}

    def build(self) -> nn.Module:
        config = self.config
        if config.network == "shape":
            return Shape(config.input_nc, config.output_nc, config.width)
        if config.network == "inpaint":
            return Inpainter(config.input_nc, config.width)
        return Pipeline(config.input_nc, config.width)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        if fused:
            for module in list(network.modules()):
                if isinstance(module, Shape | Inpainter):
                    module.fuse()
        if not isinstance(network, Pipeline):
            return network
        # Cuts decide in the shape and the grade network: they stay in float32, whatever the precision of the rest.
        self.pipeline = network
        for exact in (network.shape, network.grade):
            exact.to(self.device, memory_format=torch.channels_last if fused else torch.preserve_format)
        return network.inpaint

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        assert given.images is not None  # check_given
        # One by one on a CPU: instance norm of a map that is nearly constant makes much of the last digits of a sum.
        size = 1 if given.images.device.type == "cpu" else len(given.images)
        if self.pipeline is None:
            return torch.cat([self.network(part) for part in given.images.split(size)])
        height, width = given.images.shape[2:]
        if height % 8 or width % 8:
            raise ConditionError(
                f"{self.entry.model_id}: the sides of the input images must be multiples of 8, found {height} x {width}"
            )
        if given.images.shape[1] != self.config.input_nc - 1:
            raise ConditionError(
                f"{self.entry.model_id}: the inpainter takes {self.config.input_nc - 1} slices, "
                f"found {given.images.shape[1]} channels"
            )
        circles = concentric_circles(self.circles(noise, given), height, width)
        parts = zip(given.images.split(size), circles.split(size), strict=True)
        return torch.cat([self.pipeline(images, rings) for images, rings in parts])

    def circles(self, noise: Noise, given: Given) -> Tensor:
        """x_center, y_center, radius_1, radius_2, radius_3 of every sample, float32 [B, 5]."""
        assert given.images is not None
        drawn = draw_circles(noise.on(noise.device, torch.float32)) * (min(given.images.shape[2:]) / PUBLISHED_SIZE)
        if given.attributes is None:
            return drawn
        declared = self.entry.condition
        names = [one.name for one in declared.attributes or ()] if declared is not None else []
        if sorted(names) != sorted(CIRCLES):
            raise ConditionError(
                f"{self.entry.model_id}: condition.attributes must be {', '.join(CIRCLES)}, found {', '.join(names)}"
            )
        stated = given.attributes[:, [names.index(name) for name in CIRCLES]]
        radii = stated[:, 2:]
        inner = radii.nan_to_num(nan=0.0).cummax(dim=1).values
        outer = radii.nan_to_num(nan=math.inf).flip(1).cummin(dim=1).values.flip(1)
        drawn[:, 2:] = drawn[:, 2:].maximum(inner).minimum(outer)  # circles lie inside one another
        return torch.where(stated.isnan(), drawn, stated)


def draw_circles(noise: Noise) -> Tensor:
    """Centres from 80 to 169, radii from 5 to 34 in rising order, all different whole numbers: float32 [B, 5]."""
    centres = noise.uniform((90,)).argsort(dim=1)[:, :2] + 80
    radii = noise.uniform((30,)).argsort(dim=1)[:, :3].sort(dim=1).values + 5
    return torch.cat([centres, radii], dim=1).float()


def concentric_circles(circles: Tensor, height: int, width: int) -> Tensor:
    """Numbers [B, 5] -> grades [B, 1, height, width]: 1 inside radius_1, 0.75 inside radius_2, 0.5 inside radius_3.

    ``x_center`` counts rows and ``y_center`` columns, as published.
    """
    x, y, *radii = circles.float()[:, :, None, None].unbind(1)
    rows = torch.arange(height, device=circles.device)[:, None]
    columns = torch.arange(width, device=circles.device)[None, :]
    distance = (rows - x) ** 2 + (columns - y) ** 2
    weights = (0.25, 0.25, 0.5)
    return sum(weight * (distance < radius**2) for weight, radius in zip(weights, radii, strict=True))[:, None]  # type: ignore[index]
