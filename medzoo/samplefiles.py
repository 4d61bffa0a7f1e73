"""One sample -> its files, each of them whole or not there; where a sample comes from, in words.

A file gets its name when all of it is on the disk: written beside, fsync, renamed.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medzoo import __version__
from medzoo.errors import SavingError
from medzoo.png import encode_png
from medzoo.samples import Samples

Format = Literal["png", "npy", "npz"]
FORMATS: tuple[Format, ...] = ("png", "npy", "npz")


def check_format(format: str, shape: tuple[int, ...], masks: int) -> None:
    """Raises SavingError when samples of ``shape`` [C, (D,) H, W] with so many masks do not fit in a format."""
    if format not in FORMATS:
        raise SavingError(f"unknown format '{format}'; choose from {', '.join(FORMATS)}")
    if format == "png" and (len(shape) != 3 or shape[0] not in (1, 3) or masks > 1):
        raise SavingError(
            f"PNG holds images of 1 or 3 channels and one mask, the samples are {list(shape)} with {masks} masks; "
            "take --format npz"
        )


def contents(samples: Samples, i: int, format: Format, record: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(suffix, content) of each file of one sample, the image first."""
    image, mask = samples.images[i], None if samples.masks is None else samples.masks[i]
    if format == "npz":
        yield ".npz", _bytes(np.savez, image=image) if mask is None else _bytes(np.savez, image=image, mask=mask)
    elif format == "npy":
        yield ".npy", _bytes(np.save, image)
        if mask is not None:
            yield "_mask.npy", _bytes(np.save, mask)
    else:
        pixels = samples[i].uint8()[0]
        yield ".png", encode_png(np.moveaxis(pixels, 0, 2), _words(record))
        if mask is not None:
            yield "_mask.png", encode_png(mask[0, :, :, None] * np.uint8(255), _words(record))


def write_picture(path: Path, samples: Samples, *, size: int) -> Path:
    """Write the contact sheet of ``samples`` with the words that say it is synthetic. Raises SavingError."""
    sheet = np.asarray(samples.grid(size=size))
    record = {**origin(samples, 0), "index": samples.indices.tolist()}
    with saying_why(path.parent):
        write_whole(path, encode_png(sheet, _words(record)))
    return path


def origin(samples: Samples, i: int) -> dict[str, Any]:
    """Where a sample comes from, as its manifest line and its PNG say it."""
    return {
        "index": int(samples.indices[i]),
        "seed": samples.seed,
        "condition": None if samples.condition is None else samples.condition[i],
        "label": None if samples.labels is None else int(samples.labels[i]),
        "model_id": samples.model_id,
        "revision": samples.revision,
        "weights_sha256": samples.weights_sha256,
        "medzoo": __version__,
        "synthetic": samples.model_id is not None,
    }


def write_whole(path: Path, content: bytes) -> None:
    """A file appears under its name when all of it is on the disk."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Make the new names in a folder last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def saying_why(folder: Path, state: Callable[[], str] = lambda: "nothing was written") -> Iterator[None]:
    """Turns what the disk refuses into one clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SavingError(
                f"no space left for {folder} ({error.strerror}); {state()}: make room and type --resume"
            ) from error
        raise SavingError(f"{folder} cannot be written: {error.strerror or error}; {state()}") from error


def _words(record: dict[str, Any]) -> dict[str, str]:
    """Text chunks of a PNG."""
    made = f"Synthetic image made by {record['model_id']}; shows no patient. Not for clinical use."
    return {
        **({"Description": made} if record["synthetic"] else {}),
        "Software": f"medzoo {record['medzoo']}",
        "medzoo": json.dumps(record),
    }


def _bytes(write: Any, *arrays: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, *arrays, **named)
    return stream.getvalue()
