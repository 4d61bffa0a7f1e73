"""Layers of one number at a time: activations, scales and shifts, injected noise, a fixed embedding of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveFloat, PositiveInt
from medzoo.nets.layers._base import Function, Misfit, Op, Step, Values, alike, floating
from medzoo.nets.layers._tensors import Tensors, tie

# Activations without parameters.
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": F.silu, "mish": F.mish,
    "selu": F.selu, "softsign": F.softsign, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish,
    "logsigmoid": F.logsigmoid, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos, "abs": torch.abs,
    "square": torch.square, "identity": lambda x: x,
}  # fmt: skip


def _plain(name: str, function: Callable[[Tensor], Tensor]) -> type[Op]:
    def build(self: Op, tensors: Tensors) -> nn.Module:
        return Function(lambda x: function(floating(x)))

    return type(
        name, (Op,), {"op": name, "build": build, "__annotations__": {"op": ClassVar[str]}, "__module__": __name__}
    )


class LeakyRelu(Op):
    """``slope`` times what is below 0; it cannot be seen in a file (torch's default is 0.01, GANs often have 0.2)."""

    op: ClassVar[str] = "leaky_relu"
    slope: float

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: F.leaky_relu(x, self.slope))


class PRelu(Op):
    """A learned slope, for all channels or one each."""

    op: ClassVar[str] = "prelu"
    key: str

    def build(self, tensors: Tensors) -> nn.Module:
        shape = tensors.shape(self.key)
        if len(shape) != 1:
            raise Misfit(f"a PReLU needs a weight [channels], the file has {list(shape)}")
        return tensors.fill(nn.PReLU(shape[0]), self.key)


class Elu(Op):
    """Exponential below 0."""

    op: ClassVar[str] = "elu"
    alpha: float = 1.0

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: F.elu(x, self.alpha))


class Gelu(Op):
    """Exact, or by the hyperbolic tangent."""

    op: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = "none"

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: F.gelu(x, approximate=self.approximate))


class Softplus(Op):
    """Smooth ReLU."""

    op: ClassVar[str] = "softplus"
    beta: PositiveFloat = 1.0

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: F.softplus(x, self.beta))


class Softmax(Op):
    """Over one dimension, the channels by default."""

    op: ClassVar[str] = "softmax"
    dim: int = 0

    def build(self, tensors: Tensors) -> nn.Module:
        from medzoo.nets.layers._base import dims

        return Function(lambda x: x.softmax(dims(x, self.dim)))


class Clamp(Op):
    """Cut off below ``low`` and above ``high``."""

    op: ClassVar[str] = "clamp"
    low: float | None = None
    high: float | None = None

    def build(self, tensors: Tensors) -> nn.Module:
        if self.low is None and self.high is None:
            raise Misfit("clamp needs 'low', 'high' or both")
        return Function(lambda x: x.clamp(self.low, self.high))


class Scale(Op):
    """Times ``by``: a number, or the tensor ``key`` of the file (``key`` is its whole name)."""

    op: ClassVar[str] = "scale"
    by: float | None = None
    key: str | None = None

    def build(self, tensors: Tensors) -> nn.Module:
        return _with(tensors, self.by, self.key, torch.mul)


class Shift(Op):
    """Plus ``by``: a number, or the tensor ``key`` of the file (``key`` is its whole name)."""

    op: ClassVar[str] = "shift"
    by: float | None = None
    key: str | None = None

    def build(self, tensors: Tensors) -> nn.Module:
        return _with(tensors, self.by, self.key, torch.add)


class Constant(Op):
    """The tensor ``key`` of the file, the same for each sample, in place of what comes in."""

    op: ClassVar[str] = "constant"
    key: str

    def build(self, tensors: Tensors) -> nn.Module:
        return _with(tensors, None, self.key, _instead)


class Noise(Op):
    """Plus N(0, 1) of each sample's own, times ``by`` or the tensor ``key``; a map for all channels unless ``each``."""

    op: ClassVar[str] = "noise"
    by: float | None = None
    key: str | None = None
    each: bool = False

    def build(self, tensors: Tensors) -> nn.Module:
        return _Noise(_with(tensors, self.by, self.key, torch.mul), self.each)


class Dropout(Op):
    """As in training where ``on`` is true (some authors sample so), else nothing; drawn from each sample's noise."""

    op: ClassVar[str] = "dropout"
    p: Annotated[float, Field(ge=0, lt=1)] = 0.5
    on: bool = False
    channels: bool = False  # whole channels

    def build(self, tensors: Tensors) -> nn.Module:
        return _Dropout(self.p, self.channels) if self.on and self.p else nn.Identity()


class Sinusoidal(Op):
    """Numbers [], for example times -> [width]: sines and cosines of them times falling frequencies.

    Attributes:
        period: the longest, divided by 2 pi.
        ends: whether the last frequency is 1 / period itself (a divisor of width / 2 - 1) or comes before it.
        first: which of the two comes first.
        scale: of the numbers.
    """

    op: ClassVar[str] = "sinusoidal"
    width: Annotated[int, Field(ge=4, le=65536, multiple_of=2)]
    period: PositiveFloat = 10000.0
    ends: bool = False
    first: Literal["sin", "cos"] = "sin"
    scale: float = 1.0

    def build(self, tensors: Tensors) -> nn.Module:
        half = self.width // 2

        def embedded(x: Tensor) -> Tensor:
            steps = torch.arange(half, device=x.device, dtype=torch.float32)
            frequencies = torch.exp(steps * (-math.log(self.period) / (half - self.ends)))
            angles = x.float().reshape(len(x), 1) * self.scale * frequencies
            waves = (angles.sin(), angles.cos()) if self.first == "sin" else (angles.cos(), angles.sin())
            return torch.cat(waves, 1).to(x.dtype if x.is_floating_point() else torch.get_default_dtype())

        return Function(embedded)


class Repeated(Op):
    """The same numbers several times behind each other, over the last dimension."""

    op: ClassVar[str] = "tile"
    times: PositiveInt

    def build(self, tensors: Tensors) -> nn.Module:
        return Function(lambda x: x.repeat(*(1,) * (x.dim() - 1), self.times))


class _Noise(Step):
    def __init__(self, scaled: nn.Module, each: bool) -> None:
        super().__init__()
        self.scaled, self.each = scaled, each

    def forward(self, x: Tensor, values: Values) -> Tensor:
        shape = x.shape[1:] if self.each else (1, *x.shape[2:])
        drawn: Tensor = self.scaled(values.normal(x, shape))
        return x + drawn


class _Dropout(Step):
    def __init__(self, p: float, channels: bool) -> None:
        super().__init__()
        self.p, self.channels = p, channels

    def forward(self, x: Tensor, values: Values) -> Tensor:
        shape = (x.shape[1], *(1,) * (x.dim() - 2)) if self.channels else x.shape[1:]
        kept = values.uniform(x, shape) >= self.p
        return x * kept / (1 - self.p)


class _With(nn.Module):
    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.value, self.function = nn.Parameter(torch.empty(shape)), function

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.value
        if value.dim() == 1 and x.dim() > 2 and x.shape[-1] != len(value):
            value = alike(x, value[None])  # one for each channel
        elif value.dim() == x.dim() - 1:
            value = value[None]
        combined = self.function(floating(x), value)
        if combined.shape[0] != len(x) or combined.dim() != x.dim() and self.function is not _instead:
            raise Misfit(f"a tensor {list(self.value.shape)} does not fit")
        return combined


def _with(tensors: Tensors, by: float | None, key: str | None, function: Callable[[Any, Any], Tensor]) -> nn.Module:
    if (by is None) == (key is None):
        raise Misfit("state one of 'by' (a number) and 'key' (a tensor of the file)")
    if key is None:
        return Function(lambda x: function(floating(x), by))
    source = tensors.source(key, "")
    module = _With(tensors.shape(key, ""), function)
    tie(module, {"value": source})
    return module


def _instead(x: Tensor, value: Tensor) -> Tensor:
    value = value if value.shape[0] == 1 else value[None]
    return value.expand(len(x), *value.shape[1:])


OPS = (
    *(_plain(name, function) for name, function in PLAIN.items()),
    LeakyRelu, PRelu, Elu, Gelu, Softplus, Softmax, Clamp, Scale, Shift, Constant, Noise, Dropout, Sinusoidal, Repeated,
)  # fmt: skip
