"""From an entry and a state dict to a network: the config, every key accounted for, what the entry may ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from medzoo import limits
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, EntryError, problems
from medzoo.nets import BatchNorm2d

if TYPE_CHECKING:
    from medzoo.families._base import Generator

TORCH_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def configure(family: type[Generator], entry: Entry, state: Mapping[str, Tensor]) -> Any:
    """The config: what the entry states, and for the rest what the state dict shows. Raises EntryError."""
    stated = {name: value for name, value in entry.config.items() if value is not None}
    try:
        inferred = family.infer(state)
    except (IndexError, KeyError, TypeError, ValueError, ArithmeticError):  # of another network altogether
        inferred = {}
    try:
        return family.Config.model_validate(inferred | stated)
    except ValidationError as error:
        found = "; ".join(problems(error, "config", record=family.Config))
        raise EntryError(f"{entry.model_id}: 'config' does not fit family '{entry.family}': {found}") from None


def check_sizes(generator: Generator) -> None:
    """Refuse sizes of the output and of input images that no machine should be asked for, before anything is made.

    Raises EntryError.
    """
    entry, declared = generator.entry, generator.declared
    sizes: dict[str, tuple[int, ...] | None] = {
        "output.size": entry.output.size,
        "condition.size": None if declared is None else declared.size,
    }
    channels = entry.output.channels + entry.output.masks
    with suppress(NotImplementedError):  # of a family that does not say
        made, sizes["the size that 'config' makes,"] = generator.output(generator.config)
        channels = max(channels, made)
    for where, size in sizes.items():
        if size is not None:
            limit = "image_pixels" if len(size) == 2 else "volume_voxels"
            limits.check(limit, math.prod(size), f"{entry.model_id}: {where} {list(size)}", EntryError)
    limits.check("channels", channels, f"{entry.model_id}: output", EntryError)


def load_network(generator: Generator, state: Mapping[str, Tensor]) -> nn.Module:
    """The network with the tensors of ``state``. Raises EntryError (config) or CheckpointError (state)."""
    entry = generator.entry
    try:
        with torch.device("meta"):  # no memory, no random start values
            network = generator.build()
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        raise EntryError(
            f"{entry.model_id}: 'config' does not make a network of family '{entry.family}': "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    check_state(generator, shapes, state, generator.tolerates)
    _check_dtypes(generator, dict(network.named_parameters()), state)
    network.load_state_dict(state, strict=False, assign=True)
    if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
        # Tensors that no checkpoint holds: those tolerated, and those that a network computes for itself.
        network = generator.build()
        network.load_state_dict(state, strict=False, assign=True)
    return network


def check_norms(entry: Entry, network: nn.Module) -> None:
    """Raises EntryError where ``sampling.norm_stats: sample`` would be ignored: by a batch norm of torch's own."""
    if entry.sampling.norm_stats != "sample":
        return
    for name, module in network.named_modules():
        if isinstance(module, TORCH_BATCH_NORMS) and not isinstance(module, BatchNorm2d) and module.track_running_stats:
            raise EntryError(
                f"{entry.model_id}: 'sampling.norm_stats: sample' has no effect on {name or 'the network'}, which is "
                f"torch's own {type(module).__name__}; build the network of family '{entry.family}' with "
                "medzoo.nets.BatchNorm2d"
            )


def check_declared(generator: Generator) -> None:
    """Raises EntryError where the entry declares a condition that the network does not take."""
    entry, kinds = generator.entry, generator.kinds
    declared, takes = entry.condition, generator.takes(generator.config)
    if declared is None:
        return
    where = f"{entry.model_id}: 'condition' is of kind '{declared.kind}'"
    if kinds is not None and not takes:
        raise EntryError(f"{where}, and the network takes no condition; remove it, or correct 'config'")
    if kinds is not None and declared.kind not in kinds:
        raise EntryError(f"{where}, and family '{entry.family}' takes {' or '.join(kinds)}; correct it")
    if declared.kind == "class" and takes and takes["kind"] == "class":
        named, known = len(declared.classes or ()), len(takes["classes"])
        if named > known:
            raise EntryError(
                f"{entry.model_id}: 'condition' names {named} classes, the network has {known}; correct it"
            )


def listed(things: Sequence[Any], most: int = 4) -> str:
    """The first of many things in words: a, b, c, d and 3 more."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(map(str, things[:most])) + more


def check_state(
    generator: Generator,
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, Tensor],
    tolerates: Iterable[str],
    *,
    fit: str | None = None,
    advice: str = "Correct 'config' or 'checkpoint' (key, strip_prefix) in the entry",
) -> None:
    """Raises CheckpointError where tensors are missing, left over, or of another shape.

    Args:
        wanted: shapes by name.
        tolerates: regular expressions of names that may be missing or left over.
        fit: what they have to, in words; None for the family.
        advice: what to do about it.
    """

    def strict(keys: Iterable[str]) -> list[str]:
        return [key for key in keys if not any(re.search(pattern, key) for pattern in tolerates)]

    def shapes(key: str) -> str:
        return f"{key} is {list(found[key].shape)}, the network needs {list(wanted[key])}"

    differences = {
        "missing": strict(key for key in wanted if key not in found),
        "unexpected": strict(key for key in found if key not in wanted),
        "of another shape": [shapes(key) for key in wanted if key in found and found[key].shape != wanted[key]],
    }
    if any(differences.values()):
        words = "; ".join(f"{len(keys)} {what}: {listed(keys)}" for what, keys in differences.items() if keys)
        network = f"family '{generator.entry.family}'" if fit is None else fit
        raise CheckpointError(f"{generator.entry.model_id}: the weights do not fit {network}: {words}. {advice}")


def _check_dtypes(generator: Generator, parameters: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Buffers may be whole numbers or truth values where a network computes with them as they are."""
    whole = [name for name in parameters if name in found and not found[name].is_floating_point()]
    whole += [
        name for name in found if name.endswith(("running_mean", "running_var")) and not found[name].is_floating_point()
    ]
    if whole:
        words = listed([f"{name} is {found[name].dtype}" for name in whole])
        raise CheckpointError(
            f"{generator.entry.model_id}: the weights do not fit family '{generator.entry.family}': {len(whole)} of "
            f"another dtype: {words}, the network needs floating point; save them in the precision they were trained in"
        )
