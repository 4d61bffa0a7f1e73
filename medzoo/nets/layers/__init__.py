"""A network described as a list of layers, in order: shapes from the tensors of a file, functions from the list.

    - {op: linear, key: fc3}
    - relu
    - {op: linear, key: fc4}
    - sigmoid
    - {op: view, shape: [1, 28, 28]}

A layer is a mapping with its ``op`` and fields, or the bare name of one without fields. ``key`` is the name that the
file has; dimensions are counted without the batch. See ``docs/layers.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from medzoo import limits
from medzoo.errors import EntryError, problems
from medzoo.nets.layers import _flow, _norms, _pointwise, _products, _shapes
from medzoo.nets.layers._base import Chain, Misfit, Op, Placed, Step, Values
from medzoo.nets.layers._tensors import Shape, Tensors, tied
from medzoo.text import did_you_mean, first_line

__all__ = ["OPS", "Described", "Misfit", "Placed", "Values", "parse"]

OPS: dict[str, type[Op]] = {
    kind.op: kind for module in (_products, _norms, _shapes, _pointwise, _flow) for kind in module.OPS
}
_DEPTH = 20
_BATCH = 3  # samples while shapes are traced: a number that layers rarely have themselves


def parse(layers: Sequence[Any], where: str = "layers") -> tuple[Placed, ...]:
    """The layers of a list, each checked and with its place; repetitions unrolled.

    Raises Misfit: a layer is of no known kind, or its fields are wrong.
    """
    if where.count("[") > _DEPTH:
        raise Misfit(f"{where[:60]}...: layers within layers are at most {_DEPTH} deep")
    found: list[Placed] = []
    for i, stated in enumerate(layers):
        place = f"{where}[{i}]"
        layer = _layer(stated, place)
        if isinstance(layer, _flow.Repeat):
            for number in range(layer.times):
                counted = _counted(layer.layers, layer.first + number * layer.step)
                found += parse(counted, f"{place}.layers")
                _check_count(len(found), where)
            continue
        inner = {name: parse(held, f"{place}.{name}") for name, held in layer.inner().items()}
        found.append(Placed(f"{place} ({layer.words})", layer, inner))
    _check_count(_count(found), where)
    return tuple(found)


class Described(nn.Module):
    """The network of a list of layers: named values -> one map [B, C, ...].

    Args:
        layers: what ``parse`` made of the list.
        shapes: of the tensors of the file, by name.
        first: name of the value that the first layer gets.

    Attributes:
        used: names of the file's tensors that the layers use.

    Raises Misfit: the tensors do not give what the layers need.
    """

    def __init__(self, layers: Sequence[Placed], shapes: Mapping[str, Shape], first: str = "latent") -> None:
        super().__init__()
        if not layers:
            raise Misfit("layers: the list is empty")
        tensors = Tensors(shapes)
        self.first, self.chain = first, _chain(layers, tensors)
        self.used = frozenset(tensors.used)

    def forward(self, values: Values) -> Tensor:
        made: Tensor = self.chain(values.get(self.first), values)
        return made

    def trace(self, inputs: Mapping[str, tuple[Shape, torch.dtype]]) -> tuple[Shape, int]:
        """Shape of what one sample becomes, and the floating-point operations of one, without computing anything.

        Args:
            inputs: shape and type of each named value, without the batch. The network must lie on the meta device.

        Raises Misfit (shapes that do not meet: the layer, and what it gets) or EntryError (more numbers, going in or in
        between, or operations than ``medzoo.limits`` allow).
        """
        from torch.utils.flop_counter import FlopCounterMode

        for name, (shape, _) in inputs.items():
            limits.check("layer_values", math.prod(shape), name, EntryError)
        named = {
            name: torch.empty((_BATCH, *shape), dtype=dtype, device="meta") for name, (shape, dtype) in inputs.items()
        }
        counter = FlopCounterMode(display=False)

        def traced(x: Tensor, place: str) -> None:
            if x.dim() < 1 or len(x) != _BATCH:
                raise Misfit(f"{place} does not keep samples apart")
            limits.check("layer_values", x.numel() // _BATCH, place, EntryError)
            limits.check("sample_flops", counter.get_total_flops() // _BATCH, place, EntryError)

        with counter:
            made = self(Values(named, traced=traced))
        return tuple(made.shape[1:]), counter.get_total_flops() // _BATCH

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The file's tensors under the names of this network, spectral and weight norm taken out."""
        return {name: source.read(state) for name, source in tied(self).items()}


def _layer(stated: Any, place: str) -> Op:
    fields = {"op": stated} if isinstance(stated, str) else stated
    if not isinstance(fields, Mapping) or not isinstance(fields.get("op"), str):
        raise Misfit(f"{place}: expected a layer, such as relu or {{op: linear, key: fc1}}, found {str(stated)[:100]}")
    name = fields["op"]
    if name not in OPS:
        meant = did_you_mean(name, OPS) or f"; known: {', '.join(sorted(OPS))}"
        raise Misfit(f"{place}: there is no layer '{name[:60]}'{meant}")
    try:
        return OPS[name].model_validate({key: value for key, value in fields.items() if key != "op"})
    except ValidationError as error:
        known = ", ".join(OPS[name].model_fields)
        found = "; ".join(problems(error, record=OPS[name]))
        raise Misfit(f"{place} ({name}): {found}; fields of {name}: {known or 'none'}") from None


def _chain(placed: Sequence[Placed], tensors: Tensors) -> Chain:
    modules = []
    for one in placed:
        try:
            if one.inner:
                chains: dict[str, Step] = {name: _chain(held, tensors) for name, held in one.inner.items()}
                modules.append(_flow.combine(one.layer, chains))
            else:
                modules.append(one.layer.build(tensors))
        except Misfit as error:
            raise error.at(f"{one.place}: ") from None
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise Misfit(first_line(error), f"{one.place}: ") from error
    return Chain([one.place for one in placed], modules)


def _counted(value: Any, number: int) -> Any:
    """Layers with the number in place of ``{i}``."""
    if isinstance(value, str):
        return value.replace("{i}", str(number))
    if isinstance(value, Mapping):
        return {key: _counted(item, number) for key, item in value.items()}
    return tuple(_counted(item, number) for item in value) if isinstance(value, list | tuple) else value


def _count(placed: Sequence[Placed]) -> int:
    return sum(1 + sum(map(_count, one.inner.values())) for one in placed)


def _check_count(count: int, where: str) -> None:
    limits.check("layers", count, where, EntryError)
