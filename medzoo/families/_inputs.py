"""Images that a model is conditioned on: files, folders, arrays or Samples -> arrays, read when a batch needs them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo import imagefiles
from medzoo.conditions import Input, kind_of
from medzoo.entry import Condition
from medzoo.errors import ConditionError
from medzoo.files.reading import expanded, sha256_of
from medzoo.samples import Samples

# Of names like 1.2.840.10008.dcm only this goes: what is before it tells the files apart.
_SUFFIX = re.compile(r"\.(png|jpe?g|tiff?|bmp|gif|webp|dcm|dicom|ima|nii|nii\.gz|npy)$", re.IGNORECASE)


def gather(model_id: str, declared: Condition, stated: Any) -> list[Input]:
    """What a caller stated for all declared inputs -> one Input a sample, the inputs joined along the channels.

    Args:
        stated: for one declared input a file, a folder, an array, Samples, or a sequence of them; for several a
            mapping of these by name, a folder with a folder for each, a sequence with one of each (one sample), or
            arrays with the channels of all.

    Raises ConditionError, ImageFileError.
    """
    names = declared.inputs or ("image",)
    if len(names) == 1:
        if isinstance(stated, Mapping):
            stated = _only(model_id, declared, stated, names[0])
        return _list(model_id, declared, stated, declared.channels)
    if isinstance(stated, Mapping) and set(stated) == {"images"} and "images" not in names:
        stated = stated["images"]  # all of them, beside numbers
    if isinstance(stated, str | Path):
        stated = _subfolders(model_id, Path(stated), names)
    elif isinstance(stated, list | tuple) and len(stated) == len(names) and not isinstance(stated[0], Mapping):
        stated = dict(zip(names, stated, strict=True))
    if not isinstance(stated, Mapping):
        channels = None if declared.channels is None else declared.channels * len(names)
        return _list(model_id, declared, stated, channels, joined=True)
    missing, unknown = [n for n in names if n not in stated], [n for n in stated if n not in names]
    if missing or unknown:
        raise ConditionError(
            f"{model_id} takes the images {', '.join(names)}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; not known: {', '.join(map(str, unknown))}" if unknown else "")
        )
    lists = [_list(model_id, declared, stated[name], declared.channels) for name in names]
    if len(set(map(len, lists))) > 1:
        counts = ", ".join(f"{name} {len(inputs)}" for name, inputs in zip(names, lists, strict=True))
        raise ConditionError(f"{model_id} needs as many images of each input, found {counts}")
    return [_joined(group) for group in zip(*lists, strict=True)]


def _only(model_id: str, declared: Condition, stated: Mapping[Any, Any], name: str) -> Any:
    if set(stated) != {name} and set(stated) != {"image"} and set(stated) != {"mask"}:
        numbers = "".join(f" and '{number.name}'" for number in declared.attributes or ())
        raise ConditionError(f"{model_id} takes one image, '{name}'{numbers}; found {', '.join(map(repr, stated))}")
    return next(iter(stated.values()))


def _subfolders(model_id: str, folder: Path, names: Sequence[str]) -> dict[str, Path]:
    below = {path.name.casefold(): path for path in folder.iterdir()} if folder.is_dir() else {}
    missing = [name for name in names if name.casefold() not in below]
    if missing:
        raise ConditionError(
            f"{model_id} takes {len(names)} images a sample: {folder} must be a folder with the folders "
            f"{', '.join(names)}; missing: {', '.join(missing)}"
        )
    return {name: below[name.casefold()] for name in names}


def _joined(group: tuple[Input, ...]) -> Input:
    def read() -> NDArray[np.float32]:
        arrays = [part.read() for part in group]
        if len({array.shape[1:] for array in arrays}) > 1:
            sizes = ", ".join(f"{part.words} {a.shape[1]}x{a.shape[2]}" for part, a in zip(group, arrays, strict=True))
            raise ConditionError(f"the images of one sample differ in size: {sizes}")
        return np.concatenate(arrays)

    def sha256() -> str:
        return hashlib.sha256(" ".join(part.sha256() for part in group).encode()).hexdigest()

    return Input(read, " + ".join(part.words for part in group), group[0].name, sha256)


def _list(
    model_id: str, declared: Condition, stated: Any, channels: int | None, *, joined: bool = False
) -> list[Input]:
    """One Input for each image; ``joined``: an array holds all inputs, so that grey does not become colour."""
    if isinstance(stated, Samples):
        names = stated.names or (None,) * len(stated)
        images: NDArray[Any] = stated.images
        if kind_of(declared).binary and stated.masks is not None:
            images = stated.masks * np.uint8(255)
        return [_array(model_id, declared, images[i], channels, i, name, joined) for i, name in enumerate(names)]
    if isinstance(stated, str | Path):
        path = _expanded(model_id, stated)
        files = imagefiles.list_images(path) if path.is_dir() else (path,)
        if not files:
            raise ConditionError(f"{model_id}: the folder {path} holds no images")
        missing = [file for file in files if not file.is_file()]
        if missing:
            known = [*(declared.inputs or ()), *(number.name for number in declared.attributes or ())]
            hint = f"; what has names: {', '.join(known)}" if "=" in str(stated) else ""
            raise ConditionError(f"{model_id}: there is no file or folder '{missing[0]}'{hint}")
        return [_file(declared, file, channels) for file in files]
    if isinstance(stated, list | tuple):
        inputs = [image for item in stated for image in _list(model_id, declared, item, channels, joined=joined)]
        if not inputs:
            raise ConditionError(f"{model_id}: the list of images is empty")
        return inputs
    array = _numbers(stated, kind_of(declared).binary)
    if array is None or array.ndim not in (2, 3, 4):
        found_shape = "" if array is None else f" of shape {list(array.shape)}"
        raise ConditionError(
            f"{model_id} takes a file, a folder, an array [n, C, H, W] or Samples, "
            f"found {type(stated).__name__}{found_shape}"
        )
    if array.ndim < 4:
        array = array[None, None] if array.ndim == 2 else array[None]
    if not len(array):
        raise ConditionError(f"{model_id}: the array of images is empty")
    return [_array(model_id, declared, array[i], channels, i, None, joined) for i in range(len(array))]


def _expanded(model_id: str, stated: str | Path) -> Path:
    try:
        return expanded(stated)
    except OSError as error:
        raise ConditionError(f"{model_id}: '{stated}': {error.strerror}") from None


def _numbers(stated: Any, mask: bool) -> NDArray[Any] | None:
    if hasattr(stated, "detach"):
        stated = stated.detach().cpu()
        stated = stated.float() if stated.is_floating_point() else stated  # NumPy has no bfloat16
    elif hasattr(stated, "getbands"):  # a Pillow image
        stated = imagefiles.picture_of(stated, mask=mask)
    if not hasattr(stated, "__array__") and not hasattr(stated, "__array_interface__"):
        return None
    array = np.asarray(stated)
    return array if array.dtype.kind in "buif" else None


def _file(declared: Condition, path: Path, channels: int | None) -> Input:
    def read() -> NDArray[np.float32]:
        if kind_of(declared).binary and channels in (None, 1):
            return _in_range(declared, imagefiles.read_mask(path, size=declared.size))
        image = imagefiles.read_image(path, channels=channels, size=declared.size, window=declared.window)
        return _in_range(declared, image)

    return Input(read, path.name, _SUFFIX.sub("", path.name) or path.name, lambda: sha256_of(path))


def _array(
    model_id: str,
    declared: Condition,
    image: NDArray[Any],
    channels: int | None,
    i: int,
    name: str | None,
    joined: bool,
) -> Input:
    words = name or f"input {i}"
    name = name or f"input{i}"
    if channels is not None and image.shape[0] != channels and image.shape[-1] == channels:
        image = np.moveaxis(image, -1, 0)  # height, width, channels: what image libraries give
    if channels == 1 and image.shape[0] != 3 and image.shape[-1] == 3:
        image = np.moveaxis(image, -1, 0)
    fits = not joined and (channels, image.shape[0]) in ((1, 3), (3, 1))  # colour and grey become each other
    if channels is not None and image.shape[0] != channels and not fits:
        takes = f"{channels} channel{'s' * (channels > 1)}"
        raise ConditionError(f"{model_id} takes images of {takes}, {words} has shape {list(image.shape)}")
    if image.dtype.kind in "ui" and image.dtype != np.uint8:
        raise ConditionError(f"{model_id}: {words} is {image.dtype}; give uint8, or floats in [0, 1]")

    def read() -> NDArray[np.float32]:
        if kind_of(declared).binary and image.dtype.kind in "ui":
            for plane in image:  # labels would lose all but the upper half of their numbers
                imagefiles.foreground(plane, f"{model_id}: {words}")
        scaled = image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
        if not (scaled.min() >= 0 and scaled.max() <= 1):
            raise ConditionError(f"{model_id}: {words} must lie in [0, 1], found [{scaled.min()}, {scaled.max()}]")
        if channels == 3 and len(scaled) == 1:
            scaled = np.repeat(scaled, 3, axis=0)
        elif channels == 1 and len(scaled) == 3:
            scaled = (scaled * imagefiles.LUMA[:, None, None]).sum(axis=0, keepdims=True)
        if declared.size is not None and scaled.shape[1:] != declared.size:
            scaled = imagefiles.resize(scaled, declared.size)
        return _in_range(declared, scaled)

    def sha256() -> str:
        stored = np.ascontiguousarray(image)
        return hashlib.sha256(f"{stored.dtype.str} {list(stored.shape)}\n".encode() + stored.tobytes()).hexdigest()

    return Input(read, words, name, sha256)


def _in_range(declared: Condition, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """[0, 1] -> the range of the network; masks are cut at half of their largest value first."""
    if kind_of(declared).binary and image.max() > 0:
        image = (image > image.max() / 2).astype(np.float32)
    low, high = declared.range
    return image * np.float32(high - low) + np.float32(low)
