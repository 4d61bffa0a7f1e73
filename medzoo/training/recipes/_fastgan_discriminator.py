"""What FastGAN training adds to the generator: its discriminator and its losses (Liu et al., ICLR 2021).

The discriminator sees the image and a small copy, scores patches, and as self-supervision decodes three of its maps
back to the image; that reconstruction keeps it from over-fitting a few hundred images. It is measured by L1 where the
published code takes LPIPS, whose weights need a download.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families.fastgan import Excitation
from medzoo.families.fastgan.gate import GatedNorm, norm_gate
from medzoo.nets import BatchNorm2d, SpectralConv2d, reset_weights
from medzoo.training.losses import Comparison, Copies, hinge_fake, hinge_real, minus_mean

# Channels of the discriminator at each resolution, in units of ndf.
WIDTHS = {8: 16, 16: 8, 32: 4, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
LEAK = 0.2


class Discriminator(nn.Module):
    """Images [n, nc, s, s] and small images -> patch logits [n, 50], and decoded images for the reconstruction loss.

    Args:
        ndf: width. nc: channels, masks included. im_size: 128, 256, 512 or 1024.
        reconstruction: weight of the self-supervision.
    """

    def __init__(self, ndf: int, nc: int, im_size: int, reconstruction: float = 1.0) -> None:
        super().__init__()
        self.reconstruction = reconstruction
        width = {size: max(int(scale * ndf), 4) for size, scale in WIDTHS.items()}
        sizes = [s for s in sorted(width, reverse=True) if s <= im_size]
        self.stem = nn.Sequential(SpectralConv2d(nc, width[im_size], 3, 1, 1), nn.LeakyReLU(LEAK))
        self.downs = nn.ModuleDict({str(s // 2): DownBlock(width[s], width[s // 2]) for s in sizes[:-1]})
        # Skip-layer excitation: the map 16 times larger gates the small one (the large one is pooled to 4 x 4).
        self.gates = nn.ModuleDict(
            {str(s): Excitation(width[16 * s], width[s]) for s in (8, 16, 32) if 16 * s <= im_size}
        )
        self.patches = PatchLogits(width[8], width[8])
        small = min(128, im_size // 2)
        layers: list[nn.Module] = [SpectralConv2d(nc, width[small // 2], 4, 2, 1), nn.LeakyReLU(LEAK)]
        for s in [s for s in sizes if 8 < s <= small // 2]:
            layers.append(SimpleDown(width[s], width[s // 2]))
        self.small = nn.Sequential(*layers)
        self.patches_small = PatchLogits(width[8], width[8])
        self.decode_big, self.decode_part, self.decode_small = (
            Decoder(width[8], nc),
            Decoder(width[16], nc),
            Decoder(width[8], nc),
        )
        reset_weights(self)

    def compare(self, real: Copies, fake: Copies, rng: torch.Generator) -> Comparison:
        """The losses for a batch of real and one of generated images, with draws from ``rng``."""
        quadrant = int(torch.randint(4, (1,), generator=rng))
        logits_real, maps = self(*real)
        logits_fake, _ = self(*(image.detach() for image in fake))
        logits_real, logits_fake = logits_real.float(), logits_fake.float()
        pairs = self.reconstructions(maps, real[0], real[1], quadrant)
        rebuilt = torch.stack([(decoded.float() - target.float()).abs().mean() for decoded, target in pairs]).sum()
        hinge = hinge_real(logits_real, rng) + hinge_fake(logits_fake, rng)
        return Comparison(
            loss=hinge + self.reconstruction * rebuilt,
            real=logits_real,
            fake=logits_fake,
            score_fakes=lambda: minus_mean(self.logits(fake)),
            parts={"reconstruction": rebuilt},
        )

    def logits(self, images: Copies) -> Tensor:
        """Logits [n, 50] float32 of images and their small copies."""
        logits: Tensor = self(*images)[0]
        return logits.float()

    def forward(self, big: Tensor, small: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [n, 50] (25 patches of each branch), and the maps that ``reconstructions`` decodes."""
        maps = {big.shape[-1]: self.stem(big)}
        x = maps[big.shape[-1]]
        for name, down in self.downs.items():
            size = int(name)
            x = down(x)
            if name in self.gates:
                x = x * self.gates[name](maps[16 * size])
            maps[size] = x
        last_small = self.small(small)
        logits = torch.cat([self.patches(maps[8]), self.patches_small(last_small)], 1)
        return logits, {"big": maps[8], "part": maps[16], "small": last_small}

    def reconstructions(
        self, maps: dict[str, Tensor], big: Tensor, small: Tensor, quadrant: int
    ) -> list[tuple[Tensor, Tensor]]:
        """(decoded, target) pairs: the whole image, one quadrant of it from the 16 x 16 map, the small image.

        Quadrants are numbered row by row; decoded images are 64 px [n, nc, 64, 64].
        """
        row, col = divmod(quadrant, 2)
        half = big.shape[-1] // 2
        part = maps["part"][:, :, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8]
        big_part = big[:, :, half * row : half * (row + 1), half * col : half * (col + 1)]
        decoded = (self.decode_big(maps["big"]), self.decode_part(part), self.decode_small(maps["small"]))
        targets = (resize(big, 64), resize(big_part, 64), resize(small, 64))
        return list(zip(decoded, targets, strict=True))


class DownBlock(nn.Module):
    """Halves the map: mean of a two-convolution path and a pooled one-by-one path."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(SpectralConv2d(inp, out, 4, 2, 1), BatchNorm2d(out), nn.LeakyReLU(LEAK)),
            *(SpectralConv2d(out, out, 3, 1, 1), BatchNorm2d(out), nn.LeakyReLU(LEAK)),
        )
        self.direct = nn.Sequential(nn.AvgPool2d(2), SpectralConv2d(inp, out, 1), BatchNorm2d(out), nn.LeakyReLU(LEAK))

    def forward(self, x: Tensor) -> Tensor:
        return (self.main(x) + self.direct(x)) / 2


class SimpleDown(nn.Sequential):
    """Halves the map with one convolution."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__(SpectralConv2d(inp, out, 4, 2, 1), BatchNorm2d(out), nn.LeakyReLU(LEAK))


class PatchLogits(nn.Sequential):
    """An 8 x 8 map -> 25 patch logits [n, 25]."""

    def __init__(self, inp: int, mid: int) -> None:
        super().__init__(
            SpectralConv2d(inp, mid, 1), BatchNorm2d(mid), nn.LeakyReLU(LEAK), SpectralConv2d(mid, 1, 4), nn.Flatten()
        )


class Up(nn.Sequential):
    """Nearest x2, convolution, norm, gate."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), SpectralConv2d(inp, 2 * out, 3, 1, 1), GatedNorm(2 * out))

    def forward(self, x: Tensor) -> Tensor:
        up, conv, norm = self
        assert isinstance(norm, GatedNorm)
        return norm_gate(conv(x, grow=True) if self.training else conv(up(x)), norm)


class Decoder(nn.Sequential):
    """An 8 x 8 map -> a 64 px image in (-1, 1)."""

    def __init__(self, inp: int, nc: int) -> None:
        mid = max(inp // 8, 16)
        super().__init__(
            *(Up(inp, mid), Up(mid, mid), Up(mid, mid // 2)), SpectralConv2d(mid // 2, nc, 3, 1, 1), nn.Tanh()
        )


def resize(x: Tensor, size: int) -> Tensor:
    """Area-averaged [n, c, size, size]."""
    return x if x.shape[-1] == size else F.interpolate(x, size, mode="area")
