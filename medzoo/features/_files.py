"""Weights of extractors: fetched when first needed, verified, and kept as models' weights are (``medzoo.weights``).

They lie in the medzoo cache under ``features_<name>``, so that ``medzoo cache list | verify | clear`` know them. Only
numbers are read. Where no hash is known, that of the first download goes to the lock file, and later ones have to be
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from safetensors import safe_open
from torch import Tensor, nn

from medzoo import weights
from medzoo.entry import HttpSource, HubSource
from medzoo.errors import CheckpointError, DownloadError
from medzoo.files import cache
from medzoo.weights import checkpoints, lockfile


@dataclass(frozen=True)
class File:
    """One file of published weights.

    Attributes:
        sources: where it is, the same file everywhere, tried in order.
        container: what it is: ``safetensors`` or ``torch``.
    """

    sources: tuple[HubSource | HttpSource, ...]
    container: Literal["safetensors", "torch"]


def on_the_hub(repo: str, revision: str | None, file: str, sha256: str | None, size: int | None = None) -> HubSource:
    """A file of a Hub repository."""
    return HubSource(kind="hub", repo=repo, revision=revision, file=file, sha256=sha256, size=size)


def at_url(url: str, sha256: str | None, size: int | None = None) -> HttpSource:
    """A file behind a URL."""
    return HttpSource(kind="http", url=url, sha256=sha256, size=size)


def obtain(
    name: str, file: File, *, variant: str | None = None, keep: Callable[[str], bool] = lambda key: True
) -> tuple[dict[str, Tensor], str]:
    """State dict of a file and its SHA-256; from the cache, else from the network.

    Args:
        name: of the extractor.
        variant: which of its networks; None if there is but one.
        keep: which keys are wanted; others are not read into memory.

    Raises:
        WeightsError: it is not available, is not the file that was meant, or cannot be read.
    """
    key = f"features_{name}" if variant is None else f"features_{name}_{variant}"
    try:
        fetched = weights.fetch_source(file.sources, key, container=file.container, convert=checkpoints.convert)
    except DownloadError as error:
        raise type(error)(f"{error}\n{_advice(name, variant, key)}") from error
    with safe_open(fetched.path, "pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys() if keep(name)}, fetched.sha256  # noqa: SIM118


def fill(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load a state dict whose keys and shapes have to be the network's, in float32.

    ``num_batches_tracked`` of batch norm may be there or not: it decides nothing. A network made on torch's ``meta``
    device takes the tensors of the state dict as they are, which spares a second copy.

    Raises:
        CheckpointError: something is missing, too much, or of another shape.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items() if _counts(key)}
    given = {key: tuple(value.shape) for key, value in state.items() if _counts(key)}
    if expected != given:
        differ = sorted(key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key))
        first = differ[0]
        raise CheckpointError(
            f"features '{name}': the weights are those of another network: '{first}' is {given.get(first, 'missing')}, "
            f"expected {expected.get(first, 'nothing of that name')} ({len(differ)} differences in all)"
        )
    on_paper = any(value.is_meta for value in network.parameters())
    network.load_state_dict({key: value.float() for key, value in state.items() if _counts(key)}, assign=on_paper)


def _counts(key: str) -> bool:
    return not key.endswith("num_batches_tracked")


def _advice(name: str, variant: str | None, key: str) -> str:
    stated = name if variant is None else f"{name}:{variant}"
    return (
        f"To use '{name}' without a network, type medzoo cache warm --features {stated} on a machine that has one, and "
        f"copy {cache.root() / 'weights' / key} and {lockfile.path().name} from the cache there. "
        "Features 'efficientnet_lite0' and 'pixels' need no download."
    )
