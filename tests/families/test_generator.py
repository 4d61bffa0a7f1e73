"""What every generator does with raw output, classes, buffers and batch norm, and what it refuses."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medzoo.entry import Entry
from medzoo.errors import ConditionError, EntryError, GenerationError
from medzoo.families import FamilyConfig, Given
from medzoo.nets import BatchNorm2d
from medzoo.randomness import Noise
from tests.tools.fixed_family import Fixed


@pytest.fixture
def fixed(tiny_entry: Callable[..., Entry]) -> Callable[..., Fixed]:
    return lambda **changes: Fixed(tiny_entry(**{"config": {}} | changes), {}, device="cpu")


def test_raw_values_are_scaled_clipped_and_cut(fixed: Callable[..., Fixed]) -> None:
    output = {"type": "image+mask", "size": [1, 4], "channels": 1, "masks": 1, "range": [-1.0, 3.0], "spacing": None}
    generator = fixed(output=output)
    generator.raw = torch.tensor([[[[-2.0, -1.0, 1.0, 5.0]], [[0.9, 1.0, 1.1, -9.0]]]])
    samples = generator.generate(1)
    assert samples.images.tolist() == [[[[0.0, 0.0, 0.5, 1.0]]]]
    assert samples.masks is not None and samples.masks.tolist() == [[[[0, 0, 1, 0]]]]


def test_numbers_that_are_not_finite_name_their_samples(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.raw = torch.zeros(4, 1, 8, 8)
    generator.raw[1, 0, 3, 3], generator.raw[3, 0, 0, 0] = float("nan"), float("inf")
    with pytest.raises(GenerationError, match="99001_TINY.*not finite for index 101, 103 in float32"):
        generator.generate(4, start=100, batch_size=4)


def test_a_wrong_shape_is_told_with_both(fixed: Callable[..., Fixed]) -> None:
    generator = fixed()
    generator.raw = torch.zeros(4, 3, 8, 8)
    with pytest.raises(GenerationError, match=r"states output \[2, 1, 8, 8\].*the network gave \[2, 3, 8, 8\]"):
        generator.generate(2, batch_size=2)


CLASSES = {
    "kind": "class", "classes": ["benign", "malignant"], "inputs": None, "channels": None, "attributes": None,
    "required": True, "about": None,
}  # fmt: skip


def test_classes_by_name_index_and_sequence(fixed: Callable[..., Fixed]) -> None:
    generator = fixed(condition=CLASSES)
    for condition in (1, "1", "malignant", "Malignant", np.int64(1), ["malignant"] * 3, (1, "1", 1), np.ones(3, int)):
        samples = generator.generate(3, condition)
        assert generator.asked.labels is not None and generator.asked.labels.tolist() == [1, 1, 1]
        assert samples.labels is not None and samples.labels.tolist() == [1, 1, 1]
        assert samples.condition == ("malignant",) * 3
    parts = list(generator.stream(3, [0, "malignant", 0], batch_size=2))
    assert [part.condition for part in parts] == [("benign", "malignant"), ("benign",)]
    empty = generator.generate(0, "benign")
    assert empty.labels is not None and len(empty.labels) == 0 and empty.condition == ()
    optional = fixed(condition=CLASSES | {"required": False})
    drawn = optional.generate(40, seed=3)
    assert drawn.labels is not None and set(drawn.labels) == {0, 1}  # each sample draws its own, and says so
    assert drawn.condition == tuple(CLASSES["classes"][label] for label in drawn.labels)
    assert optional.generate(5, seed=3, start=7, batch_size=2).condition == drawn.condition[7:12]


def test_only_some_of_the_samples(fixed: Callable[..., Fixed]) -> None:
    """What a killed run has left: conditions stay with their samples."""
    generator = fixed(condition=CLASSES)
    labels = [0, 1, 1, 0, 1, 0]
    left = [range(11, 13), range(15, 16)]
    parts = list(generator.stream(6, labels, start=10, among=left, batch_size=8))
    assert [part.indices.tolist() for part in parts] == [[11, 12], [15]]
    assert [part.labels.tolist() for part in parts if part.labels is not None] == [[1, 1], [0]]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"needs a class: benign \(0\), malignant \(1\)"),
        ("cyst", "no class 'cyst'; it takes benign"),
        (2, "no class 2"),
        (-1, "no class -1"),
        (True, "no class True"),
        ([0, 0], "3 samples need 3 classes, one for all, or different ones in turn, found 2, some of them twice"),
        ([0, 1, 0, 1], "3 samples need 3 classes, one for all, or different ones in turn, found 4;"),
        ([0, 1, 0.5], "0.5 is no class"),
        (0.5, "3 samples need 3 classes"),
    ],
)
def test_wrong_classes_say_what_is_right(fixed: Callable[..., Fixed], condition: Any, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        fixed(condition=CLASSES).generate(3, condition)


def test_one_class_for_a_million_takes_no_memory(fixed: Callable[..., Fixed]) -> None:
    generator = fixed(condition=CLASSES)
    tracemalloc.start()
    first = next(generator.stream(10**8, "malignant", batch_size=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert first.condition == ("malignant",) * 2 and first.labels is not None and first.labels.tolist() == [1, 1]
    assert peak < 10**6


def test_a_network_that_computes_buffers_of_its_own_keeps_them(tiny_entry: Callable[..., Entry]) -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.empty(1))
            self.place: torch.Tensor
            self.register_buffer("place", torch.arange(64.0).reshape(8, 8) / 64, persistent=False)

    class Family(Fixed):
        def build(self) -> nn.Module:
            return Positions()

        def sample_batch(self, noise: Noise, given: Given) -> torch.Tensor:
            assert isinstance(self.network, Positions)
            return (self.network.gain * self.network.place).expand(len(noise), 1, 8, 8)

    generator = Family(tiny_entry(config={}), {"gain": torch.ones(1)}, device="cpu")
    assert generator.generate(1).images.max() == 63 / 64


# --- what the base checks for every family ----------------------------------------------------------------------------


class Normed(Fixed):
    """A network with one batch norm, of torch or of medzoo."""

    norm: type[nn.Module] = BatchNorm2d

    def build(self) -> nn.Module:
        return nn.Sequential(self.norm(1))


class TorchNormed(Normed):
    norm = nn.BatchNorm2d


SAMPLE = {"latent": "normal", "norm_stats": "sample"}


def test_statistics_of_each_sample_need_the_batch_norm_that_has_them(tiny_entry: Callable[..., Entry]) -> None:
    state = {name: tensor for name, tensor in nn.Sequential(BatchNorm2d(1)).state_dict().items()}
    message = (
        "99001_TINY: 'sampling.norm_stats: sample' has no effect on 0, which is torch's own BatchNorm2d; .*"
        r"medzoo\.nets\.BatchNorm2d"
    )
    with pytest.raises(EntryError, match=message):
        TorchNormed(tiny_entry(config={}, sampling=SAMPLE), state, device="cpu")
    TorchNormed(tiny_entry(config={}), state, device="cpu")
    (norm,) = Normed(tiny_entry(config={}, sampling=SAMPLE), state, device="cpu").network.children()
    assert isinstance(norm, BatchNorm2d) and norm.stats == "sample"


def test_lists_of_a_config_are_tuples_at_every_depth() -> None:
    class Config(FamilyConfig):
        sizes: tuple[tuple[int, int], ...]

    config = Config.model_validate({"sizes": [[1, 2], [3, 4]]})
    assert config.sizes == ((1, 2), (3, 4))
    assert hash(config) == hash(Config(sizes=((1, 2), (3, 4))))


class OfTwoClasses(Fixed):
    kinds = ("class",)

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        return {"kind": "class", "classes": ("0", "1")}


class Unconditional(Fixed):
    kinds = ()


@pytest.mark.parametrize(
    ("family", "condition", "message"),
    [
        (Unconditional, CLASSES, "'condition' is of kind 'class', and the network takes no condition; remove it"),
        (OfTwoClasses, {"kind": "mask", "inputs": ["organ"]}, "is of kind 'mask', and family 'monai_gan' takes class"),
        (OfTwoClasses, CLASSES | {"classes": ["a", "b", "c"]}, "names 3 classes, the network has 2"),
    ],
)
def test_conditions_that_the_network_does_not_take(
    tiny_entry: Callable[..., Entry], family: type[Fixed], condition: dict[str, Any], message: str
) -> None:
    with pytest.raises(EntryError, match=f"99001_TINY: .*{message}"):
        family(tiny_entry(config={}, condition=condition), {}, device="cpu")


def test_what_the_network_needs_and_nobody_gave(tiny_entry: Callable[..., Entry]) -> None:
    generator = OfTwoClasses(tiny_entry(config={}), {}, device="cpu")
    with pytest.raises(ConditionError, match=r"99001_TINY needs a class: 0 \(0\), 1 \(1\); declare it as 'condition'"):
        generator.generate(1)
    declared = OfTwoClasses(tiny_entry(config={}, condition=CLASSES), {}, device="cpu")
    with pytest.raises(ConditionError, match=r"99001_TINY needs a class: benign \(0\), malignant \(1\)$"):
        declared.decode(None, Given())
    assert declared.decode(None, Given(labels=torch.tensor([1]))).shape == (1, 1, 8, 8)
