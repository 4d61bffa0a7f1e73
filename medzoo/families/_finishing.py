"""From raw network output to Samples: checked, scaled to [0, 1], with where they come from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.conditions import kind_of
from medzoo.errors import GenerationError
from medzoo.families._condition import Conditions
from medzoo.families._loading import listed
from medzoo.randomness import Noise
from medzoo.samples import Samples

if TYPE_CHECKING:
    from medzoo.families._base import Generator


def draw_classes(generator: Generator, conditions: Conditions, noise: Noise) -> Conditions:
    """With a class for every sample where the model takes one and nobody states it: drawn from its own noise."""
    declared = generator.declared
    if declared is None or not kind_of(declared).labelled or not declared.classes or conditions.labels is not None:
        return conditions
    return replace(conditions, labels=noise.classes(len(declared.classes)), classes=declared.classes)


def finish(generator: Generator, raw: Tensor, indices: range, conditions: Conditions, seed: int | None) -> Samples:
    """Raw output -> Samples: checked, scaled to [0, 1], masks cut at one half."""
    check_output(generator, raw, indices)
    images, masks = parted(generator, raw)
    return samples_of(generator, images, masks, indices, conditions, seed)


def parted(generator: Generator, raw: Tensor) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Raw output [B, channels + masks, ...] -> images in [0, 1], and masks cut at one half."""
    output = generator.entry.output
    low, high = output.range
    images = raw[:, : output.channels].float().sub(low).div_(high - low).clamp_(0, 1)
    masks = raw[:, output.channels :].gt((low + high) / 2).to(torch.uint8) if output.masks else None
    return images.contiguous().cpu().numpy(), None if masks is None else masks.contiguous().cpu().numpy()


def samples_of(
    generator: Generator,
    images: NDArray[np.float32],
    masks: NDArray[np.uint8] | None,
    indices: range,
    conditions: Conditions,
    seed: int | None,
) -> Samples:
    """With where they come from."""
    lie = conditions.provenance
    size = images.shape[-2], images.shape[-1]
    return Samples(
        images=images,
        masks=masks,
        labels=None if conditions.labels is None else conditions.labels.copy(),
        condition=conditions.words,
        names=conditions.names,
        provenance=None if lie is None else tuple(one if one is None else one.resized(size) for one in lie),
        indices=np.array(indices, dtype=np.int64),
        **origin(generator, seed),
    )


def check_output(generator: Generator, raw: Tensor, indices: range) -> None:
    output, name = generator.entry.output, generator.entry.model_id
    dims = 3 if output.type.startswith("volume") else 2
    size = output.size or tuple(raw.shape[-dims:])
    wanted = (len(indices), output.channels + output.masks, *size)
    if tuple(raw.shape) != wanted:
        raise GenerationError(
            f"{name}: the entry states output {list(wanted)} (samples, channels and masks, size), "
            f"the network gave {list(raw.shape)}; correct 'output' or 'config' in the entry"
        )
    # One number that is not finite makes the sum not finite, and a sum takes a fifth of the time.
    if not torch.isfinite(raw.sum(dtype=torch.float32)) and not torch.isfinite(raw).all():
        finite = torch.isfinite(raw).flatten(1).all(1).tolist()
        broken = [i for i, fine in zip(indices, finite, strict=True) if not fine]
        raise GenerationError(
            f"{name}: the network gave numbers that are not finite for index {listed(broken)} "
            f"in {generator.precision}; try precision float32"
        )


def origin(generator: Generator, seed: int | None) -> dict[str, Any]:
    entry = generator.entry
    return {
        "seed": seed, "model_id": generator.name, "revision": entry.revision,
        "weights_sha256": generator.weights_sha256, "precision": generator.precision,
        "mask_names": entry.output.mask_names,
        "classes": entry.condition.classes if entry.condition else None, "spacing": entry.output.spacing,
    }  # fmt: skip
