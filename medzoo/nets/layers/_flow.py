"""Layers made of layers: residuals, named values, branches that join, repetition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from medzoo.nets.layers._base import Misfit, Op, Step, Values, alike, dims, floating
from medzoo.nets.layers._tensors import Tensors


class Residual(Op):
    """``scale * layers(x) + x``, or ``+ shortcut(x)``."""

    op: ClassVar[str] = "residual"
    layers: tuple[Any, ...]
    shortcut: tuple[Any, ...] = ()
    scale: float = 1.0

    def inner(self) -> Mapping[str, tuple[Any, ...]]:
        return {"layers": self.layers, "shortcut": self.shortcut}


class Repeat(Op):
    """The same layers ``times`` times; ``{i}`` in their keys and names counts from ``first`` on.

    Unrolled when the list is read, so no module is made of it.
    """

    op: ClassVar[str] = "repeat"
    times: Annotated[int, Field(ge=1, le=1000)]
    layers: tuple[Any, ...]
    first: int = 0
    step: int = 1


class Save(Op):
    """Keep what comes in under a name, and pass it on."""

    op: ClassVar[str] = "save"
    value: str

    def build(self, tensors: Tensors) -> nn.Module:
        return _Save(self.value)


class Use(Op):
    """The value of that name, in place of what comes in: one that goes into the network, such as ``latent`` or
    ``label``, or what ``save`` or ``branch`` kept.
    """

    op: ClassVar[str] = "use"
    value: str

    def build(self, tensors: Tensors) -> nn.Module:
        return _Use(self.value)


class _Joining(Op):
    """What comes in, and a second value: that of a name, or what ``layers`` make of what comes in."""

    value: str | None = None
    layers: tuple[Any, ...] = ()

    def inner(self) -> Mapping[str, tuple[Any, ...]]:
        return {"layers": self.layers}


class Add(_Joining):
    """The sum; a value [C] is added at each position of a map [C, ...]."""

    op: ClassVar[str] = "add"


class Subtract(_Joining):
    """The difference."""

    op: ClassVar[str] = "subtract"


class Multiply(_Joining):
    """The product; a value [C] holds at each position of a map [C, ...]."""

    op: ClassVar[str] = "multiply"


class Cat(_Joining):
    """Both behind each other along ``dim``; the second value first where ``before`` is true."""

    op: ClassVar[str] = "cat"
    dim: int = 0
    before: bool = False


class Branch(Op):
    """``layers`` of what comes in, kept under the name ``value``; what comes in is passed on."""

    op: ClassVar[str] = "branch"
    value: str
    layers: tuple[Any, ...]

    def inner(self) -> Mapping[str, tuple[Any, ...]]:
        return {"layers": self.layers}


def combine(layer: Op, chains: Mapping[str, Step]) -> nn.Module:
    """The module of a layer that holds layers."""
    if isinstance(layer, Residual):
        return _Residual(chains["layers"], chains["shortcut"] if layer.shortcut else None, layer.scale)
    if isinstance(layer, Branch):
        return _Branch(layer.value, chains["layers"])
    if isinstance(layer, _Joining):
        if (layer.value is None) == (not layer.layers):
            raise Misfit(f"{layer.op} needs one of 'value' (a name) and 'layers'")
        return _Join(layer, chains["layers"] if layer.layers else None)
    raise AssertionError(layer)


class _Residual(Step):
    def __init__(self, body: Step, shortcut: Step | None, scale: float) -> None:
        super().__init__()
        self.body, self.shortcut, self.scale = body, shortcut, scale

    def forward(self, x: Tensor, values: Values) -> Tensor:
        other = x if self.shortcut is None else self.shortcut(x, values)
        made = self.body(x, values)
        if made.shape != other.shape:
            raise Misfit(f"the layers give {list(made.shape[1:])}, to be added to {list(other.shape[1:])}")
        summed: Tensor = other + (made if self.scale == 1 else made * self.scale)
        return summed


class _Save(Step):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor, values: Values) -> Tensor:
        values.named[self.name] = x
        return x


class _Use(Step):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor, values: Values) -> Tensor:
        return values.get(self.name)


class _Branch(Step):
    def __init__(self, name: str, chain: Step) -> None:
        super().__init__()
        self.name, self.chain = name, chain

    def forward(self, x: Tensor, values: Values) -> Tensor:
        values.named[self.name] = self.chain(x, values)
        return x


class _Join(Step):
    def __init__(self, layer: _Joining, chain: Step | None) -> None:
        super().__init__()
        self.layer, self.chain = layer, chain

    def forward(self, x: Tensor, values: Values) -> Tensor:
        layer = self.layer
        assert self.chain is not None or layer.value is not None
        other = self.chain(x, values) if self.chain is not None else values.get(layer.value or "")
        x = floating(x)
        other = floating(other).to(x.dtype)
        if isinstance(layer, Cat):
            parts = (other, x) if layer.before else (x, other)
            return torch.cat(parts, dims(x, layer.dim))
        x, other = alike(other, x), alike(x, other)
        if len(x) != len(other) or not _broadcast(x.shape[1:], other.shape[1:]):
            raise Misfit(f"{list(other.shape[1:])} does not fit it")
        if isinstance(layer, Add):
            return x + other
        return x - other if isinstance(layer, Subtract) else x * other


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(a == b or 1 in (a, b) for a, b in zip(one, other, strict=True))


OPS = (Residual, Repeat, Save, Use, Add, Subtract, Multiply, Cat, Branch)
