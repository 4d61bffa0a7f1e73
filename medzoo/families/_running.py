"""Batches of a run: as many samples at once as memory holds, and from raw network output to Samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medzoo import device as devices
from medzoo.conditions import kind_of
from medzoo.errors import DeviceError, GenerationError
from medzoo.families._condition import Conditions, Given
from medzoo.families._finishing import draw_classes, finish, origin
from medzoo.families._slices import check_alike, of_volume
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
        **origin(generator, seed),
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
    if conditions.has_volumes:
        each = [of_volume(generator, indices[k], conditions[k : k + 1], seed) for k in range(len(indices))]
        check_alike(generator, each)
        return Samples.concatenate(each)
    with torch.inference_mode(), devices.exact_convolutions(device):
        conditions = draw_classes(generator, conditions, noise)
        given = Given.of(conditions, device, dtype)
        generator.check_given(given)
        return finish(generator, generator.sample_batch(noise, given), indices, conditions, seed)
