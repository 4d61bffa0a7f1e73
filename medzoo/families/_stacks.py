"""Files that a model is conditioned on -> arrays for its network: pictures, and volumes a few slices at a time."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medzoo import imagefiles
from medzoo.conditions import Input, kind_of
from medzoo.entry import Condition
from medzoo.errors import ConditionError
from medzoo.files.reading import sha256_of
from medzoo.imagefiles.volume import Stack

# Of names like 1.2.840.10008.dcm only this goes: what is before it tells the files apart.
_SUFFIX = re.compile(r"\.(png|jpe?g|tiff?|bmp|gif|webp|dcm|dicom|ima|nii|nii\.gz|npy)$", re.IGNORECASE)


def of_stack(model_id: str, declared: Condition, stack: Stack, channels: int | None) -> Input:
    """A volume, one slice of it, or a picture of a scanner.

    Raises ConditionError: it has no such slice, or the model takes other channels.
    """
    if channels not in (None, 1, 3):
        raise ConditionError(f"{model_id} takes images of {channels} channels, {stack.path.name} has 1")
    slice = declared.slice
    words, depth, provenance = stack.path.name, stack.depth, stack.provenance
    if len(stack.files) > 1:
        words += f" and {len(stack.files) - 1} more"
    if depth is not None and declared.axis not in (None, "axial"):
        words += f", {declared.axis}"  # another picture, so that another run is not resumed
    if slice is not None:
        if not 0 <= slice < (depth or 1):
            raise ConditionError(f"{model_id}: {stack.path.name} has no slice {slice}; it has 0 to {(depth or 1) - 1}")
        if depth is not None:
            words, provenance = f"{words}, slice {slice}", provenance.slice(slice)
    slices = partial(_slices, declared, stack, channels)
    middle = (depth or 1) // 2 if slice is None else slice

    def read() -> NDArray[np.float32]:
        one: NDArray[np.float32] = slices(range(middle, middle + 1))[0]
        return one

    if depth is None and stack.plain:
        read = partial(read_file, declared, stack.path, channels)
    whole = depth is not None and slice is None
    return Input(
        read, words, name_of(stack.path), partial(_hash, stack.files), depth if whole else None,
        slices if whole else None, provenance, private=True,
    )  # fmt: skip


def read_file(declared: Condition, path: Path, channels: int | None) -> NDArray[np.float32]:
    """One picture."""
    if kind_of(declared).binary and channels in (None, 1):
        return in_range(declared, imagefiles.read_mask(path, size=declared.size))
    image = imagefiles.read_image(path, channels=channels, size=declared.size, window=declared.window)
    return in_range(declared, image)


def name_of(path: Path) -> str:
    return _SUFFIX.sub("", path.name) or path.name


def in_range(declared: Condition, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """[0, 1] -> the range of the network; masks are cut at half of their largest value first."""
    if kind_of(declared).binary and image.max() > 0:
        image = (image > image.max() / 2).astype(np.float32)
    low, high = declared.range
    return image * np.float32(high - low) + np.float32(low)


def _slices(declared: Condition, stack: Stack, channels: int | None, at: range) -> NDArray[np.float32]:
    """Some slices [k, C, H, W] for the network."""
    volume = stack.load(declared.window)
    masks = kind_of(declared).binary and channels in (None, 1)
    made = []
    for k in at:
        if masks:
            image = imagefiles.foreground(volume.units(k), stack.path)[None].astype(np.float32)
        else:
            image = volume.part(k)[None]
        if declared.size is not None and image.shape[1:] != declared.size:
            image = imagefiles.resize(image, declared.size)
        image = (image >= 0.5).astype(np.float32) if masks else image
        made.append(in_range(declared, np.repeat(image, 3, axis=0) if channels == 3 else image))
    return np.stack(made)


def _hash(files: tuple[Path, ...]) -> str:
    if len(files) == 1:
        return sha256_of(files[0])
    return hashlib.sha256("\n".join(sha256_of(file) for file in files).encode()).hexdigest()
