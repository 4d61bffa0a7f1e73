"""pix2pix (Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017).

The U-Net generator, of any depth, under the names of the published state dicts. Published images were made in train
mode, one by one: ``sampling.norm_stats: sample`` gives each its own statistics, ``live_dropout`` its own dropout.
Conditioned on a mask, the model draws one where none is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.errors import EntryError
from medzoo.families._base import FamilyConfig
from medzoo.families._condition import Given
from medzoo.families._translate import (
    Convolution,
    InstanceNorm,
    NormKind,
    Stage,
    Translator,
    norm_layer,
)
from medzoo.families.pix2pix import masses
from medzoo.nets import BatchNorm2d
from medzoo.randomness import Noise

Draw = Callable[[tuple[int, ...]], Tensor]  # shape of a sample -> U[0, 1) [n, *shape]


class Config(FamilyConfig):
    """Settings of the network; those without a default are inferred from a state dict.

    Attributes:
        input_nc, output_nc: channels of the images.
        num_downs: how often height and width are halved; 8 takes 256 pixels to one.
        ngf: channels of the first map.
        norm: ``batch`` or ``instance``.
        use_dropout: the network was trained with dropout, which leaves no trace in its weights.
        live_dropout: drop out when sampling too, as the published test script does.
        texture: what a mask is filled with before the network sees it, see ``masses.fill_texture``.
    """

    input_nc: PositiveInt
    output_nc: PositiveInt
    num_downs: Annotated[int, Field(ge=5, le=16)]
    ngf: PositiveInt
    norm: Literal["batch", "instance"]
    use_dropout: bool = False
    live_dropout: bool = False
    texture: Literal["plain", "noise"] = "plain"

    @model_validator(mode="after")
    def _can_drop(self) -> Config:
        if self.live_dropout and not self.use_dropout:
            raise ValueError("live_dropout needs use_dropout")
        return self


class Pix2Pix(Translator):
    """An image -> an image; or a mask, given or drawn -> an image and that mask."""

    Config = Config

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        downs: list[Tensor] = []
        while (key := _path(len(downs)) + ("0" if not downs else "1") + ".weight") in state:
            downs.append(state[key])
        last = state.get("model.model.3.weight")
        if len(downs) < 2 or last is None or {last.dim(), *(down.dim() for down in downs)} != {4}:
            return {}
        return {
            "input_nc": downs[0].shape[1], "output_nc": last.shape[1], "num_downs": len(downs),
            "ngf": downs[0].shape[0], "norm": "batch" if _path(1) + "2.weight" in state else "instance",
        }  # fmt: skip

    @property
    def sizes(self) -> tuple[int, int]:
        return 2**self.config.num_downs, 2**self.config.num_downs

    def build(self) -> nn.Module:
        config = self.config
        return Network(config.input_nc, config.output_nc, config.num_downs, config.ngf, config.norm)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        return Fused(network, self.device.type == "cpu") if fused else network

    def check_given(self, given: Given) -> None:
        if not self.on_masks:  # which are drawn where none is given
            super().check_given(given)

    @property
    def on_masks(self) -> bool:
        """Whether the entry conditions the model on a mask."""
        return self.entry.condition is not None and self.entry.condition.kind == "mask"

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        # Shapes and dropout are the same in any precision.
        exact = noise.on(noise.device, torch.float32)
        draw = exact.uniform if self.config.live_dropout else None
        if self.entry.condition is None or not self.on_masks:
            return self.network(self.images(given), draw)
        mask = self.mask(exact, given)
        filled = masses.fill_texture(mask, exact.uniform(mask.shape[1:])) if self.config.texture == "noise" else mask
        low, high = self.entry.condition.range
        image = (filled * (high - low) + low).to(noise.dtype).expand(-1, self.config.input_nc, -1, -1)
        image = self.network(self.images(Given(images=image)), draw)
        low, high = self.entry.output.range
        return torch.cat([image, (mask * (high - low) + low).to(image.dtype)], 1) if self.entry.output.masks else image

    def mask(self, noise: Noise, given: Given) -> Tensor:
        """The mask of each sample, 0 and 1, float32 [B, 1, H, W]: that given, or one that its own noise draws."""
        condition, size = self.entry.condition, self.entry.output.size
        assert condition is not None
        if given.images is not None:
            low, high = condition.range
            return (self.images(given)[:, :1].float() - low) / (high - low)
        if size is None or len(size) != 2:
            raise EntryError(f"{self.entry.model_id}: to draw masks, output.size must be [height, width]")
        return masses.masses(noise.uniform((masses.MASS_NUMBERS,)), (size[0], size[1]))


def _path(level: int) -> str:
    """Prefix of the keys of a level; level 0 is the outermost."""
    return "model.model." + ("" if level == 0 else "1.model." + "3.model." * (level - 1))


class Dropout(nn.Module):
    """Dropout of half the numbers by draws from outside; idle without."""

    def forward(self, x: Tensor, draw: Draw | None) -> Tensor:
        return x if draw is None else x * (draw(tuple(x.shape[1:])) >= 0.5).to(x.dtype) * 2


class Level(nn.Module):
    """Down, the levels within, and up again; all but the outermost join what went in to what comes out.

    Args:
        outer, inner: channels around and within it.
        inp: channels that go in.
        within: the next level; None for the innermost.
    """

    def __init__(
        self, outer: int, inner: int, inp: int, norm: NormKind, within: Level | None, *, outermost: bool, dropout: bool
    ) -> None:
        super().__init__()
        self.outermost = outermost
        bias = norm == "instance"
        down = nn.Conv2d(inp, inner, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(inner if within is None else 2 * inner, outer, 4, 2, 1, bias=bias or outermost)
        if outermost:
            assert within is not None
            layers: list[nn.Module] = [down, within, nn.ReLU(), up, nn.Tanh()]
        elif within is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm_layer(norm, outer)]
        else:
            layers = [nn.LeakyReLU(0.2), down, norm_layer(norm, inner), within, nn.ReLU(), up, norm_layer(norm, outer)]
        self.model = nn.Sequential(*layers, *([Dropout()] if dropout else []))

    def forward(self, x: Tensor, draw: Draw | None) -> Tensor:
        y = x
        for layer in self.model:
            y = layer(y, draw) if isinstance(layer, Level | Dropout) else layer(y)
        return y if self.outermost else torch.cat([x, y], 1)


class Network(nn.Module):
    """Image [n, input_nc, h, w] -> [n, output_nc, h, w] in [-1, 1]; h and w multiples of 2 ** num_downs."""

    def __init__(self, input_nc: int, output_nc: int, num_downs: int, ngf: int, norm: NormKind) -> None:
        super().__init__()
        widths = [ngf * min(2**k, 8) for k in range(num_downs)]
        # Where the paper has it: the levels of full width but the innermost.
        self.dropping = range(4, num_downs - 1)
        level = None
        for k in range(num_downs - 1, 0, -1):
            level = Level(
                widths[k - 1], widths[k], widths[k - 1], norm, level, outermost=False, dropout=k in self.dropping
            )
        self.model = Level(output_nc, ngf, input_nc, norm, level, outermost=True, dropout=False)

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        return self.model(x, draw)


class Fused(nn.Module):
    """The U-Net for inference: norms folded, maps joined where made, small ones by matrix products on a CPU."""

    def __init__(self, network: Network, cpu: bool) -> None:
        super().__init__()
        downs, ups = [], []
        levels = list(_levels(network.model))
        for level, (down, up) in enumerate(levels):
            within = len(levels) - 1 - level
            downs.append(Stage(*down, make=Matrix if cpu and within < Matrix.LEVELS else None))
            small = within <= Matrix.LEVELS or up[0].out_channels <= Matrix.NARROW
            ups.append(Stage(*up, make=Matrix if cpu and small else None))
        self.downs, self.ups, self.dropout = nn.ModuleList(downs), nn.ModuleList(ups), Dropout()
        self.dropping, self.alone = network.dropping, cpu and any(stage.per_sample for stage in ups)

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        if not self.alone or len(x) == 1:
            return self.run(x, draw)
        # One by one: norms by the statistics of a sample make much of the last digits of a sum, which a batch changes.
        drawn: list[Tensor] = []
        return torch.cat([self.run(x[row : row + 1], _row(draw, drawn, row)) for row in range(len(x))])

    def run(self, x: Tensor, draw: Draw | None) -> Tensor:
        joined: list[Tensor] = []
        x = self.downs[0](x.contiguous(memory_format=torch.channels_last))
        for down in self.downs[1:]:
            both = x.new_empty(len(x), *x.shape[2:], 2 * x.shape[1]).permute(0, 3, 1, 2)
            torch.clamp_min(x, 0, out=both[:, : x.shape[1]])
            joined.append(both)
            x = down(F.leaky_relu_(x, 0.2))
        x = x.relu_()
        for level in range(len(self.ups) - 1, 0, -1):
            both = joined.pop()
            half = both[:, both.shape[1] // 2 :]
            self.ups[level](x, half, relu=True)
            if level in self.dropping:
                half.copy_(self.dropout(half, draw))
            x = both
        return self.ups[0](x).tanh_()


def _row(draw: Draw | None, drawn: list[Tensor], row: int) -> Draw | None:
    """The draws of one sample of a batch; ``drawn`` keeps those of the whole batch for the others."""
    if draw is None:
        return None
    places = count()

    def own(shape: tuple[int, ...]) -> Tensor:
        place = next(places)
        if place == len(drawn):
            drawn.append(draw(shape))
        return drawn[place][row : row + 1]

    return own


def _levels(level: Level) -> Iterator[tuple[tuple[Convolution, nn.Module | None], ...]]:
    """(convolution, norm) down and up of a level and of all within."""
    layers = list(level.model)
    pairs = zip(layers, layers[1:], strict=False)
    yield tuple(
        (conv, norm if isinstance(norm, BatchNorm2d | InstanceNorm) else None)
        for conv, norm in pairs
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    )
    for layer in layers:
        if isinstance(layer, Level):
            yield from _levels(layer)


class Matrix(nn.Module):
    """A 4x4 convolution of stride 2, or a transposed one, as one matrix product.

    A core reads the large weights of small maps faster so, and need not fill its vectors with channels that a narrow
    output does not have.
    """

    # Levels this near the innermost have small maps: 1 to 64 positions (256 where half the way) for the usual image.
    LEVELS = 4
    NARROW = 4  # channels

    def __init__(self, conv: Convolution, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        matrix = weight.flatten(1).t() if self.transposed else weight.flatten(1)
        self.weight = nn.Parameter(matrix.clone(memory_format=torch.contiguous_format), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        if self.transposed:
            positions = x.permute(0, 2, 3, 1).reshape(n * height * width, -1)
            taps = (self.weight @ positions.t()).unflatten(1, (n, height * width)).transpose(0, 1)
            y = F.fold(taps, (2 * height, 2 * width), 4, padding=1, stride=2)
        else:
            patches = F.unfold(x, 4, padding=1, stride=2).transpose(0, 1).flatten(1)
            y = (self.weight @ patches).unflatten(1, (n, height // 2, width // 2)).transpose(0, 1)
        return y if self.bias is None else y + self.bias[:, None, None]
