"""Export of a FastGAN run: the files, the entry, and that the zoo makes the images that were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import medzoo
from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.training import heldout
from medzoo.training.config import parse
from medzoo.training.data import About
from medzoo.training.export import LARGEST, Exported, export
from medzoo.training.heldout import HeldOut
from medzoo.training.recipes import Facts
from tests.tools.training import FASTGAN, mean_features, quiet, small_trainer

MODEL = "99001_FASTGAN_TINY"
ABOUT = About("tiny", "Tiny frames", "endoscopy", "colon", "CC0-1.0", "nobody", 6, True, Facts(3, 1, None))


def make_images(n: int, seed: int = 0) -> Images:
    """Frames of 128 px with a rectangle each as mask."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, 3, 4, 4), dtype=np.uint8).repeat(32, 2).repeat(32, 3)
    masks = np.zeros((n, 1, 128, 128), np.uint8)
    for i in range(n):
        masks[i, :, 32:96, 32 : 64 + 4 * i] = 1
    return Images(pixels, masks, tuple(f"i{i}" for i in range(n)))


@pytest.fixture
def measure(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> HeldOut:
    """Distances to three held-out images, in features that need no weights."""
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)
    return HeldOut(make_images(3, seed=1))


@pytest.fixture
def run(tmp_path: Path, measure: HeldOut) -> Path:
    """A run of four steps with two measurements."""
    folder = tmp_path / "run"
    assert small_trainer(parse(FASTGAN), make_images(6), folder, measure).run(quiet)
    return folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
    return folder


def exported(run: Path, registry: Path, measure: HeldOut, **options: Any) -> Exported:
    """With few batches for the statistics of batch norm."""
    return export(run, MODEL, registry, measure, ABOUT, batches=2, batch=4, **options)


def test_the_zoo_makes_the_images_that_were_measured(run: Path, registry: Path, measure: HeldOut) -> None:
    """The same samples of the exported numbers, rounded, fused and read back."""
    done = exported(run, registry, measure, half=True)
    assert set(done.scores) == {"averaged", "recalibrated"}
    assert done.chosen == min(done.scores, key=lambda name: done.scores[name]["kid"])
    samples = medzoo.generate(MODEL, 2, seed=0)
    assert samples.images.shape == (2, 3, 128, 128) and samples.masks.shape == (2, 1, 128, 128)
    measured = measure(np.rint(samples.images * 255).astype(np.uint8))
    assert measured["kid"] == pytest.approx(done.scores[done.chosen]["kid"], abs=1e-4)


def test_the_entry_is_drafted_once(run: Path, registry: Path, measure: HeldOut) -> None:
    first = exported(run, registry, measure)
    entry = medzoo.info(MODEL)
    assert (entry.output.size, entry.output.masks, entry.training_data.images) == ((128, 128), 1, 6)
    first.entry.write_bytes(before := first.entry.read_bytes() + b"# completed by hand\n")
    second = exported(run, registry, measure, checkpoint="latest")
    assert (first.drafted, second.drafted) == (True, False) and second.step == 4
    assert first.entry.read_bytes() == before


def test_statistics_are_kept_where_new_ones_are_no_better(run: Path, registry: Path, measure: HeldOut) -> None:
    """The first candidate that is measured is the average as it is."""
    scores = iter([0.1, 0.2])
    scripted: Any = lambda images, masks: {"kid": next(scores)}  # noqa: E731
    done = exported(run, registry, scripted)
    assert done.chosen == "averaged" and done.scores == {"averaged": {"kid": 0.1}, "recalibrated": {"kid": 0.2}}
    from safetensors.torch import load_file

    best = load_file(run / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in load_file(done.weights).items())


@pytest.mark.parametrize(("half", "hint"), [(False, "try --half"), (True, "take a narrower network")])
def test_weights_too_large_to_come_along(run: Path, registry: Path, measure: HeldOut, half: bool, hint: str) -> None:
    assert LARGEST == 12_000_000
    with pytest.raises(TrainingError, match=f"a model that comes along may take 0.001 MB; {hint}"):
        exported(run, registry, measure, half=half, largest=1000)
    assert not list(registry.iterdir())
