"""One axial slice of a NIfTI file, by nibabel."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import ImageFileError
from medzoo.imagefiles._picture import MOST_BYTES, Picture, check_size, chosen, full_range, missing_package


def read_nifti(path: Path, slice: int | None, channels: int | None) -> Picture:
    """An axial slice of [x, y], [x, y, z] or [x, y, z, C], whatever the order and direction of axes in the file."""
    with _opened(path, channels) as (image, shape, turn):
        axis = turn[:, 0].tolist().index(2)
        at = chosen(path, shape[axis], slice)
        at = at if turn[axis, 1] > 0 else shape[axis] - 1 - at
        flat = [i for i in range(3) if i != axis]
        check_size(path, *(shape[i] for i in flat))
        # Reads the slice alone; a file of two axes has none to choose from.
        pixels = np.asarray(image.dataobj[tuple(at if i == axis else np.s_[:] for i in range(image.ndim))])
    if image.get_data_dtype().names:  # RGB24
        pixels = np.stack([pixels[name] for name in ("R", "G", "B")], axis=-1)
    return Picture(_upright(pixels, turn[flat]), _full(image))


def read_nifti_volume(path: Path) -> tuple[Picture, float, float, tuple[float, ...]]:
    """All of [x, y, z] as [slices upwards, rows to the back, columns to the left], in the numbers that are stored.

    Also slope and intercept, which make units of the file of these numbers (``full`` is in those units), and the size
    of a voxel in millimetres.
    """
    with _opened(path, None) as (image, shape, turn):
        if image.ndim not in (2, 3) or image.get_data_dtype().kind not in "biuf":
            kind = image.get_data_dtype()
            raise ImageFileError(f"{path}: has shape {list(image.shape)} of {kind}; expected one number a voxel")
        check_size(path, *sorted(shape)[1:])
        pixels = np.asarray(image.dataobj.get_unscaled()).reshape(shape)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        sides = np.sqrt(np.square(image.affine[:3, :3]).sum(axis=0))
    pixels = np.flip(pixels, tuple(i for i in range(3) if turn[i, 1] < 0))
    axes = turn[:, 0].tolist()
    order = [axes.index(i) for i in (2, 1, 0)]
    spacing = tuple(float(sides[i]) for i in order)
    return Picture(np.transpose(pixels, order), _full(image)), slope, intercept, spacing


@contextmanager
def _opened(path: Path, channels: int | None) -> Iterator[tuple[Any, tuple[int, ...], NDArray[Any]]]:
    """The image, its checked shape, and for each axis: which of left, back and up (0, 1, 2) it is, and whether it goes
    there (1 or -1).
    """
    try:
        import nibabel
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
    except ImportError:
        raise missing_package(path, "nifti", "nibabel") from None
    with ExitStack() as stack:
        file: Any = stack.enter_context(path.open("rb"))
        if file.peek(2)[:2] == b"\x1f\x8b":
            file = stack.enter_context(gzip.open(file))
        second = file.read(8)[4:] == b"n+2\0"
        file.seek(0)
        image: Any = (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_stream(file)
        shape = _checked_shape(path, image, channels)
        yield image, shape, ornt_transform(io_orientation(image.affine), axcodes2ornt("LPS")).astype(int)


def _checked_shape(path: Path, image: Any, channels: int | None) -> tuple[int, ...]:
    """Lengths of at least three axes."""
    shape: tuple[int, ...] = tuple(image.shape) + (1,) * (3 - image.ndim)
    if image.ndim not in (2, 3, 4) or (image.ndim == 4 and shape[3] not in {1, 3, channels}):
        raise ImageFileError(
            f"{path}: has shape {list(image.shape)}; expected [x, y], [x, y, z] or [x, y, z, channels]"
        )
    if np.prod(shape, dtype=float) * image.get_data_dtype().itemsize > MOST_BYTES:
        raise ImageFileError(f"{path}: is a volume of {list(shape)}; read are volumes up to {MOST_BYTES:,} bytes")
    return shape


def _upright(pixels: NDArray[Any], turn: NDArray[Any]) -> NDArray[Any]:
    """Rows that go to the back, columns that go to the left."""
    for place in (0, 1):
        pixels = pixels if turn[place, 1] > 0 else np.flip(pixels, place)
    return np.swapaxes(pixels, 0, 1) if turn[0, 0] == 0 else pixels


def _full(image: Any) -> tuple[float, float] | None:
    dtype = image.get_data_dtype()
    full = full_range(np.dtype(np.uint8) if dtype.names else dtype)
    if full is None:
        return None
    ends = [value * float(image.dataobj.slope) + float(image.dataobj.inter) for value in full]
    return min(ends), max(ends)
