"""Pictures of discs in folders, and benchmarks of them that take seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medzoo import results
from medzoo.bench import benchmark
from medzoo.bench.references import blur, noisy
from medzoo.files.png import encode_png

SIZE = 16
QUICK = ("frechet", "kernel", "memorisation", "spectrum")


def discs(n: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on a dark ground, uint8 [n, 3, size, size], and their masks: as many as one likes of one kind."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    centre, radius = rng.uniform(0.3, 0.7, (2, n, 1, 1)), rng.uniform(0.1, 0.25, (n, 1, 1))
    masks = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)[:, None]
    ground = rng.uniform(20, 120, (n, 3, 4, 4)).repeat(size // 4, 2).repeat(size // 4, 3)  # no two alike
    ground += rng.normal(0, 5, ground.shape)
    return (ground + 110 * masks).clip(0, 255).astype(np.uint8), masks.astype(np.uint8)


def save(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        (folder / f"{i:04d}.png").write_bytes(encode_png(np.ascontiguousarray(image.transpose(1, 2, 0)), {}))
    return folder


def save_generators(folder: Path) -> dict[str, Path]:
    """Real images of two splits, and four generators: a good one, a blurred one, one that copies, one that repeats."""
    training, held, fresh = (discs(n, seed)[0] for n, seed in ((48, 0), (40, 1), (48, 2)))
    return {
        "training": save(folder / "training", training),
        "real": save(folder / "held", held),
        "good": save(folder / "good", fresh),
        "blurred": save(folder / "blurred", blur(fresh, 2.0)),
        "copying": save(folder / "copying", noisy(training, 0.004)),
        "repeating": save(folder / "repeating", fresh[:3].repeat(16, 0)),
    }


def run(folders: Mapping[str, Path], out: Path, *fakes: str, only: tuple[str, ...] = QUICK, **more: Any) -> Any:
    options: dict[str, Any] = {"real": folders["real"], "training": folders["training"], "size": SIZE, "only": only}
    options |= {
        "fake": [folders[name] for name in fakes],
        "features": ["pixels"],
        "out": out,
        "progress": False,
        **more,
    }
    return benchmark(**options)


def values(result: results.Result) -> dict[str, float | None]:
    return {score.name: score.value for score in result.scores}
