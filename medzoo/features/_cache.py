"""Features that were extracted once, kept on disk by what they are made of.

    <cache>/features/<key>.npy           float32 [n, d]
    <cache>/features/<key>.json          its hash, and what made it; written last
    <cache>/features/<key>.parts/        what an interrupted extraction got so far, <start>-<hash>.npy

The key is a hash of every pixel and of the extractor's ``identity`` (weights, size, filter, precision), so that
neither another data set nor another protocol is ever taken for this one. A file that is damaged is made anew. A disk
that cannot be written costs the cache, not the features.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medzoo.files import cache, whole
from medzoo.files.reading import read_json

if TYPE_CHECKING:
    from medzoo.features._base import Extractor

PART = 64
_SLAB = 2**24  # bytes hashed at once

_log = logging.getLogger("medzoo")


def features_of(
    images: NDArray[Any],
    extractor: Extractor,
    progress: Callable[[int, int], None] | None = None,
    *,
    part: int = PART,
) -> NDArray[np.float32]:
    """Features float32 [n, d] of images as ``Extractor.__call__`` takes them, from the cache where they are there.

    Args:
        images: may lie on disk (``numpy.memmap``); a part is read at a time.
        progress: called with (images done, images in all).
        part: images at least that are extracted before they are stored; what an interruption may cost.

    Raises:
        ValueError: wrong shape, type or range.
        MedzooError: the extractor fails.
    """
    show = progress or (lambda done, total: None)
    folder = cache.root() / "features"
    if extractor.cheap or not len(images):
        made = extractor(images)
        show(len(images), len(images))
        return made
    path = folder / f"{_key(images, extractor)}.npy"
    features = _read(path, (len(images), extractor.dim))
    if features is None:
        parts = path.with_suffix(".parts")
        features = _extract(images, extractor, parts, show, part)
        if _saved(path, features, extractor):
            shutil.rmtree(parts, ignore_errors=True)
    show(len(images), len(images))
    return features


def _key(images: NDArray[Any], extractor: Extractor) -> str:
    digest = hashlib.sha256(f"{extractor.identity}\n{images.dtype.str} {list(images.shape)}\n".encode())
    step = max(1, _SLAB // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).data)
    return digest.hexdigest()


def _extract(
    images: NDArray[Any], extractor: Extractor, parts: Path, show: Callable[[int, int], None], part: int
) -> NDArray[np.float32]:
    """Part by part, each kept until the whole is there."""
    out = np.empty((len(images), extractor.dim), np.float32)
    step = max(part, extractor.batch_size)
    for start in range(0, len(images), step):
        show(start, len(images))
        rows = out[start : start + step]
        features = _read_part(parts, start, rows.shape)
        if features is None:
            features = extractor(images[start : start + step])
            if len(images) > step:
                _write_part(parts, start, features)
        rows[:] = features
    return out


def _read_part(parts: Path, start: int, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    for path in parts.glob(f"{start:09d}-*.npy"):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if hashlib.sha256(data).hexdigest()[:32] == path.stem.partition("-")[2]:
            return _array(data, shape)
    return None


def _write_part(parts: Path, start: int, features: NDArray[np.float32]) -> None:
    data = _bytes(features)
    try:
        parts.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(parts / f"{start:09d}-{hashlib.sha256(data).hexdigest()[:32]}.npy", data)
    except OSError as error:
        _log.debug("%s: features so far are not kept (%s)", parts, error.strerror)


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Features that are, byte for byte, those that were stored; None if there are none."""
    record = path.with_suffix(".json")
    if not record.exists():
        return None
    try:
        data = path.read_bytes()
        stated = read_json(record)["sha256"]
        if hashlib.sha256(data).hexdigest() == stated and (features := _array(data, shape)) is not None:
            return features
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _log.warning("%s: is damaged; the features are extracted again", path)
    return None


def _saved(path: Path, features: NDArray[np.float32], extractor: Extractor) -> bool:
    data = _bytes(features)
    record = {"sha256": hashlib.sha256(data).hexdigest(), "extractor": json.loads(extractor.identity)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(path, data)
        whole.write_json(path.with_suffix(".json"), record)
        return True
    except OSError as error:
        _log.warning(
            "%s: the features cannot be kept (%s) and are extracted again next time; make room, or set MEDZOO_CACHE to "
            "a folder on another disk", path, error.strerror,
        )  # fmt: skip
        return False


def _array(data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        return None
    fits = array.shape == shape and array.dtype == np.float32 and bool(np.isfinite(array).all())
    return array if fits else None


def _bytes(features: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, features, allow_pickle=False)
    return stream.getvalue()
