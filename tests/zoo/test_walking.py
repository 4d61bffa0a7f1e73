"""interpolate: pictures between samples; Generator.samples: explicit latents as Samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import medzoo
from medzoo.errors import ArgumentError, GenerationError, SavingError
from medzoo.zoo.walking import _between
from tests.conftest import masked

AddModel = Callable[..., str]


def test_explicit_latents_give_what_the_seed_gives(add_model: AddModel) -> None:
    generator = medzoo.load(add_model(**masked()))
    samples = generator.generate(5, seed=2)
    made = generator.samples(generator.latents([4, 1], seed=2), seed=2, indices=[4, 1], batch_size=1)
    np.testing.assert_allclose(made.images, samples[[4, 1]].images, atol=1e-5)
    assert made.masks is not None and made.indices.tolist() == [0, 1] and made.seed is None
    assert len(generator.samples(generator.latents([]))) == 0
    with pytest.raises(GenerationError, match="latents must be"):
        generator.samples(torch.zeros(2, 3))
    with pytest.raises(GenerationError, match="2 latents need as many indices, found 1"):
        generator.samples(generator.latents([1, 2]), indices=[1])


def test_a_walk_begins_and_ends_at_samples(add_model: AddModel) -> None:
    model_id = add_model()
    samples = medzoo.generate(model_id, 8)
    walk = medzoo.interpolate(model_id, [3, 7, 0], 4)
    np.testing.assert_allclose(walk[[0, 3, 6]].images, samples[[3, 7, 0]].images, atol=1e-5)
    assert len(walk) == 7 and walk.condition is not None
    assert walk.condition[1] == "0.333 of the way from sample 3 to 7 of seed 0"
    assert len(medzoo.interpolate(medzoo.load(model_id), [3, 7], 4, closed=True)) == 6
    for indices, steps in (([3], 4), ([], 4), ([3, 7], 1)):
        with pytest.raises(GenerationError, match="a walk needs two samples and two steps"):
            medzoo.interpolate(model_id, indices, steps)
    with pytest.raises(ArgumentError, match="'steps' pictures"):
        medzoo.interpolate(model_id, [3, 7], num_samples=4)  # type: ignore[call-arg]


def test_a_path_is_a_model_here_too(add_model: AddModel) -> None:
    path = medzoo.catalog.resolve(add_model()).path
    assert path is not None
    walk = medzoo.interpolate(path, [3, 7], 2)
    np.testing.assert_allclose(walk.images, medzoo.generate(path, 8)[[3, 7]].images, atol=1e-5)


def test_normal_latents_keep_their_length() -> None:
    one, other = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    middle = _between(one, other, 0.5, straight=False)
    assert abs(middle.norm() / one.norm() - 1) < 0.03 and _between(one, other, 0.5, straight=True).norm() < 50
    for share, end in ((0, one), (1, other)):
        assert torch.equal(_between(one, other, share, straight=False), end)
    torch.testing.assert_close(_between(one, one, 0.5, straight=False), one)


def test_a_moving_picture(add_model: AddModel, tmp_path: Path) -> None:
    walk = medzoo.interpolate(add_model(**masked()), [3, 7], 4)
    path = walk.gif(tmp_path / "walk.gif", back=True)
    with Image.open(path) as picture:
        assert picture.n_frames == 6 and picture.size == (128, 64)  # type: ignore[attr-defined]
        assert b"Synthetic image made by 99001_TINY" in picture.info["comment"]
    with pytest.raises(SavingError, match=r"must end with \.gif"):
        walk.gif(tmp_path / "walk.mp4")
    with pytest.raises(ValueError, match="no samples"):
        walk[:0].gif(path)


def test_a_single_volume_is_shown_slice_by_slice(tmp_path: Path) -> None:
    images = np.linspace(0, 1, 5, dtype=np.float32)[None, None, :, None, None] * np.ones((1, 1, 5, 64, 70), np.float32)
    volume = medzoo.Samples(images, np.arange(1), masks=(images > 0.5).astype(np.uint8))
    with Image.open(volume.gif(tmp_path / "volume.gif", masks=False)) as picture:
        assert picture.n_frames == 5 and picture.size == (140, 128)  # type: ignore[attr-defined]
        picture.seek(4)
        assert np.asarray(picture.convert("L")).min() == 255
