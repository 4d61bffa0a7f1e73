"""Samples in a notebook: a sheet that is large enough to see, and where they come from."""

from __future__ import annotations

import io

import numpy as np

from medzoo import cards
from medzoo.samples import Samples
from medzoo.samples.sheet import slices

SHOWN, VOLUMES, SLICES = 16, 3, 8


def html(samples: Samples) -> str:
    """HTML of the first samples; of each of the first volumes a row of slices, evenly spaced through the depth."""
    kind = "volumes" if samples.images.ndim == 5 else "images"
    about = f"{len(samples)} synthetic {kind}, {samples.model_id}, revision {samples.revision}, seed {samples.seed}"
    if not len(samples):
        return cards.figure(about, [], None, width=0, alt="")
    shown = samples[: VOLUMES if samples.images.ndim == 5 else SHOWN]
    ids = ", ".join(map(str, shown.indices)) + (", ..." if len(shown) < len(samples) else "")
    lines = [f"index {ids}"]
    if samples.images.ndim == 5:
        depth = samples.images.shape[2]
        at = np.linspace(0, depth - 1, min(depth, SLICES) + 2).round().astype(int)[1:-1] if depth > 2 else [0]
        lines.append(f"slices {', '.join(map(str, at))} of {depth}; save a single volume as .gif() to see all")
        shown = slices(shown, np.asarray(at))
    columns = len(shown.images) // min(len(samples), VOLUMES) if samples.images.ndim == 5 else None
    sheet = shown.grid(columns, size=128, captions=samples.images.ndim == 4)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return cards.figure(about, lines, stream.getvalue(), width=sheet.width, alt="synthetic")
