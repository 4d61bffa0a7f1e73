"""Diffusion as pure functions: noise schedules, samplers, guidance, and the U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.diffusion.guidance import Conditioning as Conditioning
    from medzoo.diffusion.guidance import guided as guided
    from medzoo.diffusion.samplers import Sampler as Sampler
    from medzoo.diffusion.samplers import choose_sampler as choose_sampler
    from medzoo.diffusion.samplers import sample as sample
    from medzoo.diffusion.schedule import Schedule as Schedule
    from medzoo.diffusion.unet import Shape as Shape
    from medzoo.diffusion.unet import UNet as UNet
    from medzoo.diffusion.unet_fused import fuse as fuse

_HOMES = {
    **dict.fromkeys(("Conditioning", "guided"), "medzoo.diffusion.guidance"),
    **dict.fromkeys(("Sampler", "choose_sampler", "sample"), "medzoo.diffusion.samplers"),
    "Schedule": "medzoo.diffusion.schedule",
    **dict.fromkeys(("Shape", "UNet"), "medzoo.diffusion.unet"),
    "fuse": "medzoo.diffusion.unet_fused",
}
__getattr__, __dir__ = exports(__name__, _HOMES)
