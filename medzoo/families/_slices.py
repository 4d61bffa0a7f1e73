"""A volume through a network of pictures: slice by slice, and together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from medzoo import device as devices
from medzoo import limits
from medzoo.errors import ConditionError
from medzoo.families._condition import Conditions, Given
from medzoo.families._finishing import check_output, draw_classes, parted, samples_of
from medzoo.randomness import Noise
from medzoo.samples import Samples

if TYPE_CHECKING:
    from medzoo.families._base import Generator

AT_ONCE = 8  # slices; the same number always, so that a resumed run gives the same bytes


def of_volume(generator: Generator, index: int, conditions: Conditions, seed: int | None) -> Samples:
    """The sample of an input volume, [1, C, D, H, W]. Its slices share the noise of its index.

    Raises what torch raises where not one slice fits in memory, ConditionError, GenerationError.
    """
    source, entry = conditions.input(0), generator.entry
    depth = source.depth
    if depth is None or entry.output.type.startswith("volume"):
        raise ConditionError(
            f"{entry.model_id}: {source.words} is a picture beside volumes; give pictures and volumes apart"
            if depth is None
            else f"{entry.model_id} makes volumes, and takes pictures; of {source.words} state the slice"
        )
    done = 0

    def some(part: slice) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        nonlocal done
        at = range(depth)[part]
        made = _some(generator, index, conditions, at, seed or 0)
        done += len(at)
        if generator.on_progress is not None:
            generator.on_progress(done, depth)
        return made

    whole: list[NDArray[Any] | None] = [None, None]
    start = 0
    for parts in devices.in_parts(some, depth, AT_ONCE, generator.device):
        for kind, part in enumerate(parts):
            if part is None:
                continue
            if whole[kind] is None:
                shape = (part.shape[1], depth, *part.shape[2:])
                what = f"output of {entry.model_id}"
                limits.check("volume_voxels", int(np.prod(shape, dtype=float)), what, ConditionError)
                whole[kind] = np.empty((1, *shape), part.dtype)
            whole[kind][0, :, start : start + len(part)] = np.moveaxis(part, 0, 1)  # type: ignore[index]
        start += len(parts[0])
    images, masks = whole
    assert images is not None
    return samples_of(generator, images, masks, range(index, index + 1), conditions, seed)


def check_alike(generator: Generator, each: Sequence[Samples]) -> None:
    """Raises ConditionError where volumes do not fit in one array."""
    shapes = {one.images.shape[1:] for one in each}
    if len(shapes) > 1:
        raise ConditionError(
            f"{generator.entry.model_id}: the volumes have {len(shapes)} shapes; take them one by one (batch_size=1)"
        )


def _some(
    generator: Generator, index: int, conditions: Conditions, at: range, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    device, dtype = generator.device, generator.dtype
    with torch.inference_mode(), devices.exact_convolutions(device):
        noise = Noise(seed, [index] * len(at), device, dtype)
        drawn = draw_classes(generator, conditions, Noise(seed, [index], device, dtype))
        given = Given.of_slices(drawn, at, device, dtype)
        generator.check_given(given)
        raw = generator.sample_batch(noise, given)
        check_output(generator, raw, range(index, index + len(at)))
        return parted(generator, raw)
