"""A wide FastGAN generator, made narrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.training.recipes._narrow import narrow, wider
from tests.tools.training import quiet, small_config, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def network(ngf: int, size: int = 128, nc: int = 4, nz: int = 6) -> Network:
    torch.manual_seed(ngf)
    made = Network(ngf, nz, nc, size)
    made.reset()
    for value in made.parameters():
        if value.dim() == 1:  # scales and offsets of norms, strengths of noise
            value.data = torch.rand(value.shape) + 0.5
    for name, buffer in made.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return made.eval()


def shown(one: Network, size: int) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    z = torch.randn(2, one.nz, generator=rng)
    noise = [torch.randn(2, *shape, generator=rng) for shape in noise_shapes(size)]
    with torch.no_grad():
        return torch.cat([image.flatten(1) for image in one.images(z, noise)], 1)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_channels_that_do_nothing_are_the_ones_to_go(size: int) -> None:
    """A network of 8 channels hidden in one of 12, whose other channels are nil: cut down, it paints the same."""
    small, large = network(8, size), network(12, size)
    inner, outer = small.state_dict(), large.state_dict()
    rng = torch.Generator().manual_seed(0)
    places: dict[tuple[int, int], Tensor] = {}  # by widths: any order, the same for every layer that shares a map

    def place(few: int, many: int) -> Tensor:
        if few == many:
            return torch.arange(many)
        return places.setdefault((few, many), torch.randperm(many, generator=rng)[:few].sort().values)

    for name, value in inner.items():
        hidden = torch.zeros_like(outer[name])
        where = []
        for axis, (few, many) in enumerate(zip(value.shape, hidden.shape, strict=True)):
            doubled = axis == (1 if name.startswith("init.init.0.weight_orig") else 0) and not name.startswith(
                ("se_", "to_")
            )
            half = place(few // 2, many // 2) if doubled and few != many else place(few, many)
            where.append(torch.cat([half, half + many // 2]) if doubled and few != many else half)
        if name.endswith("weight_v") and value.shape != hidden.shape:
            inputs = inner[name.replace("_v", "_orig")].shape[1]
            taps = len(value) // inputs
            kept = place(inputs, len(hidden) // taps)
            hidden.view(-1, taps)[kept] = value.view(-1, taps)
        elif value.dim():
            hidden[torch.meshgrid(*where, indexing="ij")] = value
        else:
            hidden = value
        outer[name] = hidden
    assert wider(outer, small)
    cut = narrow(outer, small)
    again = network(8, size)
    again.load_state_dict(cut)
    torch.testing.assert_close(shown(again, size), shown(small, size))


def test_only_a_wider_one_of_the_same_kind() -> None:
    small = network(8)
    assert wider(network(10).state_dict(), small)
    for other in (network(8), network(10, nc=3), network(10, nz=5), network(10, size=256), network(8)):
        assert not wider(other.state_dict(), small)
    assert not wider(small.state_dict(), network(10))


def test_a_run_begins_with_a_wider_one(tmp_path: Path) -> None:
    images = Images(np.zeros((4, 3, 128, 128), np.uint8), np.zeros((4, 1, 128, 128), np.uint8), ("a", "b", "c", "d"))
    changes = {"size": 128, "masks": True, "batch": 2, "steps": 1}
    first = small_trainer(
        small_config("fastgan", **changes, config={"ngf": 10, "nz": 6}), images, tmp_path / "first", None
    )
    first.run(quiet)
    start, small = str(tmp_path / "first"), {"ngf": 8, "nz": 6}
    second = small_trainer(
        small_config("fastgan", **changes, start=start, config=small), images, tmp_path / "second", None
    )
    assert second.learner.generator.get_parameter("to_big.weight_orig").shape == (4, 8, 3, 3)
    wide = first.learner.generator.get_parameter("to_big.weight_orig")
    narrow = second.learner.generator.get_parameter("to_big.weight_orig")
    assert all(any(torch.equal(narrow[:, c], wide[:, k]) for k in range(10)) for c in range(8))
    second.run(quiet)
    with pytest.raises(TrainingError, match="the generator of .*first does not fit"):
        config = small_config("fastgan", **changes, start=start, config={"ngf": 12, "nz": 6})
        small_trainer(config, images, tmp_path / "third")
