"""A person's own extractor, named ``module:attribute`` on the command line: their code is imported and run.

The attribute is

* an ``Extractor``, or something that returns one when called with the options (without them if it takes none); or
* a ``torch.nn.Module`` (or something that returns one when called): float32 [n, 3, size, size] in [0, 1] -> [n, d],
  with an attribute ``size``, in pixels, that images are brought to (bilinear, antialiased).
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.errors import MedzooError
from medzoo.features._base import Extractor


class Own(Extractor):
    """A module of somebody else. ``identity`` has the hash of its numbers and of the file that defines it."""

    def __init__(self, name: str, size: int, dim: int, module: nn.Module, version: str, **options: Any) -> None:
        self.name, self.size, self.dim, self.version = name, size, dim, version
        super().__init__(_Casting(module), **options)


class _Casting(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        first = next((value for value in self.module.parameters() if value.is_floating_point()), x)
        out: Tensor = self.module(x.to(first.dtype))
        return out


def load_own(name: str, options: dict[str, Any]) -> Extractor:
    """The extractor that ``module:attribute`` names.

    Raises:
        MedzooError: it cannot be imported, or is no extractor.
    """
    module, thing = _find(name)
    if callable(thing) and not isinstance(thing, Extractor | nn.Module):
        thing = _call(name, thing, options)
    if isinstance(thing, Extractor):
        # Its own version and hash say nothing of what a person changed since. A copy: theirs stays as it is.
        thing = copy.copy(thing)
        thing.version = f"{thing.version} {_hash_of(module, thing, thing.network)}"
        thing.weights_sha256 = thing.weights_sha256 or _hash_of_numbers(thing.network)
        return thing
    if not isinstance(thing, nn.Module):
        raise MedzooError(
            f"features '{name}': expected an Extractor or a torch.nn.Module, or a function that returns one, found "
            f"{type(thing).__name__}"
        )
    return _wrapped(name, module, thing, options)


def _find(name: str) -> tuple[ModuleType, Any]:
    path, _, attribute = name.partition(":")
    if not path or not attribute:
        raise MedzooError(f"features '{name}': expected module:attribute, such as mine:extractor for mine.py")
    with _running(name, f"importing {path}"), _beside():
        module = importlib.import_module(path)
    if not hasattr(module, attribute):
        names = ", ".join(known for known in vars(module) if not known.startswith("_")) or "nothing"
        raise MedzooError(f"features '{name}': {path} has no '{attribute}'; it has {names}")
    return module, getattr(module, attribute)


def _call(name: str, function: Any, options: dict[str, Any]) -> Any:
    try:
        inspect.signature(function).bind(**options)
    except (TypeError, ValueError):
        options = {}
    with _running(name, "calling it"), _beside():
        return function(**options)


def _wrapped(name: str, code: ModuleType, module: nn.Module, options: dict[str, Any]) -> Own:
    size = getattr(module, "size", None)
    if not isinstance(size, int) or size < 1:
        raise MedzooError(
            f"features '{name}': the module has to say which images it takes: set its attribute `size`, in pixels "
            f"(found {size!r})"
        )
    module = module.eval()
    with _running(name, f"a first image of {size} x {size}"), torch.inference_mode():
        device = next((value.device for value in module.parameters()), torch.device("cpu"))
        seen = _Casting(module)(torch.full((1, 3, size, size), 0.5, device=device))
    if not isinstance(seen, Tensor) or seen.ndim != 2 or len(seen) != 1:
        shape = list(seen.shape) if isinstance(seen, Tensor) else type(seen).__name__
        raise MedzooError(f"features '{name}': one image must give features [1, d], found {shape}")
    return Own(
        name, size, seen.shape[1], module, _hash_of(code, module), weights_sha256=_hash_of_numbers(module), **options
    )


def _hash_of(code: ModuleType, *objects: Extractor | nn.Module) -> str:
    """Of the files of the module and of the classes of all objects in it, so that features of yesterday's code are
    not taken for today's.
    """
    parts = [part for thing in objects for part in (thing.modules() if isinstance(thing, nn.Module) else (thing,))]
    modules = [code, *(sys.modules.get(kind.__module__) for part in parts for kind in type(part).__mro__)]
    files = {file for module in modules if (file := getattr(module, "__file__", None))}
    hashes = sorted({hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files})
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _hash_of_numbers(module: nn.Module) -> str:
    """Of parameters and buffers, those that are not saved among them."""
    digest = hashlib.sha256()
    for key, value in (*module.state_dict().items(), *module.named_buffers(prefix="buffer")):
        digest.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _running(name: str, what: str) -> Iterator[None]:
    """Whatever goes wrong in a person's code, in a line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MedzooError):
            raise
        raise MedzooError(f"features '{name}': {what} failed: {type(error).__name__}: {error}") from error


@contextmanager
def _beside() -> Iterator[None]:
    """Modules of the current folder are found, after all others."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
