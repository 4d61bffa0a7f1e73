"""Noisy pictures of discs with their masks, and short trainings, for the tests of metrics that train networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medzoo.metrics import View
from medzoo.metrics._arms import Schedule

TINY = Schedule(side=16, widths=(8, 16), steps=40, batch=8, rate=1e-2, seeds=2)
ONCE = replace(TINY, seeds=1)
BRIEF = replace(ONCE, steps=2)


def discs(seed: int, n: int = 40, height: int = 24, width: int = 24) -> View:
    """Noisy grey images of a bright disc, and the disc."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(6, (height - 6, width - 6), (n, 2))
    inside = np.hypot(y - centre[:, :1, None], x - centre[:, 1:, None]) < rng.uniform(3, 6, n)[:, None, None]
    images = 60 + 90 * inside + rng.normal(0, 20, inside.shape)
    return View(images.clip(0, 255).astype(np.uint8)[:, None], inside[:, None].astype(np.uint8))


def shifted(view: View, pixels: int) -> View:
    """The same images with their masks in another place."""
    assert view.masks is not None
    return View(view.images, np.roll(view.masks, (pixels, pixels), axis=(2, 3)))


TRAINING, HELD_OUT, SYNTHETIC = discs(0), discs(1), discs(2, 80)
