"""A tiny pipeline in the layout of diffusers, saved by diffusers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def pipeline(folder: Path, **options: Any) -> Path:
    """An unconditional DDPM of 16 x 16 colour images and 20 steps; options are those of ``save_pretrained``."""
    diffusers = pytest.importorskip("diffusers")
    import torch

    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=20)
    diffusers.DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder, **options)
    return folder
