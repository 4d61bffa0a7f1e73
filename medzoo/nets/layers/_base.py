"""What one layer of a described network is: its fields, its tensors in a file, and the module that they make.

Dimensions are counted without the batch, so that no layer can see another sample: 0 is the channels of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from medzoo.entry import Record
from medzoo.nets.layers._tensors import Misfit as Misfit
from medzoo.nets.layers._tensors import Tensors
from medzoo.text import first_line

if TYPE_CHECKING:
    from medzoo.randomness import Noise


@dataclass
class Values:
    """What the layers of one pass see beside the map that they are given.

    Attributes:
        named: what goes in, and what ``save`` kept, by name: [B, ...] each.
        noise: where injected draws come from; None while shapes are traced.
        traced: called with each map, and its place, while shapes are traced; None when the network runs.
    """

    named: dict[str, Tensor]
    noise: Noise | None = None
    traced: Callable[[Tensor, str], None] | None = None

    def get(self, name: str) -> Tensor:
        """Raises Misfit: nothing has that name."""
        if name not in self.named:
            there = ", ".join(self.named) or "nothing"
            raise Misfit(f"there is no '{name}' here; what has a name: {there}")
        return self.named[name]

    def normal(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """The next injected draw N(0, 1) of every sample, [B, *shape]."""
        return like.new_empty(len(like), *shape) if self.noise is None else self.noise.normal(shape).to(like)

    def uniform(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """The next injected draw U[0, 1) of every sample, [B, *shape]."""
        return like.new_empty(len(like), *shape) if self.noise is None else self.noise.uniform(shape).to(like)


class Op(Record):
    """One kind of layer: the fields that a list of layers states of it.

    A subclass names itself (``op``) and writes ``build``.
    """

    op: ClassVar[str]

    def build(self, tensors: Tensors) -> nn.Module:
        """The module, untrained: a ``Step``, or one of torch that takes and gives one map.

        Args:
            tensors: those of the file, by name; ``tensors.fill`` says where the parameters of a module come from.

        Raises Misfit: the file does not hold what the layer needs.
        """
        raise NotImplementedError

    def inner(self) -> Mapping[str, tuple[Any, ...]]:
        """The fields that hold layers themselves, with what they hold."""
        return {}

    @property
    def words(self) -> str:
        """The layer in an error: its kind, and its name in the file where it has one."""
        key = getattr(self, "key", None)
        return self.op if key is None else f"{self.op} '{key}'"


class Step(nn.Module):
    """A module that sees the named values beside the map."""

    def forward(self, x: Tensor, values: Values) -> Tensor:
        raise NotImplementedError


class Function(nn.Module):
    """A layer without tensors."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@dataclass(frozen=True)
class Placed:
    """A layer and where it stands, such as ``layers[3]``."""

    place: str
    layer: Op
    inner: Mapping[str, tuple[Placed, ...]] = field(default_factory=dict)


class Chain(Step):
    """Layers one after the other."""

    def __init__(self, places: Sequence[str], modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.places, self.steps = tuple(places), nn.ModuleList(modules)

    def forward(self, x: Tensor, values: Values) -> Tensor:
        if values.traced is not None:
            return self._trace(x, values)
        for step in self.steps:
            x = step(x, values) if isinstance(step, Step) else step(x)
        return x

    def _trace(self, x: Tensor, values: Values) -> Tensor:
        assert values.traced is not None
        for place, step in zip(self.places, self.steps, strict=True):
            gets = f"{place}, which gets {list(x.shape[1:])}: "
            try:
                x = step(x, values) if isinstance(step, Step) else step(x)
            except Misfit as error:
                raise error.at(gets) from None
            except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, OverflowError) as error:
                raise Misfit(first_line(error), gets) from error
            values.traced(x, place)
        return x


def dims(x: Tensor, dim: int) -> int:
    """A dimension counted without the batch -> torch's. Raises Misfit: a map has no such dimension."""
    count = x.dim() - 1
    if not -count <= dim < count:
        raise Misfit(f"there is no dimension {dim} (the batch is not counted)")
    return dim % count + 1


def alike(x: Tensor, other: Tensor) -> Tensor:
    """``other`` with further dimensions of one at its end, as many as ``x`` has: numbers a channel for a map."""
    return other.reshape(*other.shape, *(1,) * (x.dim() - other.dim())) if 1 < other.dim() < x.dim() else other


def floating(x: Tensor) -> Tensor:
    """As floating point: classes are whole numbers."""
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())
