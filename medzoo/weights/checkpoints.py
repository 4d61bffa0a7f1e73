"""Original checkpoint containers -> a plain state dict, without running anything that is inside.

The kind of a file is recognised by its content. ``medzoo.weights.pickles`` interprets torch files and pickles, and
imports and calls nothing; ``medzoo.weights.tensors`` turns their numbers into tensors, in their published precision.

``container: torch`` stands for tensors and plain containers alone; a file that holds objects of other classes (SinGAN's
``Gs.pth``, StyleGAN's ``.pkl``) needs ``container: pickle``, which reads them as bags of numbers.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medzoo.entry import Checkpoint, Entry
from medzoo.errors import CheckpointError
from medzoo.files import kind as filekind
from medzoo.files import reading
from medzoo.weights import pickles
from medzoo.weights.pickles import Array, Mode, Refused
from medzoo.weights.tensors import as_tensors, check_finite, separate

# Entries of a state dict that are not parameters, by the names that torch gives them: statistics of batch
# norm, and the vectors of spectral norm's power iteration.
_BUFFER = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|\w+_u|\w+_v)$")


def convert(original: Path, entry: Entry, target: Path) -> None:
    """Read an original as its entry describes it, and write its state dict to ``target`` as safetensors.

    Raises:
        CheckpointError: it is not what the entry describes, or is not safe to read.
        OSError: ``target`` cannot be written.
    """
    tensors = read(original, entry.checkpoint)
    facts = {
        "model_id": entry.model_id,
        "source_sha256": reading.sha256_of(original),
        "source_container": filekind.guess(original),
    }
    try:
        save_file(separate(tensors), target, metadata=facts)
    except SafetensorError as error:
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of a checkpoint: found by ``key``, prefix removed, parameters replaced by ``ema``.

    The family checks whether its keys and shapes are those of the network.

    Raises:
        CheckpointError: it is not what ``checkpoint`` describes, or is not safe to read.
    """
    content = _open(path, checkpoint.container)
    found = _at(content, checkpoint.key, path)
    if checkpoint.container == "pickle":
        found = _flat(found, path, checkpoint.key)
    if not isinstance(found, Mapping) or not found:
        where = "the file" if checkpoint.key is None else f"'{checkpoint.key}'"
        raise CheckpointError(f"{path.name}: {where} holds {_what(found)}, expected a state dict")
    _check_leaves(found, content, path, checkpoint)
    state = _strip({str(key): value for key, value in found.items()}, checkpoint.strip_prefix)
    if checkpoint.ema is not None:
        state = _averaged(state, _at(content, checkpoint.ema, path, flat_counts=False), checkpoint.ema, path)
    tensors = as_tensors(state, path)
    check_finite(tensors, path)
    return tensors


def state_dicts(path: Path) -> dict[str | None, tuple[str, ...]]:
    """What can be read as a state dict in a file: its key (None for the whole file), and the names in it.

    Raises:
        CheckpointError: the file is damaged, or refused.
    """
    content = _open(path, "pickle")
    try:
        return {None: tuple(content)} if _is_state_dict(content) else pickles.networks(content)
    except Refused as reason:
        raise CheckpointError(f"{path.name}: {reason}") from None


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: it is damaged, not a safetensors file, or holds numbers that are not finite.
    """
    tensors = _open_safetensors(path)
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors")
    check_finite(tensors, path)
    return tensors


def _open(path: Path, container: str) -> Any:
    """All that is in the file, as arrays or tensors and plain containers."""
    try:
        kind = filekind.guess(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if kind == "safetensors":
        return _open_safetensors(path)
    if kind == "pickle" and container != "pickle":
        raise CheckpointError(
            f"{path.name}: is {filekind.describe(kind)}; state `container: pickle` in the entry, and the numbers in it "
            "are read without running it"
        )
    if kind not in ("torch", "torch-legacy", "pickle"):
        raise CheckpointError(f"{path.name}: is {filekind.describe(kind)}; expected a torch or safetensors file")
    return pickles.settled(pickles.read(path, Mode.CLASSES if container == "pickle" else Mode.NUMBERS).content)


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        kind = filekind.guess(path)
        if kind == "safetensors":
            return load_file(path)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(f"{path}: the safetensors file is cut short or damaged ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise CheckpointError(f"{path}: is {filekind.describe(kind)}; expected a safetensors file")


def _at(content: Any, key: str | None, path: Path, *, flat_counts: bool = True) -> Any:
    """What lies under a path of mapping keys, separated by dots.

    A file that is itself a flat state dict is accepted where a key is stated: copies are often re-hosted
    without the outer mapping.
    """
    if key is None or (flat_counts and _is_state_dict(content)):
        return content
    found = content
    for part in key.split("."):
        inner = pickles.children(found) or {}
        if part not in inner:
            raise CheckpointError(
                f"{path.name}: there is no '{key}' in it; it holds {_keys(found)}.{_suggestion(content)}"
            )
        found = inner[part]
    return found


def _flat(found: Any, path: Path, key: str | None) -> Any:
    """Modules, lists and mappings of numbers as one mapping; networks side by side are left for a key to choose."""
    if isinstance(found, dict) and any(_is_network(item) for item in found.values()):
        return found
    if pickles.children(found) is None:
        return found
    try:
        flat = dict(pickles.leaves(found))
    except Refused as reason:
        raise CheckpointError(f"{path.name}: {reason}") from None
    if flat and not any(isinstance(value, Tensor | Array | int | float) for value in flat.values()):
        raise CheckpointError(f"{path.name}: {'the file' if key is None else repr(key)} holds no numbers")
    return flat


def _check_leaves(found: Mapping[Any, Any], content: Any, path: Path, checkpoint: Checkpoint) -> None:
    numbers = (Tensor, Array, int, float) if checkpoint.container == "pickle" else (Tensor, Array)
    wrong = [name for name, value in found.items() if not isinstance(value, numbers)]
    if not wrong:
        return
    key = checkpoint.key
    if len(wrong) == len(found) or any(_is_network(found[name]) for name in wrong):
        where = "the file" if key is None else f"'{key}'"
        raise CheckpointError(
            f"{path.name}: {where} is not a state dict; it holds {_keys(found)}.{_suggestion(found, key)}"
        )
    raise CheckpointError(
        f"{path.name}: '{wrong[0]}' of the state dict is {_what(found[wrong[0]])}, expected a tensor"
        + (f" (and {len(wrong) - 1} more such entries)" if len(wrong) > 1 else "")
    )


def _strip(state: dict[str, Any], prefix: str | None) -> dict[str, Any]:
    """Remove a prefix; if any key has it, keys without it belong to something else and are dropped.

    ``module.`` on every key is the mark of a network trained on several devices and is always removed.
    """
    if prefix and any(key.startswith(prefix) for key in state):
        state = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        return _strip(state, None)
    if all(key.startswith("module.") for key in state):
        return _strip({key.removeprefix("module."): value for key, value in state.items()}, prefix)
    return state


def _averaged(state: dict[str, Any], ema: Any, key: str, path: Path) -> dict[str, Any]:
    """Replace the parameters by a list of tensors in the order of ``parameters()``; buffers stay."""
    if not isinstance(ema, list | tuple) or not all(isinstance(value, Array) for value in ema):
        hint = f"; state it as 'key: {key}' instead" if _is_state_dict(ema) else ""
        raise CheckpointError(f"{path.name}: '{key}' is {_what(ema)}, expected a list of tensors{hint}")
    names = [name for name in state if not _BUFFER.search(name)]
    if len(names) != len(ema):
        raise CheckpointError(
            f"{path.name}: '{key}' holds {len(ema)} tensors, but the network has {len(names)} parameters"
        )
    for name, value in zip(names, ema, strict=True):
        shape = tuple(getattr(state[name], "shape", ()))
        if tuple(value.shape) != shape:
            raise CheckpointError(
                f"{path.name}: '{key}' has shape {tuple(value.shape)} where the parameter '{name}' has {shape}"
            )
    return state | dict(zip(names, ema, strict=True))


def _is_state_dict(value: Any) -> bool:
    mapping = isinstance(value, Mapping) and bool(value)
    return pickles.is_state_dict(value) or (mapping and all(isinstance(item, Tensor) for item in value.values()))


def _is_network(value: Any) -> bool:
    return _is_state_dict(value) or pickles.module_class(value) is not None


def _keys(value: Any) -> str:
    inner = pickles.children(value)
    if inner is None or isinstance(value, list | tuple):
        return _what(value)
    names = [f"'{name}' ({_what(item)})" for name, item in list(inner.items())[:12]]
    return ", ".join(names) + (f" and {len(inner) - 12} more" if len(inner) > 12 else "") or "nothing"


def _suggestion(value: Any, parent: str | None = None) -> str:
    """The keys that fit, averaged weights first: they are what people publish pictures of."""
    inner = pickles.children(value) or {}
    fitting = [f"{parent}.{name}" if parent else str(name) for name, item in inner.items() if _is_network(item)]
    fitting.sort(key=lambda name: "ema" not in name)
    if not fitting:
        return ""
    others = f" (or one of {', '.join(fitting[1:6])})" if len(fitting) > 1 else ""
    return f" State which one is the generator, for example `checkpoint: {{key: {fitting[0]}}}`{others}"


def _what(value: Any) -> str:
    if isinstance(value, Tensor | Array):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, pickles.Inert):
        return f"an object of {value.name}"
    if isinstance(value, pickles.Name):
        return f"the name {value}"
    if isinstance(value, Mapping | list | tuple):
        return f"{'a mapping' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
