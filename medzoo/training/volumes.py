"""Volumes of a run: read whole, deformed anew in each step, and shown by their three middle slices.

Volumes are few, and one alone is enough to run: what the network sees is each of them turned, zoomed,
shifted, bent and made brighter or darker at random. So it learns the deformations of those it was given, and the
anatomy of nobody else. Volumes are kept twice as fine as they are learned, so that deforming them does not blur.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medzoo.datasets import Images, VolumeLayout, load_volumes
from medzoo.datasets.source import Source
from medzoo.errors import TrainingError
from medzoo.imagefiles import Volume
from medzoo.training.config import VolumeConfig

FINER = 2
FOREGROUND = 0.1  # of white
WHITE = 99.5  # percentile of the foreground that becomes white
SHOWN, SEED = 64, 0  # held-out volumes after deformation, and what it is drawn from


def of_dataset(config: VolumeConfig, name: str, root: Path | None) -> Images:
    """The volumes of a dataset of the registry, as :func:`place`."""
    return _together(load_volumes(name, root=root), config)


def of_folder(config: VolumeConfig) -> Images:
    """The NIfTI files right in a folder, as :func:`place`."""
    assert config.folder is not None
    folder = Path(config.folder)
    if not folder.is_dir():
        raise TrainingError(f"{folder}: not a folder; {config.family} learns the NIfTI files of one")
    return _together(VolumeLayout(kind="volume", window=config.window).volumes(Source(folder)), config)


def place(volume: Volume, size: tuple[int, ...], spacing: float) -> Tensor:
    """uint8 [1, *size] of voxels of ``spacing`` millimetres, about the middle of what is bright; cut or filled up.

    White is the 99.5th percentile of the foreground: voxels brighter than a tenth of the largest, then of white.
    """
    values = volume.part(...)
    if not values.any():
        raise TrainingError(f"{volume.path}: holds nothing but black; leave it out")
    values /= np.percentile(values[values > FOREGROUND * values.max()], WHITE)
    x, inside = torch.from_numpy(values.clip(0, 1)), values > FOREGROUND
    margins: list[int] = []
    for axis, (side, have) in enumerate(zip(size, volume.spacing, strict=True)):
        bright = np.flatnonzero(inside.any(tuple({0, 1, 2} - {axis})))
        n = max(1, round(side * spacing / have))
        start = round((bright[0] + bright[-1] + 1 - n) / 2)
        margins = [-start, start + n - x.shape[axis], *margins]  # negative ones cut; the last axis comes first
    x = F.interpolate(F.pad(x, margins)[None, None], size, mode="area")[0]
    return x.mul(255).round().to(torch.uint8)


def deform(volumes: Tensor, config: VolumeConfig, rng: torch.Generator) -> Tensor:
    """Volumes [n, c, ...] in [-1, 1], as fine as they are kept -> [n, c, *config.size], each changed at random."""
    n, limits = len(volumes), config.deform
    angles, zoom, shift = (_either_way(n, rng) for _ in range(3))
    knots = torch.randn(n, 3, 4, 4, 4, generator=rng) * limits.bend
    gamma = torch.exp(torch.randn(n, generator=rng) * limits.gamma).to(volumes.device)
    half = torch.tensor(config.size[::-1], dtype=torch.float32) / 2  # of each side; x, y, z as grid_sample has them
    turn = _rotation(math.radians(limits.rotation) * angles) @ torch.diag_embed(1 + limits.zoom * zoom)
    maps = turn * half / half[:, None]
    theta = torch.cat([maps, 2 * limits.shift * shift[:, :, None]], 2)
    grid = F.affine_grid(theta, [n, 1, *config.size], align_corners=False)
    bend = F.interpolate(knots, config.size, mode="trilinear", align_corners=True).permute(0, 2, 3, 4, 1)
    moved = F.grid_sample(volumes, (grid + bend).to(volumes.device), padding_mode="border", align_corners=False)
    return moved.add(1).div(2).clamp(0, 1).pow(gamma.view(n, 1, 1, 1, 1)).mul(2).sub(1)


def slices(volumes: Tensor) -> Tensor:
    """[n, c, d, h, w] in any range from black = 0 -> [3 n, c, s, s]: of each the axial, the coronal and the sagittal
    slice in the middle, the head on top, filled up to squares.
    """
    d, h, w = volumes.shape[2:]
    side = max(d, h, w)
    upright = volumes.flip(2)
    parts = (volumes[:, :, d // 2], upright[:, :, :, h // 2], upright[..., w // 2])
    squares = []
    for part in parts:
        down, right = side - part.shape[2], side - part.shape[3]
        squares.append(F.pad(part, [right // 2, right - right // 2, down // 2, down - down // 2]))
    return torch.stack(squares, 1).flatten(0, 1)


def held_out_slices(held: Images, config: VolumeConfig) -> Images:
    """What snapshots are compared with: slices of held-out volumes, deformed as those that are learned."""
    rng = torch.Generator().manual_seed(SEED)
    pick = torch.arange(SHOWN) % len(held)
    parts = [deform(torch.from_numpy(held.images[i : i + 1]) / 127.5 - 1, config, rng) for i in pick.tolist()]
    pixels = slices(torch.cat(parts).add(1).mul(127.5)).round().to(torch.uint8).numpy()
    return Images(pixels, None, tuple(f"{held.names[i]}_{k}" for i in pick.tolist() for k in range(3)))


def _together(volumes: Iterable[tuple[str, Volume]], config: VolumeConfig) -> Images:
    size, spacing = [FINER * side for side in config.size], config.spacing / FINER
    placed = {name: place(volume, tuple(size), spacing) for name, volume in volumes}
    return Images(torch.stack(list(placed.values())).numpy(), None, tuple(placed))


def _either_way(n: int, rng: torch.Generator) -> Tensor:
    """[n, 3] in [-1, 1]."""
    return torch.rand(n, 3, generator=rng) * 2 - 1


def _rotation(angles: Tensor) -> Tensor:
    """About x, then y, then z by ``angles`` [n, 3] -> matrices [n, 3, 3]."""
    turn = torch.eye(3).expand(len(angles), 3, 3)
    for axis, (cos, sin) in enumerate(zip(angles.cos().unbind(1), angles.sin().unbind(1), strict=True)):
        one = torch.eye(3).repeat(len(angles), 1, 1)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        one[:, first, first], one[:, first, second] = cos, -sin
        one[:, second, first], one[:, second, second] = sin, cos
        turn = one @ turn
    return turn
