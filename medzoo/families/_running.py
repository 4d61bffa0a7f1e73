"""Batches of a run: as many samples at once as memory holds, and from raw network output to Samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medzoo import device as devices
from medzoo.conditions import kind_of
from medzoo.errors import DeviceError, GenerationError
from medzoo.families._condition import Conditions, Given
from medzoo.families._loading import listed
from medzoo.progress import Progress, shown
from medzoo.randomness import Noise
from medzoo.samples import Samples

if TYPE_CHECKING:
    from medzoo.families._base import Generator


def batches(generator: Generator, indices: range, conditions: Conditions, seed: int, size: int) -> Iterator[Samples]:
    """The samples ``indices``, at most ``size`` at once; half as many from where memory runs out.

    Raises DeviceError: not even one sample fits in memory.
    """

    def batch(part: slice) -> Samples:
        noise = Noise(seed, indices[part], generator.device, generator.dtype)
        return _batch(generator, noise, indices[part], conditions[part], seed)

    yield from _in_parts(generator, batch, len(indices), size)


def of_latents(
    generator: Generator, latents: Tensor, conditions: Conditions, seed: int, injected: Sequence[int], size: int
) -> Iterator[Samples]:
    """The samples of explicit latents, numbered from 0 and of no seed; ``injected`` and ``seed`` decide other noise."""

    def batch(part: slice) -> Samples:
        noise = Noise(seed, injected[part], generator.device, generator.dtype).given(latents[part])
        return _batch(generator, noise, range(len(latents))[part], conditions[part], None)

    yield from _in_parts(generator, batch, len(latents), size)


def watched(
    generator: Generator, batches: Iterator[Samples], n: int, progress: bool | Progress | None
) -> Iterator[Samples]:
    """The same batches, with ``progress`` (see ``medzoo.progress``) after each and within it."""
    done = 0
    with shown(progress) as show:
        before, generator.on_progress = generator.on_progress, lambda step, steps: show(done, n, (step, steps))
        try:
            show(0, n, None)
            for samples in batches:
                done += len(samples)
                show(done, n, None)
                yield samples
        finally:
            generator.on_progress = before


def draw_classes(generator: Generator, conditions: Conditions, noise: Noise) -> Conditions:
    """With a class for every sample where the model takes one and nobody states it: drawn from its own noise."""
    declared = generator.declared
    if declared is None or not kind_of(declared).labelled or not declared.classes or conditions.labels is not None:
        return conditions
    return replace(conditions, labels=noise.classes(len(declared.classes)), classes=declared.classes)


def no_samples(generator: Generator, seed: int) -> Samples:
    """Samples of the right shapes, none of them."""
    output, condition = generator.entry.output, generator.entry.condition
    size = output.size or (0,) * (3 if output.type.startswith("volume") else 2)
    return Samples(
        images=np.zeros((0, output.channels, *size), np.float32),
        masks=np.zeros((0, output.masks, *size), np.uint8) if output.masks else None,
        labels=np.zeros(0, np.int64) if condition and kind_of(condition).labelled else None,
        condition=() if condition else None,
        indices=np.zeros(0, np.int64),
        **_origin(generator, seed),
    )


def whole_number(name: str, value: Any, limit: int, *, least: int = 0) -> int:
    """A whole number from ``least`` to ``limit - 1``. Raises GenerationError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise GenerationError(f"{name} must be a whole number, found {value!r}")
    if not least <= value < limit:
        raise GenerationError(f"{name} must lie between {least} and {limit - 1}, found {value}")
    return int(value)


def check_latents(generator: Generator, latents: Any) -> None:
    """Raises GenerationError where they are no tensor [n, *latent_shape]."""
    name, shape = generator.entry.model_id, generator.latent_shape
    if not isinstance(latents, Tensor):
        raise GenerationError(f"{name}: latents must be a torch tensor, found {type(latents).__name__}")
    if shape is None or tuple(latents.shape[1:]) != shape:
        wanted = "None: it draws none" if shape is None else f"[n, {', '.join(map(str, shape))}]"
        raise GenerationError(f"{name}: latents must be {wanted}, found {list(latents.shape)}")


def _in_parts(generator: Generator, batch: Callable[[slice], Samples], rows: int, size: int) -> Iterator[Samples]:
    try:
        yield from devices.in_parts(batch, rows, size, generator.device)
    except torch.OutOfMemoryError:
        raise DeviceError(
            f"{generator.entry.model_id}: the memory of '{generator.device}' is too small for a single sample; "
            "free some, or choose another with device= (--device)"
        ) from None


def _batch(generator: Generator, noise: Noise, indices: range, conditions: Conditions, seed: int | None) -> Samples:
    """One batch. Raises what torch raises where it does not fit in memory."""
    device, dtype = generator.device, generator.dtype
    with torch.inference_mode(), devices.exact_convolutions(device):
        conditions = draw_classes(generator, conditions, noise)
        given = Given.of(conditions, device, dtype)
        generator.check_given(given)
        return _finish(generator, generator.sample_batch(noise, given), indices, conditions, seed)


def _finish(generator: Generator, raw: Tensor, indices: range, conditions: Conditions, seed: int | None) -> Samples:
    """Raw output -> Samples: checked, scaled to [0, 1], masks cut at one half."""
    _check_output(generator, raw, indices)
    output = generator.entry.output
    low, high = output.range
    images = raw[:, : output.channels].float().sub(low).div_(high - low).clamp_(0, 1)
    masks = raw[:, output.channels :].gt((low + high) / 2).to(torch.uint8) if output.masks else None
    return Samples(
        images=images.contiguous().cpu().numpy(),
        masks=None if masks is None else masks.contiguous().cpu().numpy(),
        labels=None if conditions.labels is None else conditions.labels.copy(),
        condition=conditions.words,
        names=conditions.names,
        indices=np.array(indices, dtype=np.int64),
        **_origin(generator, seed),
    )


def _check_output(generator: Generator, raw: Tensor, indices: range) -> None:
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


def _origin(generator: Generator, seed: int | None) -> dict[str, Any]:
    entry = generator.entry
    return {
        "seed": seed, "model_id": generator.name, "revision": entry.revision,
        "weights_sha256": generator.weights_sha256, "precision": generator.precision,
        "classes": entry.condition.classes if entry.condition else None, "spacing": entry.output.spacing,
    }  # fmt: skip
