"""The tensors of a file as layers ask for them: by name, spectral and weight norm taken out, each accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.text import nearest

Shape = tuple[int, ...]


class Misfit(ValueError):
    """A list of layers that makes no network of the tensors at hand; the message names the layer and what it found.

    Args:
        place: of the layer, such as ``layers[3] (linear 'fc1')``; None where the chain that holds it adds one.
    """

    def __init__(self, why: str, place: str | None = None) -> None:
        super().__init__(why if place is None else f"{place}{why}")
        self.place = place

    def at(self, place: str) -> Misfit:
        """The same with a place; that of a layer within stays."""
        return self if self.place is not None else Misfit(str(self), place)


@dataclass(frozen=True)
class Source:
    """Where the numbers of one parameter come from.

    Attributes:
        keys: names in the file.
        how: ``plain``, ``spectral`` (weight, u and v if they are there) or ``weight_norm`` (gain and direction).
        across: dimension of the weight that spectral norm calls its output.
    """

    keys: tuple[str, ...]
    how: str = "plain"
    across: int = 0

    def read(self, state: Mapping[str, Tensor]) -> Tensor:
        """The numbers."""
        first, *more = (state[key] for key in self.keys)
        if self.how == "spectral":
            return _divided(first, more, self.across)
        if self.how == "weight_norm":
            gain, direction = first, more[0]
            whole = [d for d in range(direction.dim()) if gain.dim() and gain.shape[d] == 1 and direction.shape[d] > 1]
            whole = whole if gain.dim() else list(range(direction.dim()))
            return direction * (gain / torch.linalg.vector_norm(direction, dim=whole or None, keepdim=gain.dim() > 0))
        return first


class Tensors:
    """Names and shapes of a file's tensors, and which of them layers have asked for.

    Args:
        shapes: by name.
    """

    # Names of the norms of torch that lie on a weight, and of their newer form.
    SPECTRAL: ClassVar = (
        ("{}_orig", "{}_u", "{}_v"),
        ("parametrizations.{}.original", "parametrizations.{}.0._u", "parametrizations.{}.0._v"),
    )
    WEIGHT_NORM: ClassVar = (
        ("{}_g", "{}_v"),
        ("parametrizations.{}.original0", "parametrizations.{}.original1"),
    )

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes, self.used = shapes, set[str]()

    def has(self, key: str, leaf: str = "weight") -> bool:
        """Whether the file holds ``key.leaf``, in any form."""
        return self._find(key, leaf, 0) is not None

    def shape(self, key: str, leaf: str = "weight") -> Shape:
        """Of ``key.leaf``. Raises Misfit: the file does not hold it."""
        source = self.source(key, leaf)
        return self.shapes[source.keys[-1] if source.how == "weight_norm" else source.keys[0]]

    def source(self, key: str, leaf: str = "weight", across: int = 0) -> Source:
        """Where ``key.leaf`` comes from, or ``key`` itself for an empty leaf. Raises Misfit: the file does not hold it.

        Args:
            across: dimension of the weight that is the output, for spectral norm: 1 for transposed convolutions.
        """
        found = self._find(key, leaf, across)
        if found is None:
            name = f"{key}.{leaf}" if leaf else key
            near = nearest(name, self.shapes, most=3, cutoff=0.5)
            raise Misfit(f"the file holds no '{name}'" + (f"; closest: {', '.join(near)}" if near else ""))
        self.used.update(found.keys)
        return found

    def fill(self, module: nn.Module, key: str, across: int = 0) -> nn.Module:
        """The module, with each of its parameters and buffers tied to ``key.<name>``. Raises Misfit: one is missing."""
        names = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
        sources = {}
        for name in names:
            if name == "num_batches_tracked" and not self.has(key, name):
                continue  # files of before torch 0.4.1 have none
            sources[name] = self.source(key, name, across)
        tie(module, sources)
        return module

    def _find(self, key: str, leaf: str, across: int) -> Source | None:
        name = f"{key}.{leaf}" if leaf else key
        if name in self.shapes:
            return Source((name,))
        head, _, last = name.rpartition(".")
        head = f"{head}." if head else ""
        for pattern in self.SPECTRAL:
            keys = tuple(head + part.format(last) for part in pattern)
            if keys[0] in self.shapes and (keys[1] in self.shapes):
                return Source(tuple(k for k in keys if k in self.shapes), "spectral", across)
        for pair in self.WEIGHT_NORM:
            keys = tuple(head + part.format(last) for part in pair)
            if all(k in self.shapes for k in keys):
                return Source(keys, "weight_norm")
        return None


def tie(module: nn.Module, sources: Mapping[str, Source]) -> None:
    """Remember where the parameters of a module come from; ``tied`` finds them again."""
    module.sources = dict(sources)  # type: ignore[assignment]


def tied(network: nn.Module) -> dict[str, Source]:
    """Where each parameter and buffer of a network comes from, by its name in the network."""
    found: dict[str, Source] = {}
    for place, module in network.named_modules():
        for name, source in getattr(module, "sources", {}).items():
            found[f"{place}.{name}" if place else name] = source
    return found


def _divided(weight: Tensor, vectors: list[Tensor], across: int) -> Tensor:
    """A weight divided by its largest singular value, as torch's spectral norm does in eval mode."""
    matrix = weight.transpose(0, across).flatten(1)
    u = vectors[0]
    v = vectors[1] if len(vectors) > 1 else F.normalize(matrix.t() @ u, dim=0, eps=1e-12)
    return weight / torch.dot(u, matrix @ v)
