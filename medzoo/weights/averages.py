"""Averaged weights (EMA, SWA, ...) in a file: what they are called, and how they replace those before averaging.

Forms that people publish: a state dict under a name of its own, whole or of the parameters alone; the same with the
prefix of a wrapper (``module.``, torch's ``AveragedModel``, ema_pytorch); names without dots (LitEma of latent
diffusion); a list in the order of ``parameters()``, with or without buffers (FastGAN, diffusers' ``EMAModel``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from medzoo.weights.pickles import Array, Refused, children, settled

# Entries of a state dict that are no parameters, by the names that torch gives them: statistics of batch
# norm, and the vectors of spectral norm's power iteration.
BUFFER = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|\w+_u|\w+_v)$")
_AVERAGED = frozenset(
    ("ema", "ewma", "shadow", "avg", "average", "averaged", "averages", "averaging", "swa", "smooth", "smoothed")
    + ("polyak", "teacher", "gs", "running", "moving")
)
# What lies beside averaged weights in the object or wrapper that keeps them, and is not averaged.
_RAW = frozenset(("online", "student", "backup", "collected", "raw", "live"))
_ALONE = ("ema", "avg", "swa", "shadow")  # that are also written together with another word: gema, modelema
_TOGETHER = frozenset(
    ("g", "gen", "generator", "net", "netg", "model", "unet", "decoder", "weights", "weight", "params", "state", "dict")
)
_OTHER_NETWORKS = frozenset(
    ("d", "dis", "disc", "netd", "discriminator", "discriminators", "critic", "optimizer", "optim", "opt", "scheduler")
    + ("loss", "criterion", "lpips", "vgg", "inception")
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# How much of a network averaged weights may leave out: buffers of unusual names, and frozen parameters.
_NAMES, _NUMBERS = 0.8, 0.9
# Buffers cannot have dots in their names, so that modules that keep averaged weights take them out or replace them.
_FOR_DOTS = (".", "", "_", "-")
_DEEPEST = 6  # names in front of one


def words(name: str) -> list[str]:
    """The words of a name in small letters: ``netG_EMA`` -> net, g, ema."""
    found = []
    for word in (match.casefold() for match in _WORD.findall(name)):
        for mark in _ALONE:
            rest = word.removeprefix(mark) if word.startswith(mark) else word.removesuffix(mark)
            if rest != word and rest in _TOGETHER:
                found += [rest, mark]
                break
        else:
            found.append(word)
    return found


def is_averaged(parts: Iterable[str]) -> bool:
    """Whether the names that lead to something say that it is averaged; the last that says anything decides."""
    averaged = False
    for part in parts:
        named = set(words(part))
        averaged = not named & _RAW and (averaged or bool(named & _AVERAGED))
    return averaged


def is_of_generator(parts: Iterable[str]) -> bool:
    """Whether nothing in the names that lead to something says that it is a discriminator, a loss or an optimizer."""
    return not any(set(words(part)) & _OTHER_NETWORKS for part in parts)


def plain_words(parts: Iterable[str]) -> tuple[str, ...]:
    """The words of names but for those that say averaged: ``netG_A_ema`` and ``netG_A`` have the same."""
    every = [word for part in parts for word in words(part)]
    return tuple(word for word in every if word not in _AVERAGED and not word.isdigit())


def tensors(value: Any) -> dict[str, Array] | None:
    """The tensors that lie directly in a mapping, in a list under ``0``, ``1``, ...; None where there are none.

    Where a mapping holds a list or mapping of them beside settings (``shadow_params``, ``shadow``), those of it.
    """
    value = settled(value)
    inner = children(value) or {}
    found = {name: item for name, item in inner.items() if isinstance(item, Array)}
    if len(found) > 1 or (found and len(found) == len(inner)):
        return found
    nested = [item for item in inner.values() if isinstance(item, list | tuple | dict) and item]
    below = [one for one in map(_direct, nested) if one]
    return below[0] if len(below) == 1 else found or None


def is_list(value: Any) -> bool:
    """Whether a value is a list of tensors, or a mapping of them by their numbers."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(settled(item), Array) for item in value)
    keys = [*value] if isinstance(value, dict) else []
    return bool(keys) and keys == list(range(len(keys))) and all(isinstance(settled(v), Array) for v in value.values())


def laid_over(state: Mapping[str, Any], full: Mapping[str, str], averaged: Mapping[str, Array]) -> dict[str, Any]:
    """A state dict with its parameters replaced by averaged ones.

    Args:
        state: the weights before averaging.
        full: their names as the file has them, with every prefix.
        averaged: ``tensors`` of the averaged ones.

    Raises Refused: they do not fit.
    """
    listed = next((named for named in _unwrapped(averaged) if _is_numbered(named)), None)
    found = _by_name(state, full, averaged) if listed is None else _in_order(state, list(listed.values()))
    for name, value in found.items():
        shape = tuple(getattr(state[name], "shape", ()))
        if tuple(value.shape) != shape:
            raise Refused(f"has shape {tuple(value.shape)} where the parameter '{name}' has {shape}")
    return {**state, **found}


def _is_numbered(named: Mapping[str, Any]) -> bool:
    return list(named) == [str(i) for i in range(len(named))]


def _direct(value: Any) -> dict[str, Array] | None:
    inner = children(value) or {}
    found = {name: item for name, item in inner.items() if isinstance(item, Array)}
    return found if len(found) == len(inner) else None


def _in_order(state: Mapping[str, Any], numbers: Sequence[Array]) -> dict[str, Array]:
    orders = [order for order in _orders(state) if len(order) == len(numbers)]
    if not orders:
        count = sum(1 for name in state if not BUFFER.search(name))
        raise Refused(f"holds {len(numbers)} tensors, but the network has {count} parameters")
    for order in orders:
        pairs = zip(order, numbers, strict=True)
        if all(tuple(getattr(state[name], "shape", ())) == tuple(value.shape) for name, value in pairs):
            return dict(zip(order, numbers, strict=True))
    return dict(zip(orders[0], numbers, strict=True))  # of which the caller says what does not fit


def _orders(state: Mapping[str, Any]) -> Iterator[list[str]]:
    """How lists are made: ``parameters()``, ``state_dict().values()``, ``parameters()`` and then ``buffers()``."""
    parameters = [name for name in state if not BUFFER.search(name)]
    buffers = [name for name in state if BUFFER.search(name)]
    yield parameters
    for left_out in ("", "num_batches_tracked"):
        for order in ([*state], parameters + buffers):
            yield [name for name in order if not left_out or not name.endswith(left_out)]


def _by_name(state: Mapping[str, Any], full: Mapping[str, str], averaged: Mapping[str, Array]) -> dict[str, Array]:
    """Under the same names, with more or fewer of the names in front of them, and with anything for the dots."""
    best: dict[str, Array] = {}
    if 2 * len(averaged) < sum(1 for name in state if not BUFFER.search(name)):
        raise Refused(f"holds {len(averaged)} tensors, but the network has {len(state)}")
    depth = min(_DEEPEST, max((full[name].count(".") for name in state), default=0))
    for named in _unwrapped(averaged):
        for outer in range(depth + 1):
            for separator in _FOR_DOTS:
                found = {}
                for name in state:
                    front = full[name].removesuffix(name).split(".")[:-1][-outer:] if outer else []
                    value = named.get(separator.join([*front, *name.split(".")]))
                    if value is not None:
                        found[name] = value
                best = found if len(found) > len(best) else best
        if _covers(best, state):
            return best
    raise Refused(f"holds {len(best)} of the {len(state)} tensors of the network under their names")


def _unwrapped(averaged: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """The averaged tensors under their names, and without the prefix that most of them share, as often as they do."""
    named = dict(averaged)
    for _ in range(10):
        yield named
        firsts: dict[str, int] = {}
        for name in named:
            if "." in name:
                first = name.partition(".")[0]
                firsts[first] = firsts.get(first, 0) + 1
        common = max(firsts, key=lambda first: firsts[first], default=None)
        if common is None or firsts[common] < _NAMES * len(named):
            return
        named = {name[len(common) + 1 :]: value for name, value in named.items() if name.startswith(f"{common}.")}


def _covers(found: Mapping[str, Array], state: Mapping[str, Any]) -> bool:
    parameters = [name for name in state if not BUFFER.search(name)]
    sizes = {name: getattr(state[name], "numel", 1) for name in parameters}
    named = [name for name in parameters if name in found]
    enough = len(named) >= _NAMES * len(parameters)
    return bool(named) and (enough or sum(sizes[name] for name in named) >= _NUMBERS * sum(sizes.values()))
