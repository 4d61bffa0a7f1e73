"""Samples as one moving picture: a GIF that says it is synthetic."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medzoo.errors import SavingError
from medzoo.files.whole import disk_errors, write_bytes
from medzoo.samples import Samples
from medzoo.samples.formats._base import made_by, origin
from medzoo.samples.sheet import cell, slices

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 128  # pixels of the longer side, below which pictures are enlarged by a whole factor


def write_gif(samples: Samples, path: str | Path, *, fps: float = 10.0, masks: bool = True, back: bool = False) -> Path:
    """Write a GIF, whole or not at all; see ``Samples.gif``."""
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise SavingError(f"'{path}' must end with .gif")
    if not 0.1 <= fps <= 50:
        raise SavingError(f"a GIF shows 0.1 to 50 pictures a second, found {fps}")
    frames = _frames(samples, masks)
    frames += frames[-2:0:-1] if back else []
    stream = io.BytesIO()
    frames[0].save(
        stream, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0,
        comment=_words(samples),
    )  # fmt: skip
    with disk_errors(path, SavingError):
        write_bytes(path, stream.getvalue())
    return path


def _frames(samples: Samples, masks: bool) -> list[Image]:
    """One picture a sample; of a single volume one a slice, from the first to the last."""
    from PIL import Image

    if not len(samples):
        raise ValueError("no samples to draw")
    if samples.images.ndim == 5 and len(samples) == 1:
        samples = slices(samples, np.arange(samples.images.shape[2]))
    pictures = [cell(samples, i, masks and samples.masks is not None) for i in range(len(samples))]
    if all((picture[:, :, :1] == picture).all() for picture in pictures):
        pictures = [picture[:, :, 0] for picture in pictures]  # 256 greys, all of which a GIF holds
    times = max(1, -(-SMALLEST // max(pictures[0].shape[:2])))
    return [Image.fromarray(picture.repeat(times, 0).repeat(times, 1)) for picture in pictures]


def _words(samples: Samples) -> bytes:
    record = {**origin(samples, 0), "index": samples.indices.tolist()}
    if samples.condition is not None:
        record["condition"] = f"{samples.condition[0]} ... {samples.condition[-1]}"
    return f"{made_by(record)} {json.dumps(record)}".strip().encode()[:60_000]
