"""A narrower FastGAN generator from a wider one: its strongest channels, for a model that has to be small.

A short training afterwards makes up for the rest. A channel is as strong as what the layers after it read from it: the
squared scale of its normalisation times its share of their squared weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medzoo.families.fastgan import EXCITES, NOISY, Network


def narrow(state: Mapping[str, Tensor], network: Network) -> dict[str, Tensor]:
    """The ``state`` of a wider network, of the same latent and image channels, in the shapes of ``network``."""
    cut, wanted = dict(state), network.state_dict()
    for one in _maps(network):
        width, wide = (len(found[f"{one.norm}.weight"]) // 2 for found in (wanted, cut))
        kept = _strength(cut, one, wide).topk(width).indices.sort().values
        both = torch.cat([kept, kept + wide])  # values, and their gates
        _cut_out(cut, one.made, both)
        for part in ("weight", "bias", "running_mean", "running_var"):
            cut[f"{one.norm}.{part}"] = cut[f"{one.norm}.{part}"][both]
        for name in one.gates:
            _cut_out(cut, f"{name}.1", kept)
            _cut_in(cut, f"{name}.3", kept)
            _cut_out(cut, f"{name}.3", kept)
        for name in one.read:
            _cut_in(cut, name, kept)
    return cut


def wider(state: Mapping[str, Tensor], network: Network) -> bool:
    """Whether ``state`` is that of a generator which differs from ``network`` in more channels alone."""
    wanted = network.state_dict()
    same = ("init.init.0.weight_orig", 0), ("to_big.weight_orig", 0)  # the latent, the channels of an image
    return (
        state.keys() == wanted.keys()
        and all(state[name].shape[axis] == wanted[name].shape[axis] for name, axis in same)
        and all(state[f"{one.norm}.weight"].shape > wanted[f"{one.norm}.weight"].shape for one in _maps(network))
    )


@dataclass(frozen=True)
class _Map:
    """A map between layers: names of the convolution and norm that make it, of its gates and of what reads it."""

    made: str
    norm: str
    gates: tuple[str, ...]
    read: tuple[str, ...]


def _maps(network: Network) -> Iterator[_Map]:
    for size in (4, *network.sizes):
        read = [f"feat_{2 * size}.1"] if 2 * size in network.sizes else []
        read += [f"se_{large}.main.1" for large, small in EXCITES.items() if small == size and large in network.sizes]
        read += [f"to_{size}"] if size == network.small_size else []
        read += ["to_big"] if size == network.im_size else []
        gates = (f"se_{size}.main",) if size in EXCITES else ()
        block = f"feat_{size}"
        if size == 4:
            yield _Map("init.init.0", "init.init.1", gates, tuple(read))
        elif size in NOISY:
            yield _Map(f"{block}.1", f"{block}.3", (), (f"{block}.5",))
            yield _Map(f"{block}.5", f"{block}.7", gates, tuple(read))
        else:
            yield _Map(f"{block}.1", f"{block}.2", gates, tuple(read))


def _strength(state: Mapping[str, Tensor], one: _Map, wide: int) -> Tensor:
    """Of each channel of a map, [wide]."""
    shares = torch.zeros(wide)
    for name in one.read:
        squares = state[f"{name}.weight_orig"].square().sum((0, 2, 3))
        shares += squares / squares.sum()
    return shares * state[f"{one.norm}.weight"][:wide].square()


def _cut_out(state: dict[str, Tensor], name: str, kept: Tensor) -> None:
    axis = 1 if name == "init.init.0" else 0  # the transposed one
    state[f"{name}.weight_orig"] = state[f"{name}.weight_orig"].index_select(axis, kept)
    state[f"{name}.weight_u"] = state[f"{name}.weight_u"][kept]


def _cut_in(state: dict[str, Tensor], name: str, kept: Tensor) -> None:
    weight = state[f"{name}.weight_orig"]
    state[f"{name}.weight_v"] = state[f"{name}.weight_v"].view(weight.shape[1], -1)[kept].flatten()
    state[f"{name}.weight_orig"] = weight[:, kept]
