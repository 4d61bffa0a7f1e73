"""Walks through the latents of a model: pictures between samples."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import zoo
from medzoo.arguments import hinted
from medzoo.errors import GenerationError
from medzoo.progress import Progress
from medzoo.samples import Samples

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from medzoo.families._base import Generator


@hinted({"n": "it is 'steps' pictures from each sample to the next"})
def interpolate(
    model: str | int | Path | Generator,
    indices: Sequence[int],
    steps: int = 30,
    condition: Any = None,
    *,
    seed: int = 0,
    closed: bool = False,
    device: str | torch.device | None = None,
    precision: str | torch.dtype = "float32",
    progress: bool | Progress | None = None,
) -> Samples:
    """Pictures on the way from one sample of a model to the next: ``interpolate("10001", [3, 17]).gif("walk.gif")``.

    Normal latents are turned into each other along the great circle (Shoemake 1985), so that every one in between is
    as long as latents are; uniform ones go straight. Noise that a network injects is that of the first sample
    throughout.

    Args:
        model: what ``medzoo.load`` takes, or a loaded model.
        indices: of the samples to pass, two at least, in this order.
        steps: pictures from each sample to the next, both included; 2 at least.
        condition: as ``medzoo.generate`` takes it: one for all pictures, or one for each.
        seed: of the samples.
        closed: go back to the first sample, whose picture is not repeated.
        device, precision: of a model that is not loaded yet.
        progress: as ``medzoo.generate`` takes it.

    Returns:
        Samples numbered 0, 1, ... of no seed, whose ``condition`` says what lies where.

    Raises GenerationError: a model without latents, too few indices or steps; else as ``medzoo.generate`` does.
    """
    generator = zoo.load(model, device=device, precision=precision) if isinstance(model, str | int | Path) else model
    stops = [*indices, indices[0]] if closed and len(indices) else list(indices)
    if len(stops) < 2 or isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise GenerationError(
            f"a walk needs two samples and two steps, found indices {list(indices)} and steps {steps}"
        )
    ends = generator.latents(stops, seed)
    straight = generator.entry.sampling.latent == "uniform"
    rows: list[Tensor] = []
    words: list[str] = []
    for leg, ((one, other), (first, second)) in enumerate(
        zip(itertools.pairwise(ends), itertools.pairwise(stops), strict=True)
    ):
        last = closed and leg == len(stops) - 2
        for step in range(1 if leg else 0, steps - 1 if last else steps):
            share = step / (steps - 1)
            rows.append(_between(one, other, share, straight))
            words.append(f"{share:.3g} of the way from sample {first} to {second} of seed {seed}")
    import torch

    walk = generator.samples(torch.stack(rows), condition, seed=seed, indices=[stops[0]] * len(rows), progress=progress)
    stated = walk.condition or ("",) * len(walk)
    return replace(walk, condition=tuple(", ".join(filter(None, pair)) for pair in zip(stated, words, strict=True)))


def _between(one: Tensor, other: Tensor, share: float, straight: bool) -> Tensor:
    """A latent at ``share`` of the way: 0 gives one, 1 the other."""
    if straight or share in (0, 1):
        return one.lerp(other, share)
    cosine = (one * other).sum() / (one.norm() * other.norm())
    angle = cosine.clamp(-1, 1).acos()
    if angle.sin() < 1e-3:  # the same, or opposite, direction
        return one.lerp(other, share)
    bent: Tensor = (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
    return bent
