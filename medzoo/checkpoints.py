"""Original checkpoint containers -> a plain state dict, without running anything that is inside.

What a file is, is told by its content. Torch files are read with ``weights_only=True``, which knows tensors
and plain containers and refuses every other class; the families get safetensors only. Numbers keep the
precision they were published in.

A bare pickle (SinGAN's folders, StyleGAN's ``.pkl``) is refused: ``_READERS`` is the place where a restricted
unpickler that lists each allowed global would be named.
"""

from __future__ import annotations

import errno
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medzoo import cachedir, filekind
from medzoo.entry import Checkpoint, Entry
from medzoo.errors import CheckpointError

# Entries of a state dict that are no parameters, by the names that torch gives them: statistics of batch
# norm, and the vectors of spectral norm's power iteration.
_BUFFER = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|\w+_u|\w+_v)$")
_DTYPES = frozenset(
    (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    + (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
)


def convert(original: Path, entry: Entry, target: Path) -> None:
    """Read an original as its entry describes it and write its state dict to ``target`` as safetensors.

    Raises:
        CheckpointError: it is not what the entry describes, or not safe to read.
        OSError: ``target`` cannot be written.
    """
    tensors = read(original, entry.checkpoint)
    facts = {
        "model_id": entry.model_id,
        "source_sha256": cachedir.sha256_of(original),
        "source_container": filekind.guess(original),
    }
    try:
        save_file(_separate(tensors), target, metadata=facts)
    except SafetensorError as error:
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The state dict of a checkpoint: found by ``key``, prefix taken off, parameters replaced by ``ema``.

    Whether its keys and shapes are those of the network is for the family to say.

    Raises:
        CheckpointError: it is not what ``checkpoint`` describes, or not safe to read.
    """
    content = _open(path)
    found = _at(content, checkpoint.key, path)
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{path.name}: '{checkpoint.key}' holds {_what(found)}, expected a state dict")
    _check_leaves(found, content, path, checkpoint.key)
    state = _strip({str(key): _plain(value, str(key), path) for key, value in found.items()}, checkpoint.strip_prefix)
    if checkpoint.ema is not None:
        state = _averaged(state, _at(content, checkpoint.ema, path, flat_counts=False), checkpoint.ema, path)
    _check_finite(state, path)
    return state


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        CheckpointError: it is damaged, no safetensors file, or holds numbers that are not finite.
    """
    tensors = _open_safetensors(path)
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors")
    _check_finite(tensors, path)
    return tensors


def _open(path: Path) -> Any:
    """Whatever is in the file, as tensors and plain containers."""
    try:
        kind = filekind.guess(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if kind not in _READERS:
        raise CheckpointError(f"{path.name}: is {filekind.describe(kind)}; expected a torch or safetensors file")
    return _READERS[kind](path)


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


def _open_torch(path: Path) -> Any:
    return _torch_load(path, mmap=True)


def _open_torch_legacy(path: Path) -> Any:
    return _torch_load(path, mmap=False)


_READERS: dict[str, Callable[[Path], Any]] = {
    "safetensors": _open_safetensors,
    "torch": _open_torch,
    "torch-legacy": _open_torch_legacy,
}


def _torch_load(path: Path, *, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations inside its readers
            if mmap and path.suffix != ".safetensors":  # of a path, torch.load believes the suffix
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged stream leads its unpickler to
        text = str(error)
        if found := re.search(r"(?:GLOBAL|global|class|function) ([A-Za-z_][\w]*(?:\.[\w<>]+)+)", text):
            raise CheckpointError(
                f"{path.name}: holds an object of {found[1]}, which is code and not numbers; it was not run. "
                "Save the state dict alone (torch.save(network.state_dict(), ...)), or convert it to safetensors"
            ) from error
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = next((line for line in lines if "Weights only load failed" not in line), type(error).__name__)
        raise CheckpointError(
            f"{path.name}: the torch file is cut short, damaged or not plain numbers ({reason[:200]})"
        ) from error


def _at(content: Any, key: str | None, path: Path, *, flat_counts: bool = True) -> Any:
    """What lies under a path of mapping keys, dots between them.

    A file that is a flat state dict itself also counts where a key is stated: copies are often re-hosted
    without the outer mapping.
    """
    if key is None or (flat_counts and _is_state_dict(content)):
        return content
    found = content
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise CheckpointError(
                f"{path.name}: there is no '{key}' in it; it holds {_keys(found)}.{_suggestion(content)}"
            )
        found = found[part]
    return found


def _check_leaves(found: Mapping[Any, Any], content: Any, path: Path, key: str | None) -> None:
    wrong = [name for name, value in found.items() if not isinstance(value, Tensor)]
    if not wrong:
        return
    if len(wrong) == len(found) or any(_is_state_dict(found[name]) for name in wrong):
        where = "the file" if key is None else f"'{key}'"
        raise CheckpointError(
            f"{path.name}: {where} is no state dict; it holds {_keys(found)}.{_suggestion(found, key)}"
        )
    raise CheckpointError(
        f"{path.name}: '{wrong[0]}' of the state dict is {_what(found[wrong[0]])}, expected a tensor"
        + (f" (and {len(wrong) - 1} more such entries)" if len(wrong) > 1 else "")
    )


def _plain(value: Tensor, key: str, path: Path) -> Tensor:
    """An ordinary tensor on the CPU with at most as many numbers as the file stores for it."""
    tensor = value.detach()
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.dtype not in _DTYPES:
        raise CheckpointError(
            f"{path.name}: '{key}' is of kind {tensor.dtype}, {tensor.layout}, {tensor.device}; "
            "expected plain numbers on the CPU"
        )
    # A stride of 0 makes terabytes out of one number.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path.name}: '{key}' claims {tensor.numel()} numbers, more than the file stores")
    return tensor.as_subclass(Tensor)


def _strip(state: dict[str, Tensor], prefix: str | None) -> dict[str, Tensor]:
    """Take a prefix off; keys without it belong to something else if any key has it.

    ``module.`` on every key is the mark of a network trained on several devices and is always taken off.
    """
    if prefix and any(key.startswith(prefix) for key in state):
        state = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        return _strip(state, None)
    if all(key.startswith("module.") for key in state):
        return _strip({key.removeprefix("module."): value for key, value in state.items()}, prefix)
    return state


def _averaged(state: dict[str, Tensor], ema: Any, key: str, path: Path) -> dict[str, Tensor]:
    """Replace the parameters by a list of tensors in the order of ``parameters()``; buffers stay."""
    if not isinstance(ema, list | tuple) or not all(isinstance(value, Tensor) for value in ema):
        hint = f"; state it as 'key: {key}' instead" if _is_state_dict(ema) else ""
        raise CheckpointError(f"{path.name}: '{key}' is {_what(ema)}, expected a list of tensors{hint}")
    names = [name for name in state if not _BUFFER.search(name)]
    if len(names) != len(ema):
        raise CheckpointError(
            f"{path.name}: '{key}' holds {len(ema)} tensors, but the network has {len(names)} parameters"
        )
    for name, value in zip(names, ema, strict=True):
        if value.shape != state[name].shape:
            raise CheckpointError(
                f"{path.name}: '{key}' has shape {tuple(value.shape)} where the parameter '{name}' has "
                f"{tuple(state[name].shape)}"
            )
    return state | {name: _plain(value, name, path) for name, value in zip(names, ema, strict=True)}


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for key, value in state.items():
        # One NaN or infinity makes the sum one, too, and a sum takes a tenth of the time of a look at each number.
        if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
            continue
        if count := int((~torch.isfinite(value)).sum()):
            raise CheckpointError(f"{path.name}: '{key}' holds {count} numbers that are NaN or infinite")


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    separate = {}
    for key, value in state.items():
        storage = value.untyped_storage()
        alone = storage.data_ptr() not in seen and storage.nbytes() == value.numel() * value.element_size()
        seen.add(storage.data_ptr())
        separate[key] = value.contiguous() if alone else value.clone(memory_format=torch.contiguous_format)
    return separate


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, Tensor) for item in value.values())


def _keys(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _what(value)
    names = [f"'{name}' ({_what(item)})" for name, item in list(value.items())[:12]]
    return ", ".join(names) + (f" and {len(value) - 12} more" if len(value) > 12 else "") or "nothing"


def _suggestion(value: Any, parent: str | None = None) -> str:
    if not isinstance(value, Mapping):
        return ""
    fitting = [f"{parent}.{name}" if parent else str(name) for name, item in value.items() if _is_state_dict(item)]
    if not fitting:
        return ""
    others = f" (or one of {', '.join(fitting[1:6])})" if len(fitting) > 1 else ""
    return f" Say which one the generator is, for example `checkpoint: {{key: {fitting[0]}}}`{others}"


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping | list | tuple):
        return f"{'a mapping' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
