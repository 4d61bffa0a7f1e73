"""A run of samples that indices decide, written as the command writes one, and processes that are killed on the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medzoo.samples import Samples
from medzoo.samples.saving import Run, Writer

RUN = Run("99001_TINY", "0" * 12, "f" * 64, 7, 10, None, "float32", 4, "png")
N = 18  # samples of a run: four whole batches and a part


def batch(indices: range, masks: bool = True, size: int = 8, **changes: Any) -> Samples:
    """Samples that their indices decide, like a model's."""
    images = np.stack([np.random.default_rng(i).random((3, size, size), np.float32) for i in indices])
    fields: dict[str, Any] = {
        "images": images, "indices": np.array(indices), "seed": 7, "model_id": "99001_TINY", "revision": "0" * 12,
        "weights_sha256": "f" * 64, "masks": (images[:, :1] > 0.5).astype(np.uint8) if masks else None,
    }  # fmt: skip
    return Samples(**fields | changes)


def write(folder: Path, n: int = N, run: Run = RUN, **options: Any) -> list[int]:
    """A run of ``n`` samples as the command line makes one; gives the indices computed."""
    computed: list[int] = []
    with Writer(folder, run, **options) as writer:
        for part in writer.pending(n):
            for first in range(part.start, part.stop, run.batch_size):
                indices = range(first, min(first + run.batch_size, part.stop))
                computed += indices
                writer.put(batch(indices))
    return computed


def content(folder: Path) -> dict[str, bytes]:
    """Path of a file inside the folder -> its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_child(action: Callable[[], Any]) -> int:
    """Run in a forked child that ends without any clean-up; gives its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(
    step: int, folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run = RUN, **options: Any
) -> Callable[[], None]:
    """Writes the run, and is killed at the given step of those that touch the disk."""

    def action() -> None:
        count = iter(range(10**6))

        def deadly(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*arguments: Any, **named: Any) -> Any:
                if next(count) == step:
                    os.kill(os.getpid(), 9)
                return real(*arguments, **named)

            return call

        for name in ("fsync", "replace", "fstat"):
            monkeypatch.setattr(os, name, deadly(name))
        write(folder, run=run, resume=True, **options)

    return action
