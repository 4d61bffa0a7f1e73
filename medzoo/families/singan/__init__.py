"""SinGAN-Seg (Thambawita et al., "SinGAN-Seg: Synthetic training data generation for medical image segmentation",
PLOS ONE 2022) after SinGAN (Shaham et al., "SinGAN: Learning a generative model from a single natural image", ICCV
2019).

One small network a scale, coarsest first, learned from a single image and its mask. Each adds details to the enlarged
output of the scale before, from fresh noise. A checkpoint is a folder of four files, the parts ``Gs``, ``Zs``,
``reals`` and ``NoiseAmp``; an entry may hold several (``1/Gs``, ``2/Gs``, ...), one for each training image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.errors import CheckpointError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families.singan.enlarge import enlarge
from medzoo.nets import BatchNorm2d
from medzoo.nets.winograd import Winograd
from medzoo.randomness import Noise

Size = tuple[PositiveInt, PositiveInt]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1)]

# Widths double every so many scales, up to a limit.
DOUBLES, WIDEST = 4, 128


class Config(FamilyConfig):
    """The pyramid, in the words of the published code; every shape is inferred from the state dict.

    Attributes:
        sizes: (height, width) of every scale, coarsest first.
        checkpoints: names of the training images, the folders of their checkpoints; one empty name for a single one.
        nc_im, nc_z: channels of images (masks included) and of noise.
        nfc, min_nfc: width of the first layer at the coarsest scale, and the least of a later layer.
        ker_size, num_layer, padd_size: of the convolutions at one scale.
        start_scale: scales below take the noise that reconstructs the training image, so that more of it remains.
        scale_factor: of sizes between neighbours; null to work it out from ``min_size`` as the published code does.
        min_size: shorter side at the coarsest scale.
        scale_factor_init, max_size, training_image_size, stop_scale, pad: stated by the published code, and implied
            by the fields above.
    """

    sizes: Sizes
    checkpoints: Annotated[tuple[str, ...], Field(min_length=1)] = ("",)
    nc_im: PositiveInt
    nc_z: PositiveInt
    nfc: PositiveInt
    min_nfc: PositiveInt
    ker_size: PositiveInt
    num_layer: Annotated[int, Field(ge=2)]
    padd_size: Annotated[int, Field(ge=0)] = 0
    start_scale: Annotated[int, Field(ge=0)] = 0
    scale_factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    min_size: PositiveInt = 25
    scale_factor_init: float | None = None
    max_size: PositiveInt | None = None
    training_image_size: tuple[int, int] | None = None
    stop_scale: int | None = None
    pad: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        last = len(self.sizes) - 1
        if self.stop_scale not in (None, last):
            raise ValueError(f"stop_scale {self.stop_scale} needs {self.stop_scale} + 1 scales, found {last + 1}")
        if self.pad not in (None, self.margin):
            raise ValueError(f"pad {self.pad} does not fit the kernels, which take off {self.margin} pixels a side")
        if self.start_scale > last + 1:
            raise ValueError(f"start_scale must lie between 0 and {last + 1}, found {self.start_scale}")
        if self.nc_z not in (1, self.nc_im):
            raise ValueError(f"nc_z must be 1 or nc_im, found {self.nc_z} and {self.nc_im}")
        return self

    @property
    def margin(self) -> int:
        """Pixels that the convolutions of a scale take off each side, put around its inputs beforehand."""
        return (self.ker_size - 1) * self.num_layer // 2

    @property
    def factor(self) -> float:
        """The stated scale factor, or the one that leads from the finest scale to ``min_size`` at the coarsest."""
        if self.scale_factor is not None:
            return self.scale_factor
        return (self.min_size / min(self.sizes[-1])) ** (1 / max(1, len(self.sizes) - 1))

    def widths(self, scale: int) -> tuple[int, ...]:
        """Channels after each hidden layer of a scale."""
        grown = 2 ** (scale // DOUBLES)
        widest, least = min(self.nfc * grown, WIDEST), min(self.min_nfc * grown, WIDEST)
        return (widest, *(max(widest // 2 ** (i + 1), least) for i in range(self.num_layer - 2)))


class SinGAN(Generator):
    """Noise at every scale -> image and mask channels.

    Between scales the image goes through 8 bits, where the last digits of a sum decide about a grey level. Samples
    therefore run one by one, so that the batch decides nothing, and only the last scale is fused: 1.2 times as fast.

    A class chooses the training image by the name of its checkpoint; without one each sample draws its own.
    """

    Config = Config
    channels_last = False
    kinds = ("class",)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        names = sorted({match[1] for key in state if (match := re.match(r"(?:(.*)/)?Gs\.\d+\.", key))}, key=_natural)
        names = [name or "" for name in names]
        sizes = [_sizes(state, name) for name in names]
        for name, other in zip(names, sizes, strict=True):
            if other != sizes[0]:
                raise CheckpointError(
                    f"the checkpoints '{names[0]}' and '{name}' have images of sizes {_sizes_in_words(sizes[0])} and "
                    f"{_sizes_in_words(other)}; all samples of an entry have one size: make an entry for each"
                )
        if not names or not sizes[0]:
            return {}
        first = _prefix(names[0]) + "Gs.0."
        convolutions = [
            key for key in state if re.fullmatch(re.escape(first) + r"(head|body\.block\d+)\.conv\.weight", key)
        ]
        head, tail = state.get(first + "head.conv.weight"), state.get(first + "tail.0.weight")
        if head is None or tail is None:
            return {}
        noise = state.get(_prefix(names[0]) + "Zs.0")
        noise = head if noise is None or noise.dim() != 4 else noise
        return {
            "checkpoints": tuple(names), "sizes": sizes[0], "nc_im": tail.shape[0], "nc_z": noise.shape[1],
            "nfc": head.shape[0], "min_nfc": _least(state, names[0]), "ker_size": head.shape[-1],
            "num_layer": len(convolutions) + 1,
        }  # fmt: skip

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        return config.nc_im, config.sizes[-1]

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        if len(config.checkpoints) == 1:
            return None
        return {"kind": "class", "classes": config.checkpoints, "required": False}

    def build(self) -> nn.Module:
        return Network(self.config)

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        if fused and self.entry.sampling.norm_stats != "sample":
            network.fuse()
        return network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        """The draws are, in this order: the checkpoint if it is to be drawn, then the noise of every scale."""
        which = self.choose(noise, given)
        first, *later = self.config.sizes
        draws = [noise.normal((1, *first)), *(noise.normal((self.config.nc_z, *size)) for size in later)]
        images = [self.network(name, [draw[row : row + 1] for draw in draws]) for row, name in enumerate(which)]
        return torch.cat(images)

    def choose(self, noise: Noise, given: Given) -> list[str]:
        """The checkpoint of every sample."""
        names = self.config.checkpoints
        if len(names) == 1:
            return [names[0]] * len(noise)
        if given.labels is None:
            drawn = noise.uniform((1,)).float().flatten() * len(names)
            return [names[min(int(place), len(names) - 1)] for place in drawn]
        declared = self.entry.condition
        classes = names if declared is None or declared.classes is None else declared.classes
        chosen = [classes[label] for label in given.labels.tolist()]
        for name in chosen:
            if name not in names:
                raise CheckpointError(
                    f"{self.entry.model_id}: there is no checkpoint '{name}' in the weights; they hold "
                    f"{', '.join(names)}: correct condition.classes or the parts of the weights"
                )
        return chosen


class Layer(nn.Sequential):
    """Convolution, batch norm, LeakyReLU 0.2."""

    def __init__(self, inp: int, out: int, kernel: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, kernel, padding=padding)
        self.norm = BatchNorm2d(out)
        self.LeakyRelu = nn.LeakyReLU(0.2)


class Scale(nn.Module):
    """Noisy image x and image y, both [n, nc_im, h, w] with a margin -> y without its margin, plus details of x.

    Values may leave [-1, 1].
    """

    def __init__(self, config: Config, scale: int) -> None:
        super().__init__()
        kernel, padding = config.ker_size, config.padd_size
        widths = config.widths(scale)
        self.head = Layer(config.nc_im, widths[0], kernel, padding)
        self.body = nn.Sequential()
        for i in range(1, len(widths)):
            self.body.add_module(f"block{i}", Layer(widths[i - 1], widths[i], kernel, padding))
        self.tail = nn.Sequential(nn.Conv2d(widths[-1], config.nc_im, kernel, padding=padding), nn.Tanh())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.tail(self.body(self.head(x)))
        return x + _cropped(y, x)


class FusedScale(nn.Module):
    """The same with batch norm in the weights, and fewer products where layers are wide."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        layers = []
        for layer in (scale.head, *scale.body):
            conv, norm = layer.conv, layer.norm
            gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            bias = norm.bias + (conv.bias - norm.running_mean) * gain
            layers.append(Winograd(conv.weight * gain[:, None, None, None], bias, conv.padding[0], slope=0.2))
        self.hidden = nn.Sequential(*layers)
        self.last = scale.tail[0]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.last(self.hidden(x)).tanh_()
        return x.add_(_cropped(y, x))


class Numbers(nn.Module):
    """A stored list of tensors, under the names 0, 1, 2, ..."""

    def __init__(self, shapes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        for i, shape in enumerate(shapes):
            self.register_buffer(str(i), torch.zeros(tuple(shape)))

    def __getitem__(self, place: int) -> Tensor:
        return self.get_buffer(str(place))


class Network(nn.Module):
    """One or several pyramids under the names of their files."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        margin = 2 * config.margin
        for name in config.checkpoints:
            prefix = _prefix(name)
            padded = [(1, config.nc_z, h + margin, w + margin) for h, w in config.sizes]
            self.add_module(prefix + "Gs", nn.ModuleList(Scale(config, k) for k in range(len(config.sizes))))
            self.add_module(prefix + "Zs", Numbers(padded))
            self.add_module(prefix + "reals", Numbers([(1, config.nc_im, *size) for size in config.sizes]))
            self.add_module(prefix + "NoiseAmp", Numbers([()] * len(config.sizes)))

    def part(self, name: str, kind: str) -> Any:
        """Part ``Gs``, ``Zs``, ``reals`` or ``NoiseAmp`` of a checkpoint."""
        return self.get_submodule(_prefix(name) + kind)

    def fuse(self) -> None:
        """Replace the last scale by its fast form, and forget the training images, of which only the sizes count."""
        for name in self.config.checkpoints:
            prefix = _prefix(name)
            *scales, last = self.part(name, "Gs")
            self.add_module(prefix + "Gs", nn.ModuleList([*scales, FusedScale(last)]))
            self.add_module(prefix + "reals", Numbers([]))

    def forward(self, name: str, draws: Sequence[Tensor]) -> Tensor:
        """One sample of a checkpoint from the noise of every scale: [1, nc_im, height, width]."""
        return self.outputs(name, draws)[-1]

    def outputs(self, name: str, draws: Sequence[Tensor]) -> list[Tensor]:
        """What every scale gives. ``draws``: [1, 1, h, w] for the first, [1, nc_z, h, w] for the others."""
        config = self.config
        frame = [config.margin] * 4
        scales, stored, amplitudes = (self.part(name, kind) for kind in ("Gs", "Zs", "NoiseAmp"))
        images: list[Tensor] = []
        for k, (scale, draw) in enumerate(zip(scales, draws, strict=True)):
            height, width = config.sizes[k]
            if images:
                previous = F.pad(enlarge(images[-1], 1 / config.factor)[..., :height, :width], frame)
            else:
                previous = F.pad(draw.new_zeros(1, config.nc_im, height, width), frame)
            noise = stored[k].to(draw) if k < config.start_scale else F.pad(draw, frame)
            images.append(scale(amplitudes[k].to(draw) * noise + previous, previous))
        return images


def _cropped(y: Tensor, like: Tensor) -> Tensor:
    off = (y.shape[2] - like.shape[2]) // 2
    return y[:, :, off : y.shape[2] - off, off : y.shape[3] - off]


def _prefix(name: str) -> str:
    return f"{name}/" if name else ""


def _natural(name: str | None) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name or "")]


def _sizes(state: Mapping[str, Tensor], name: str) -> tuple[tuple[int, int], ...]:
    """(height, width) of the stored images of a checkpoint, as far as they go."""
    sizes: list[tuple[int, int]] = []
    while (image := state.get(f"{_prefix(name)}reals.{len(sizes)}")) is not None and image.dim() == 4:
        sizes.append((image.shape[2], image.shape[3]))
    return tuple(sizes)


def _least(state: Mapping[str, Tensor], name: str) -> int:
    """``min_nfc``: the most that fits the last hidden layers of all scales, which it or ``nfc`` decides."""
    least = WIDEST
    for scale in range(len(_sizes(state, name))):
        tail = state.get(f"{_prefix(name)}Gs.{scale}.tail.0.weight")
        if tail is not None and tail.shape[1] < WIDEST:
            least = min(least, tail.shape[1] // 2 ** (scale // DOUBLES))
    return max(1, least)


def _sizes_in_words(sizes: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{h}x{w}" for h, w in sizes) or "nothing"
