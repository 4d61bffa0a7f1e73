"""Convolutions from fewer products and norms from fewer passes, against torch's own in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from medzoo.nets import winograd
from medzoo.nets.statistics import group_norm, instance_norm_, moments
from medzoo.nets.winograd import Winograd


def random(*shape: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(*shape)


@pytest.mark.parametrize(
    ("inp", "out", "height", "width", "padding"), [(64, 64, 32, 32, 1), (64, 80, 41, 38, 0), (72, 64, 35, 34, 2)]
)
def test_a_convolution_of_tiles(inp: int, out: int, height: int, width: int, padding: int) -> None:
    weight, bias, x = (
        random(out, inp, 3, 3) / (3 * inp**0.5),
        random(out, seed=1),
        random(2, inp, height, width, seed=2),
    )
    layer = Winograd(weight, bias, padding, slope=0.2)
    assert layer.mixed is not None
    found = layer(x.to(memory_format=torch.channels_last))
    expected = F.leaky_relu(F.conv2d(x.double(), weight.double(), bias.double(), padding=padding), 0.2)
    direct = F.leaky_relu(F.conv2d(x, weight, bias, padding=padding), 0.2)
    error, usual = (float((one - expected).square().mean().sqrt()) for one in (found, direct))
    assert error < 5 * usual and (found - expected).abs().max() < 2e-5
    alone = layer(x[1:].contiguous())
    torch.testing.assert_close(alone, found[1:], atol=1e-5, rtol=0)  # whatever the batch and the memory format


def test_small_and_narrow_convolutions_are_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Tensor:
        raise AssertionError("tiles")

    monkeypatch.setattr(winograd.Winograd, "tiled", refuse)
    for channels, side, kernel in ((64, 16, 3), (8, 40, 3), (64, 40, 5)):
        weight, x = random(channels, channels, kernel, kernel), random(1, channels, side, side)
        found = Winograd(weight, padding=kernel // 2)(x)
        expected = F.conv2d(x, weight, padding=kernel // 2)
        torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.std()), rtol=0)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 41), (8, 8)])
def test_moments(height: int, width: int) -> None:
    """Far from zero, where sums of squares lose their digits."""
    x = (random(2, 5, height, width) + 30).to(memory_format=torch.channels_last)
    mean, variance = moments(x)
    torch.testing.assert_close(mean.double(), x.double().mean((2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), x.double().var((2, 3), correction=0), rtol=2e-5, atol=0)


def test_norms() -> None:
    x = (random(2, 8, 64, 48) * 3 + 7).to(memory_format=torch.channels_last)
    weight, bias = random(8, seed=1), random(8, seed=2)
    expected = F.group_norm(x.double(), 4, weight.double(), bias.double(), 1e-5)
    torch.testing.assert_close(group_norm(x, 4, weight, bias, 1e-5).double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(instance_norm_(x.clone()).double(), F.instance_norm(x.double()), atol=1e-5, rtol=0)
