"""Training runs for tests: tiny configurations and images, runs that are killed, and saved states to compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from medzoo.cli import main
from medzoo.datasets import Images
from medzoo.files.png import encode_png
from medzoo.training.config import TrainConfig, parse
from medzoo.training.data import About
from medzoo.training.export import export
from medzoo.training.loggers import Logger
from medzoo.training.recipes import Facts
from medzoo.training.trainer import Trainer

# A FastGAN small enough for tests.
FASTGAN: dict[str, Any] = {
    "family": "fastgan", "dataset": "tiny", "size": 128, "masks": True, "config": {"ngf": 8, "nz": 8},
    "critic": {"ndf": 4}, "techniques": [{"name": "diffaugment", "policy": ["color", "translation"]}],
    "steps": 4, "batch": 2, "snapshot": 2, "held": {"every": 2, "samples": 2},
}  # fmt: skip


# --- configurations and images ---------------------------------------------------------------------------------------


def small_config(family: str, **changes: Any) -> Any:
    """Three steps of a DCGAN, or of a family with the same fields, at 16 px."""
    fields = {
        "family": family, "dataset": "tiny", "size": 16, "masks": False, "config": {"ngf": 4, "nz": 5},
        "critic": {"ndf": 4}, "steps": 3, "batch": 4, "snapshot": 2,
    }  # fmt: skip
    return parse(fields | changes)


def two_classes(n: int = 9, channels: int = 1) -> Images:
    """Pictures of 16 px with masks in two classes: six bright ones (b) of nine, the rest dark (a)."""
    rng = np.random.default_rng(0)
    labels = (np.arange(n) % 3 > 0).astype(np.int64)
    pixels = rng.integers(0, 100, (n, channels, 16, 16)) + 150 * labels[:, None, None, None]
    masks = rng.integers(0, 2, (n, 1, 16, 16)).astype(np.uint8)
    return Images(pixels.astype(np.uint8), masks, tuple(f"i{i}" for i in range(n)), labels, ("a", "b"))


def slopes(n: int = 12) -> Images:
    """Grey slopes of 28 px: dark ones of class a that rise, bright ones of class b that fall; masks of their rows."""
    labels = np.arange(n) % 2
    across = np.arange(28) - 13.5
    rows = 128 + (2 * labels[:, None] - 1) * (70 - 2 * across + np.arange(n)[:, None])
    pixels = np.broadcast_to(rows[:, None, None], (n, 1, 28, 28)).astype(np.uint8)
    masks = np.broadcast_to((across > 0).astype(np.uint8), pixels.shape)
    names = tuple(f"i{i}" for i in range(n))
    return Images(pixels.copy(), masks.copy(), names, labels.astype(np.int64), ("a", "b"))


def write_folder(folder: Path, images: Images, *, classes: bool, masks: bool) -> Path:
    """PNG files of the images: a folder a class, or ``images/`` beside ``masks/``, or all in one."""
    for i, pixels in enumerate(images.images):
        place = folder / (images.classes[images.labels[i]] if classes else "images" if masks else "")  # type: ignore[index]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(encode_png(pixels.transpose(1, 2, 0), {}))
        if masks:
            assert images.masks is not None
            (folder / "masks").mkdir(exist_ok=True)
            (folder / "masks" / f"{i}.png").write_bytes(encode_png(images.masks[i].transpose(1, 2, 0) * 255, {}))
    return folder


def mean_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stand in for a pretrained extractor: the mean of each channel in each quadrant, [n, 4 c]."""
    assert images.dtype == np.uint8
    blocks = images.reshape(len(images), images.shape[1], 2, images.shape[2] // 2, 2, -1)
    return blocks.mean((3, 5)).reshape(len(images), -1).astype(np.float32) / 255


# --- runs ------------------------------------------------------------------------------------------------------------


def small_trainer(
    config: TrainConfig,
    images: Images,
    folder: Path,
    held_out: Any = None,
    device: torch.device | None = None,
    loggers: Sequence[Logger] = (),
) -> Trainer:
    """A trainer with pictures of two samples and a line of the log a step."""
    return Trainer(config, images, folder, held_out, device, loggers, grid=2, log_every=1)


def quiet(step: int, losses: dict[str, float]) -> None:
    """Reports nothing."""


class Killed(Exception):
    """Ends a run between two instructions, as ``kill -9`` does: nothing is saved, nothing is closed."""


def kill_at(last: int) -> Callable[[int, dict[str, float]], None]:
    """A report that kills the run after step ``last``."""

    def report(step: int, losses: dict[str, float]) -> None:
        if step == last:
            raise Killed

    return report


def load(path: Path) -> dict[str, Any]:
    """A saved state."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def assert_same(one: Any, other: Any) -> None:
    """Two saved states are equal to the last bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def export_slopes(folder: Path, config: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model made of the run in ``folder / "run"`` on :func:`slopes`, in a registry of its own."""
    registry, model = folder / "registry", f"99002_{config.family.upper()}_TOY"
    registry.mkdir()
    about = About("toy", "Slopes", "unknown", None, None, None, 12, None, Facts(1, 0, ("a", "b")))
    export(folder / "run", model, registry, lambda *pictures: {"kid": 0.5}, about, checkpoint="latest")  # type: ignore[arg-type]
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
    return model


# --- the world around ------------------------------------------------------------------------------------------------


def medzoo_(*args: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in args])


def install_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str) -> None:
    """An installed package that adds ``name`` to an entry-point group: ``value`` is ``package.module:attribute``."""
    metadata = folder / f"plugin_{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(folder))
