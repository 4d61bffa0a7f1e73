"""Golden samples: what a model gave when it was published, to be compared with what it gives here.

A safetensors file with ``seed0.images`` uint8 [4, C, (D,) H, W] (samples 0 to 3), ``seed1.images`` to ``seed3.images``
(sample 0 of each), and ``seed0.masks`` ... for models with masks. It is ``goldens/<ID>.safetensors`` of the registry
folder, or ``goldens.safetensors`` of the Hub repository that the weights come from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.catalog import Located
from medzoo.checking.finding import Finding, failed, one_line, passed, skipped
from medzoo.checking.numbers import MASKS, mask_share
from medzoo.entry import HubSource
from medzoo.errors import CheckpointError, DownloadError, MedzooError, MissingFile
from medzoo.families._base import Generator
from medzoo.files import reading
from medzoo.weights import network_is_off

HUB_FILE = "goldens.safetensors"
COUNTS = {0: 4, 1: 1, 2: 1, 3: 1}  # seed -> how many samples
LEVELS = 2  # of 255 that a pixel may differ by: other processors add up in another order, and 8 bits round
LARGEST = 200_000_000  # bytes

Arrays = dict[str, NDArray[np.uint8]]


def samples(generator: Generator, condition: Any) -> Arrays:
    """The golden samples of a model, made now."""
    arrays: Arrays = {}
    for seed, n in COUNTS.items():
        made = generator.generate(n, condition, seed=seed)
        arrays[f"seed{seed}.images"] = made.uint8()
        if made.masks is not None:
            arrays[f"seed{seed}.masks"] = made.masks
    return arrays


def made_with(generator: Generator) -> dict[str, Any]:
    """What the file states beside the samples."""
    import torch

    from medzoo import __version__

    return {
        "model_id": generator.entry.model_id, "revision": generator.entry.revision,
        "weights_sha256": generator.weights_sha256, "medzoo": __version__, "torch": torch.__version__,
        "device": generator.device.type,
    }  # fmt: skip


def pack(arrays: Arrays, stated: dict[str, Any]) -> bytes:
    """The bytes of a file of goldens."""
    from safetensors.numpy import save

    # One key, because safetensors writes several in any order, and the same goldens shall give the same file.
    return save(arrays, {"medzoo": json.dumps(stated, sort_keys=True)})


def finding(located: Located, made: Arrays) -> Finding:
    """Compare samples made now with the golden ones, where there are any."""
    try:
        path = _locate(located)
        if path is None:
            return skipped("goldens", "there are none; medzoo check --write-goldens makes them")
        golden, stated = read(path)
    except DownloadError as error:
        return skipped("goldens", one_line(error))
    except MedzooError as error:
        return failed("goldens", one_line(error))
    return compare(made, golden, stated, located.entry.revision)


def compare(made: Arrays, golden: Arrays, stated: dict[str, Any], revision: str) -> Finding:
    """Pass where no pixel is further than ``LEVELS`` from the golden one, and hardly a mask pixel differs."""
    shapes = [name for name in {*made, *golden} if name not in made or name not in golden]
    shapes += [name for name in golden if name in made and golden[name].shape != made[name].shape]
    if shapes:
        return failed("goldens", f"{', '.join(sorted(shapes))}: not of the shape that the model gives; make them anew")
    images = [name for name in golden if name.endswith(".images")]
    apart = {name: int(np.abs(golden[name].astype(int) - made[name]).max(initial=0)) for name in images}
    masks = max((mask_share(golden[name], made[name]) for name in golden if name.endswith(".masks")), default=0.0)
    worst = max(apart, key=lambda name: apart[name])
    measured = f"{sum(len(golden[name]) for name in images)} samples of seeds {min(COUNTS)} to {max(COUNTS)}: "
    measured += f"{apart[worst]} of 255 apart at most, allowed {LEVELS}"
    measured += f"; masks differ in {masks:.2%}, allowed {MASKS:.1%}" if any("masks" in name for name in golden) else ""
    if apart[worst] > LEVELS or masks > MASKS:
        older = stated.get("revision") not in (None, revision)
        hint = f"; they are of revision {stated.get('revision')}, the entry is {revision}" if older else ""
        return failed("goldens", f"{measured} (worst: {worst}){hint}")
    return passed("goldens", measured)


def read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a file of goldens and what it states. Raises MedzooError."""
    from medzoo.weights import tensorfile

    try:
        described, metadata = tensorfile.read(path)
        stated = reading.parse_json(metadata.get("medzoo", "{}"))
    except (CheckpointError, ValueError) as error:
        raise MedzooError(f"{path}: no file of golden samples ({one_line(error)})") from None
    wrong = [name for name, array in described.items() if array.dtype != "uint8"]
    named = any(name.endswith(".images") for name in described)
    if wrong or not named or not isinstance(stated, dict):
        raise MedzooError(
            f"{path}: no file of golden samples: expected uint8 seed0.images, ..., found {list(described)}"
        )
    arrays = {
        name: np.frombuffer(array.storage.read(), np.uint8).reshape(array.shape) for name, array in described.items()
    }
    return arrays, stated


def path_in(registry: Path, model_id: str) -> Path:
    """Where the goldens of a model lie in a registry folder."""
    return registry / "goldens" / f"{model_id}.safetensors"


def _locate(located: Located) -> Path | None:
    """Of the registry folder first, then of the Hub repositories of the weights. Raises DownloadError."""
    if located.registry is not None and (path := path_in(located.registry, located.entry.model_id)).is_file():
        return path
    from medzoo.weights.sources import hub

    for source in located.entry.weights:
        if isinstance(source, HubSource) and source.file.endswith(".safetensors"):
            address = hub.Address(source.repo, HUB_FILE, source.revision)
            try:
                return hub.obtain(address, offline=network_is_off(), largest=LARGEST).path
            except MissingFile:
                continue
    return None
