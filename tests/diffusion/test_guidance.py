"""Guidance: the equation, one call of the network for both halves, and what is replaced in the one without."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medzoo.diffusion.guidance import Conditioning, guided

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
T = torch.tensor(3)


class Network:
    """Adds the class to x; its learned variance is the class, too."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Conditioning]] = []

    def __call__(self, x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
        self.calls.append((len(x), condition))
        assert condition.labels is not None
        bias = condition.labels[:, None, None, None].to(x.dtype)
        return torch.cat([x + bias, bias.expand_as(x)], 1)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.5])
def test_guidance_is_one_call_of_twice_the_batch(scale: float) -> None:
    network, condition = Network(), Conditioning(labels=torch.tensor([1, 2]))
    out = guided(network, condition, condition.without(labels=5), scale)(X, T)
    ((rows, both),) = network.calls
    assert rows == 4 and both.labels is not None and both.labels.tolist() == [5, 5, 1, 2]
    labels = torch.tensor([1.0, 2.0])[:, None, None, None]
    torch.testing.assert_close(out[:, :3], X + 5 + scale * (labels - 5))
    assert torch.equal(out[:, 3:], labels.expand(2, 3, 4, 4))  # the variance is that of the condition


@pytest.mark.parametrize("scale", [None, 1, 1.0])
def test_without_guidance_the_batch_goes_through_once(scale: float | None) -> None:
    network, condition = Network(), Conditioning(labels=torch.tensor([1, 2]))
    out = guided(network, condition, condition.without(labels=5), scale)(X, T)
    assert network.calls == [(2, condition)] and torch.equal(out[:, :3], X + condition.labels[:, None, None, None])  # type: ignore[index]


def test_a_difference_is_taken_in_float32() -> None:
    condition = Conditioning(labels=torch.tensor([1, 2]))
    assert guided(Network(), condition, condition.without(labels=5), 2.0)(X.bfloat16(), T).dtype == torch.float32


def test_what_is_replaced() -> None:
    context, control = torch.randn(2, 5, 6), torch.randn(2, 1, 8, 8)
    condition = Conditioning(labels=torch.tensor([1, 2]), context=context, control=control)
    empty = torch.randn(2, 5, 6)
    without = condition.without(labels=7, context=empty, joined=-1.0)
    assert without.labels is not None and without.labels.dtype == torch.int64 and without.labels.tolist() == [7, 7]
    assert without.context is empty and without.control is control
    assert without.joined is None  # nothing to replace
    assert condition.without() == condition  # the fields themselves


def test_batches_are_concatenated_field_by_field() -> None:
    first = Conditioning(labels=torch.tensor([1]), joined=torch.zeros(1, 2, 4, 4))
    second = Conditioning(labels=torch.tensor([2, 3]), joined=torch.ones(2, 2, 4, 4))
    both = first.concatenated(second)
    assert both.labels is not None and both.labels.tolist() == [1, 2, 3]
    assert both.joined is not None and both.joined[:, 0, 0, 0].tolist() == [0, 1, 1]
    assert both.context is None and both.control is None
