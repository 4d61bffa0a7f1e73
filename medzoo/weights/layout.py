"""Where a state dict lies in what a file holds, and what becomes of its names: ``checkpoint`` of an entry, carried out.

Values are those of ``medzoo.weights.pickles``; nothing here needs torch or reads a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medzoo import limits
from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError
from medzoo.weights import averages, pickles
from medzoo.weights.pickles import Array, Refused

# Parts of names that torch and Lightning put in for a wrapper of a module, wherever it is in the network.
MECHANICAL = frozenset(
    ("_orig_mod", "_orig_module", "_forward_module", "_fsdp_wrapped_module", "_fpw_module")
    + ("_checkpoint_wrapped_module",)
)
_MOST_PARTS = 50  # of a key that is stated
_NOTHING = object()


def state(content: Any, checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """The state dict that ``checkpoint`` describes: ``Array``s, and plain numbers with ``container: pickle``.

    Args:
        content: what the file holds.
        name: of the file, for errors.

    Raises CheckpointError: there is no such state dict in it.
    """
    key = checkpoint.key
    try:
        found = at(content, key, name)
        if checkpoint.container == "pickle":
            found = flat(found)
            if isinstance(found, dict) and found and not _has_numbers(found):
                raise CheckpointError(f"{name}: {_where(key)} holds no numbers{_reason(found)}")
        named = pickles.children(found) if isinstance(found, dict) else None
        if not named:
            raise CheckpointError(f"{name}: {_where(key)} holds {what(found)}, expected a state dict{_reason(found)}")
        full = stripped(named, checkpoint.strip_prefix)
        chosen = {new: named[old] for new, old in full.items()}
        _check_leaves(chosen, full, found, name, checkpoint)
        return chosen if checkpoint.ema is None else _averaged(chosen, full, content, checkpoint.ema, name)
    except Refused as reason:
        raise CheckpointError(f"{name}: {reason}") from None


def at(content: Any, key: str | None, name: str, *, averaged: bool = False) -> Any:
    """What lies under a path of mapping keys, separated by dots; keys that have dots themselves go first.

    A file that is itself a flat state dict is accepted where a key is stated: copies are often re-hosted
    without the outer mapping.

    Args:
        averaged: a path to averaged weights, which may also end in a prefix of names.

    Raises CheckpointError: there is nothing.
    """
    if key is None or (not averaged and pickles.is_state_dict(content)):
        return content
    found, deepest = resolve(content, key, prefixes=averaged)
    if found is _NOTHING:
        raise CheckpointError(f"{name}: there is no '{key}' in it; it holds {keys(deepest)}.{suggestion(content)}")
    return found


def resolve(content: Any, key: str, *, prefixes: bool = False) -> tuple[Any, Any]:
    """What lies under a path of keys, and the deepest value on the way; the first of them is no value if nothing does.

    Args:
        prefixes: whether the end of the path may also be a prefix of names.
    """
    parts = key.split(".")
    if len(parts) > _MOST_PARTS:
        return _NOTHING, content
    deepest, reached = content, 0
    ahead, seen = [(content, 0)], set[tuple[int, int]]()
    left = limits.most("values")
    while ahead:
        value, used = ahead.pop()
        if used == len(parts):
            return value, value
        if used > reached:
            deepest, reached = value, used
        left -= 1 + pickles.width(value)
        if (id(value), used) in seen or (left < 0 and seen):
            continue
        seen.add((id(value), used))
        inner = pickles.inside(value) or {}
        heads = [(".".join(parts[used:end]), end) for end in range(used + 1, len(parts) + 1)]
        ahead += [(inner[head], end) for head, end in heads if head in inner]  # the longest is looked at first
        start = ".".join(parts[used:]) + "."
        if prefixes and (group := {n.removeprefix(start): v for n, v in inner.items() if n.startswith(start)}):
            ahead.insert(0, (group, len(parts)))
    return _NOTHING, deepest


def is_there(content: Any, key: str, value: Any) -> bool:
    """Whether a path of keys leads to this very value."""
    found = pickles.settled(resolve(content, key)[0])
    return found is value


def flat(value: Any) -> Any:
    """Modules, lists and mappings of numbers as one mapping; networks side by side are left for a key to choose.

    Raises Refused: it goes deeper, or holds more, than any network.
    """
    if isinstance(value, dict) and pickles.networks_among(value):
        return value
    inner = pickles.children(value)
    if inner is None:
        return value
    nested = any(isinstance(item, dict | list | tuple | pickles.Inert) for item in inner.values())
    return dict(pickles.leaves(value)) if nested or not isinstance(value, dict) else inner


def stripped(names: Iterable[str], prefix: str | None) -> dict[str, str]:
    """Names without a prefix -> the names as they are; those without it are dropped if any name has it.

    ``module.`` on every name is the mark of a network trained on several devices and is always removed, and so is
    every ``_orig_mod.`` (torch.compile) and the like.

    Raises Refused: two names become one.
    """
    full = {name: name for name in names}
    if prefix and any(name.startswith(prefix) for name in full):
        full, prefix = {name[len(prefix) :]: name for name in full if name.startswith(prefix)}, None
    cleaned = {_without_wrappers(new): name for new, name in full.items()}
    if len(cleaned) == len(full):
        full, prefix = cleaned, _without_wrappers(prefix) if prefix else None
    while full:
        if prefix and any(new.startswith(prefix) for new in full):
            full, prefix = {new[len(prefix) :]: name for new, name in full.items() if new.startswith(prefix)}, None
        elif all(new.startswith("module.") for new in full):
            full = {new.removeprefix("module."): name for new, name in full.items()}
        else:
            break
    return full


def keys(value: Any) -> str:
    """What lies in a value, by name, in words."""
    inner = None if isinstance(value, list | tuple) else pickles.inside(value)
    if inner is None:
        return what(value)
    names = [f"'{name}' ({what(item)})" for name, item in list(inner.items())[:12]]
    return ", ".join(names) + (f" and {len(inner) - 12} more" if len(inner) > 12 else "") or "nothing"


def suggestion(value: Any, parent: str | None = None) -> str:
    """The keys that fit, averaged weights first: they are what people publish pictures of."""
    inner = pickles.inside(value) or {}
    fitting = [f"{parent}.{name}" if parent else name for name in pickles.networks_among(inner)]
    fitting.sort(key=lambda name: not averages.is_averaged(name.split(".")))
    if not fitting:
        return ""
    others = f" (or one of {', '.join(fitting[1:6])})" if len(fitting) > 1 else ""
    return f" State which one is the generator, for example `checkpoint: {{key: {fitting[0]}}}`{others}"


def what(value: Any) -> str:
    """A value in words."""
    if isinstance(value, Array):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, pickles.Inert):
        return f"an object of {value.name}"
    if isinstance(value, pickles.Name):
        return f"the name {value}"
    if isinstance(value, Mapping | list | tuple):
        return f"{'a mapping' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def _averaged(chosen: dict[str, Any], full: dict[str, str], content: Any, key: str, name: str) -> dict[str, Any]:
    """Replace the parameters by averaged ones; buffers stay."""
    value = at(content, key, name, averaged=True)
    found = averages.tensors(value)
    hint = f"; state it as 'key: {key}' instead" if pickles.is_network(value) else ""
    if not found:
        raise CheckpointError(f"{name}: '{key}' is {what(value)}, expected a list of tensors{hint}")
    try:
        return averages.laid_over(chosen, full, found)
    except Refused as reason:
        raise CheckpointError(f"{name}: '{key}' {reason}{hint}") from None


def _check_leaves(
    chosen: Mapping[str, Any], full: Mapping[str, str], found: Any, name: str, checkpoint: Checkpoint
) -> None:
    numbers = (Array, int, float) if checkpoint.container == "pickle" else (Array,)
    wrong = [new for new, value in chosen.items() if not isinstance(value, numbers)]
    if not wrong:
        return
    for new in wrong:
        if (reason := getattr(chosen[new], "refused", None)) is not None:
            raise CheckpointError(f"{name}: '{full[new]}' {reason}")
    if len(wrong) == len(chosen) or pickles.networks_among({new: chosen[new] for new in wrong}):
        raise CheckpointError(
            f"{name}: {_where(checkpoint.key)} is not a state dict; it holds {keys(found)}."
            f"{suggestion(found, checkpoint.key)}"
        )
    raise CheckpointError(
        f"{name}: '{full[wrong[0]]}' of the state dict is {what(chosen[wrong[0]])}, expected a tensor"
        + (f" (and {len(wrong) - 1} more such entries)" if len(wrong) > 1 else "")
    )


def _without_wrappers(name: str) -> str:
    if not any(part in name for part in MECHANICAL):
        return name
    return ".".join(part for part in name.split(".") if part not in MECHANICAL)


def _has_numbers(found: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Array | int | float) for value in found.values()) or bool(
        pickles.networks_among(found)
    )


def _where(key: str | None) -> str:
    return "the file" if key is None else f"'{key}'"


def _reason(found: Any) -> str:
    """Why a value, or the first one in a mapping that has a reason, was not made."""
    every = [found, *(found.values() if isinstance(found, dict) else ())]
    reasons = (getattr(value, "refused", None) for value in every)
    return next((f": it {reason}" for reason in reasons if reason), "")
