"""FastGAN (Liu et al., "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis",
ICLR 2021).

Skip-layer excitation generator, any number of channels: the mask of an image-with-mask model is one more channel.
Names of the published state dicts; 256, 512 and 1024 px as published, and 128 px (the same network one stage
shorter) for small models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families.fastgan.fused import (
    DifferenceUpStage,
    FirstStage,
    FusedExcitation,
    Stage,
    TileStage,
    TileUpStage,
    UpStage,
)
from medzoo.families.fastgan.gate import GLU, GatedNorm, norm_gate
from medzoo.nets import SpectralConv2d, reset_weights
from medzoo.nets.folding import fold_pixels
from medzoo.randomness import Noise

# Channels at each resolution, in units of ngf.
WIDTHS: dict[int, float] = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
# Skip-layer excitation: the feature map at the value gates the one at the key.
EXCITES = {64: 4, 128: 8, 256: 16, 512: 32}
# Largest map that the fused network makes from differences; above, the sums cost more time than the products save.
# Where there are tiles, these are faster from 32 px and some input channels on.
DIFFERENCES, DIFFERENCES_BEFORE_TILES = 64, 16
TILE_CHANNELS, TILE_UP_CHANNELS = 64, 128
# Blocks with a second convolution and two noise maps.
NOISY = (8, 32, 128, 512)


class Config(FamilyConfig):
    """Arguments of :class:`Network`."""

    ngf: Annotated[int, Field(ge=8)]
    nz: PositiveInt
    nc: PositiveInt
    im_size: Literal[128, 256, 512, 1024]


class FastGAN(Generator):
    """Latents N(0, 1) and injected noise -> image and mask channels.

    The published polyp model was sampled in train mode with batch 1: ``sampling.norm_stats: sample`` gives each image
    its own batch-norm statistics and one power iteration of spectral norm, whatever the batch.
    """

    Config = Config
    kinds = ()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.nz,)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        first, last = state.get("init.init.0.weight_orig"), state.get("to_big.weight_orig")
        sizes = [int(match[1]) for key in state if (match := re.match(r"feat_(\d+)\.", key))]
        if first is None or last is None or not sizes:
            return {}
        return {"ngf": first.shape[1] // 32, "nz": first.shape[0], "nc": last.shape[0], "im_size": max(sizes)}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        return config.nc, (config.im_size, config.im_size)

    def build(self) -> nn.Module:
        return Network(**dict(self.config))

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        assert isinstance(network, Network)
        return Fused(network, tiles=self.device.type == "cpu" and self.dtype == torch.float32) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        shapes = noise_shapes(self.config.im_size)
        return self.network(self.latent(noise), [noise.normal(shape) for shape in shapes])


class NoiseInjection(nn.Module):
    """One learned number: the strength of one N(0, 1) map [n, 1, h, w] added to every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class UpBlock(nn.Sequential):
    """Nearest x2, convolution, norm, gate: [n, inp, h, w] -> [n, out, 2h, 2w]."""

    noises = 0

    def __init__(self, inp: int, out: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            SpectralConv2d(inp, 2 * out, 3, 1, 1),
            GatedNorm(2 * out),
            GLU(),
        )

    def forward(self, x: Tensor, noise: list[Tensor]) -> Tensor:
        up, conv, norm, _ = self
        return norm_gate(conv(x, grow=True) if self.training else conv(up(x)), norm)


class NoisyUpBlock(nn.Sequential):
    """An up block followed by a second convolution, each with injected noise."""

    noises = 2

    def __init__(self, inp: int, out: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            *(SpectralConv2d(inp, 2 * out, 3, 1, 1), NoiseInjection(), GatedNorm(2 * out), GLU()),
            *(SpectralConv2d(out, 2 * out, 3, 1, 1), NoiseInjection(), GatedNorm(2 * out), GLU()),
        )

    def forward(self, x: Tensor, noise: list[Tensor]) -> Tensor:
        up, conv, inject, norm, _, conv2, inject2, norm2, _ = self
        x = norm_gate(conv(x, grow=True) if self.training else conv(up(x)), norm, noise[0], inject.weight)
        return norm_gate(conv2(x), norm2, noise[1], inject2.weight)


class Excitation(nn.Module):
    """Gate for the channels of a large map, computed from a small one: [n, inp, h, w] -> [n, out, 1, 1] in (0, 1)."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), SpectralConv2d(inp, out, 4), nn.SiLU(), SpectralConv2d(out, out, 1), nn.Sigmoid()
        )

    def forward(self, small: Tensor) -> Tensor:
        return self.main(small)


class Init(nn.Module):
    """The first layer: latent [n, nz] -> [n, out, 4, 4]."""

    def __init__(self, nz: int, out: int) -> None:
        super().__init__()
        self.init = nn.Sequential(SpectralConv2d(nz, 2 * out, 4, transposed=True), GatedNorm(2 * out), GLU())

    def forward(self, z: Tensor) -> Tensor:
        conv, norm, _ = self.init
        return norm_gate(conv(z[:, :, None, None]), norm)


class Network(nn.Module):
    """Latent [n, nz] and noise maps -> images [n, nc, im_size, im_size], raw (tanh at 1024 px only).

    Args:
        ngf: width; the map at 128 px has this many channels.
        nz: latent size.
        nc: channels of the output, masks included.
        im_size: 128, 256, 512 or 1024.
    """

    def __init__(self, ngf: int, nz: int, nc: int, im_size: int) -> None:
        super().__init__()
        self.nz, self.im_size = nz, im_size
        width = {size: int(scale * ngf) for size, scale in WIDTHS.items() if size <= im_size}
        self.sizes = [size for size in width if size > 4]
        self.init = Init(nz, width[4])
        for size in self.sizes:
            block = NoisyUpBlock if size in NOISY else UpBlock
            self.add_module(f"feat_{size}", block(width[size // 2], width[size]))
        for size, small in EXCITES.items():
            if size <= im_size:
                self.add_module(f"se_{size}", Excitation(width[small], width[size]))
        self.small_size = min(128, im_size // 2)
        self.add_module(f"to_{self.small_size}", SpectralConv2d(width[self.small_size], nc, 1))
        self.to_big = SpectralConv2d(width[im_size], nc, 3, 1, 1)

    def reset(self) -> None:
        """Start values of the published training code."""
        reset_weights(self)

    def forward(self, z: Tensor, noise: list[Tensor]) -> Tensor:
        return self.images(z, noise)[0]

    def images(self, z: Tensor, noise: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The image and the small image (128 px; 64 px for a 128 px model) that the discriminator also sees."""
        maps = {4: self.init(z)}
        queue = list(noise)
        for size in self.sizes:
            block = self.get_submodule(f"feat_{size}")
            mine, queue = queue[: block.noises], queue[block.noises :]
            x = block(maps[size // 2], mine)
            maps[size] = x * self.get_submodule(f"se_{size}")(maps[EXCITES[size]]) if size in EXCITES else x
        big = self.to_big(maps[self.im_size])
        small = self.get_submodule(f"to_{self.small_size}")(maps[self.small_size])
        return (torch.tanh(big), torch.tanh(small)) if self.im_size == 1024 else (big, small)


def noise_shapes(im_size: int) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every noise map, in the order in which the network takes them."""
    return [(1, size, size) for size in NOISY if size <= im_size for _ in range(2)]


class Fused(nn.Module):
    """The same function as :class:`Network` in eval mode, rewritten for speed.

    Spectral norm and stored batch-norm statistics go into the weights, nearest x2 and 3x3 convolution become one 4x4
    transposed convolution (2.25 times fewer multiplications), and the small output, which nobody asks for, is left out.
    On a CPU the large maps are made for a few samples at a time, so that they stay in the cache.
    """

    # Bytes of the largest map of a group of samples; above 32 MB glibc returns every block to the system.
    GROUP_BYTES = 16 * 2**20

    def __init__(self, network: Network, tiles: bool = True) -> None:
        """``tiles``: make wide maps from tiles, which is for float32 on a CPU only."""
        super().__init__()
        self.tanh = network.im_size == 1024
        self.large = [size for size in network.sizes if size > 32]
        self.init = FirstStage(*network.init.init[:2])
        self.ups, self.seconds, self.gates = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for size in network.sizes:
            block = list(network.get_submodule(f"feat_{size}"))
            up = up_stage(size, block[1].weight_orig.shape[1], tiles)
            self.ups[str(size)] = up(block[1], block[3], block[2].weight) if size in NOISY else up(block[1], block[2])
            if size in NOISY:
                wide = tiles and block[5].weight_orig.shape[1] >= TILE_CHANNELS
                self.seconds[str(size)] = (TileStage if wide else Stage)(block[5], block[7], block[6].weight)
            if size in EXCITES:
                self.gates[str(size)] = FusedExcitation(network.get_submodule(f"se_{size}"))
        self.to_big = nn.Parameter(fold_pixels(network.to_big.weight()), requires_grad=False)
        self.largest = network.im_size**2 * 2 * network.to_big.weight_orig.shape[1]  # numbers in the last norm's input

    def forward(self, z: Tensor, noise: list[Tensor]) -> Tensor:
        maps = {4: self.init(z)}
        for size in (8, 16, 32):
            maps[size] = self.block(size, maps[size // 2], noise)
        gates = {int(name): excite(maps[EXCITES[int(name)]]) for name, excite in self.gates.items()}
        group = len(z)
        if z.device.type == "cpu":
            group = max(1, self.GROUP_BYTES // (self.largest * z.element_size()))
        images = []
        for start in range(0, len(z), group):
            part = slice(start, start + group)
            images.append(self.large_maps(maps[32][part], [one[part] for one in noise], gates, part))
        image = torch.cat(images)
        return image.tanh_() if self.tanh else image

    def large_maps(self, x: Tensor, noise: list[Tensor], gates: dict[int, Tensor], part: slice) -> Tensor:
        """From the 32 px map to the image, for a group of samples."""
        alone = len(x) == 1  # then scaling the next weights costs less than scaling the map
        scale = None
        for size in self.large:
            x = self.block(size, x, noise, scale)
            scale = gates[size][part] if size in gates else None
            if scale is not None and not alone:
                x, scale = x.mul_(scale), None
        weight = self.to_big if scale is None else self.to_big * scale
        return F.pixel_shuffle(F.conv2d(x, weight, stride=2, padding=1), 2)

    def block(self, size: int, x: Tensor, noise: list[Tensor], scale: Tensor | None = None) -> Tensor:
        """Both stages of a resolution, or its only one; ``scale`` [1, inp, 1, 1] multiplies the input channels."""
        up = self.ups[str(size)]
        if size not in NOISY:
            return up(x, scale=scale)
        first = 2 * NOISY.index(size)
        return self.seconds[str(size)](up(x, noise[first], scale), noise[first + 1])


def up_stage(size: int, channels: int, tiles: bool) -> type[Stage]:
    """The fastest way to a map of ``size`` from one of ``channels``."""
    if tiles and size > DIFFERENCES_BEFORE_TILES and channels >= TILE_UP_CHANNELS:
        return TileUpStage
    return DifferenceUpStage if size <= DIFFERENCES else UpStage
