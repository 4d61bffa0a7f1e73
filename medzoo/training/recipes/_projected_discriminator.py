"""Projected discriminator (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021).

Images are judged in the features of a fixed, pretrained network (EfficientNet-Lite0, ImageNet), mixed across channels
(a random 1x1 convolution, equation 3) and from coarse to fine scales (random 3x3 convolutions); neither is trained.
One small discriminator for each of four scales learns. Here it also gets the mask channels, at the resolution of its
scale, so that image and mask are judged together. Two more see what those features miss: the pixels themselves, since
features of natural images say little about masks, which fray without; and the whole picture, averaged down to 16 x 16,
since features care little about hue and patches do not see object and background together.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.features.efficientnet_lite0 import Network as EfficientNetLite0
from medzoo.features.efficientnet_lite0 import fold, load_weights
from medzoo.nets import SpectralConv2d, reset_weights
from medzoo.training.losses import Comparison, Copies, hinge_fake, hinge_real, minus_mean

# Blocks of the feature network after which a scale is read, and their channels: 1/4, 1/8, 1/16 and 1/32 of the image.
TAPS = {2: 24, 4: 40, 10: 112, 15: 320}
MIXED = (32, 64, 128, 256)
WHOLE = 16  # pixels of a side of the picture that is judged as a whole
LEAK = 0.2


class ProjectedFeatures(nn.Module):
    """Images [n, 3, s, s] in [-1, 1] -> four maps [n, MIXED[k], s / 2^(k + 2), s / 2^(k + 2)]; nothing here is trained.

    The random convolutions are buffers: a resumed run keeps those it began with.
    """

    def __init__(self) -> None:
        super().__init__()
        network = EfficientNetLite0()
        network.load_state_dict(load_weights())
        network = fold(network.eval().requires_grad_(False))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # In a tuple, for a registered module would be saved and trained.
        self.pretrained = (network,)
        for k, (channels, mixed) in enumerate(zip(TAPS.values(), MIXED, strict=True)):
            self.register_buffer(f"across_{k}", nn.init.kaiming_normal_(torch.empty(mixed, channels, 1, 1)))
        for k in range(3):  # from each scale to the next finer one
            self.register_buffer(f"down_{k}", nn.init.kaiming_normal_(torch.empty(MIXED[k], MIXED[k + 1], 3, 3)))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for x in self.taps(images):
            maps.append(F.conv2d(x, self.get_buffer(f"across_{len(maps)}")))
        for k in (2, 1, 0):
            coarse = F.interpolate(maps[k + 1], scale_factor=2, mode="bilinear", align_corners=False)
            maps[k] = maps[k] + F.conv2d(coarse, self.get_buffer(f"down_{k}"), padding=1)
        return maps

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """Maps of the pretrained network after each block of ``TAPS``."""
        network = self.pretrained[0].to(images.device)
        x = F.relu6(network._conv_stem(images * (127.5 / 128) + 0.5 / 128))
        for i, block in enumerate(network._blocks.children()):
            x = block(x)
            if i in TAPS:
                yield x
            if i == max(TAPS):
                return


class ProjectedDiscriminator(nn.Module):
    """Maps of :class:`ProjectedFeatures` and images with masks [n, 3 + k, s, s] -> patch logits, joined [n, p].

    Args:
        masks: mask channels, which follow the three of the image.
    """

    def __init__(self, masks: int) -> None:
        super().__init__()
        self.features = ProjectedFeatures()
        self.scales = nn.ModuleList()
        for k, channels in enumerate(MIXED):
            # A mask at the finest scale keeps every pixel: 4 x 4 of them become channels.
            self.scales.append(patches(channels + masks * (16 if k == 0 else 1), (64, 128, 256)[k:]))
        self.pixels = patches(3 + masks, (32, 64, 128, 256))
        self.whole = patches(3 + masks, (64, 128))
        reset_weights(self)

    def compare(self, real: Copies, fake: Copies, rng: torch.Generator) -> Comparison:
        """The losses for a batch of real and one of generated images, without their small copies."""
        with torch.no_grad():
            maps_real = self.features(real[0][:, :3])
        maps_fake = self.features(fake[0][:, :3])
        logits_real = self(maps_real, real[0]).float()
        logits_fake = self([maps.detach() for maps in maps_fake], fake[0].detach()).float()
        return Comparison(
            loss=hinge_real(logits_real, rng) + hinge_fake(logits_fake, rng),
            real=logits_real,
            fake=logits_fake,
            score_fakes=lambda: minus_mean(self(maps_fake, fake[0]).float()),
        )

    def logits(self, images: Copies) -> Tensor:
        """Logits [n, p] float32; the small copies are not used."""
        logits: Tensor = self(self.features(images[0][:, :3]), images[0])
        return logits.float()

    def forward(self, maps: list[Tensor], images: Tensor) -> Tensor:
        # Pooled to as many logits as each scale has: with more, pixels outweigh features and colours become uniform.
        logits, masks = [F.avg_pool2d(self.pixels(images), 2).flatten(1)], images[:, 3:]
        logits.append(self.whole(F.adaptive_avg_pool2d(images, WHOLE)).flatten(1))
        for k, (scale, x) in enumerate(zip(self.scales, maps, strict=True)):
            if masks.shape[1]:
                small = F.pixel_unshuffle(masks, 4) if k == 0 else F.adaptive_avg_pool2d(masks, x.shape[-1])
                x = torch.cat([x, small.to(x.dtype)], 1)
            logits.append(scale(x).flatten(1))
        return torch.cat(logits, 1)


def patches(inp: int, widths: tuple[int, ...]) -> nn.Sequential:
    """[n, inp, s, s] -> logits of patches [n, 1, p, p], the side halved for each width."""
    layers: list[nn.Module] = []
    for out in widths:
        layers += [SpectralConv2d(inp, out, 4, 2, 1), nn.GroupNorm(8, out), nn.LeakyReLU(LEAK)]
        inp = out
    return nn.Sequential(*layers, SpectralConv2d(inp, 1, 3, 1, 1))
