"""One axial slice of a NIfTI file, by nibabel."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.imagefiles._picture import Asked, File, Picture, check_size, chosen, full_range, missing_package, used
from medzoo.imagefiles.world import Axis, Geometry, Turn, turn_of_volume

_BLOCK = 2**26  # bytes read at a time


def read_nifti(source: File, asked: Asked) -> Picture:
    """An axial slice of [x, y], [x, y, z] or [x, y, z, C], whatever the order and direction of axes in the file."""
    path = source.path
    with _opened(path, asked.channels) as (image, shape, turn):
        axis = turn[:, 0].tolist().index(2)
        at = chosen(path, shape[axis], asked)
        at = at if turn[axis, 1] > 0 else shape[axis] - 1 - at
        flat = [i for i in range(3) if i != axis]
        check_size(path, *(shape[i] for i in flat))
        # Reads the slice alone; a file of two axes has none to choose from. Axes of length one beyond the third go.
        index = tuple(at if i == axis else np.s_[:] for i in range(min(image.ndim, 3)))
        index += tuple(0 if side == 1 else np.s_[:] for side in image.shape[3:])
        pixels = _slice(path, image, index, axis)
    if image.get_data_dtype().names:  # RGB24
        pixels = np.stack([pixels[name] for name in ("R", "G", "B")], axis=-1)
    return Picture(_upright(pixels, turn[flat]), _full(image), used=_used(image, pixels))


def _slice(path: Path, image: Any, index: tuple[Any, ...], axis: int) -> NDArray[Any]:
    """A slice of the file; one that lies across the order of the file is cut out of blocks, a few at a time."""
    if image.ndim < 3 or axis == 2 and image.ndim == 3 or image.get_data_dtype().names:
        return np.asarray(image.dataobj[index])
    row = int(np.prod(image.shape[:2], dtype=np.int64)) * image.get_data_dtype().itemsize
    rest = int(np.prod(image.shape[2:], dtype=np.int64))
    if axis == 2:
        return np.asarray(image.dataobj[index])
    limits.check("across_bytes", row * rest, f"{path}: a slice across a volume", ImageFileError)
    step, parts = max(1, _BLOCK // max(1, row)), []
    for start in range(0, image.shape[2], step):
        block = np.asarray(image.dataobj[(np.s_[:], np.s_[:], np.s_[start : start + step], *index[3:])])
        parts.append(block[index[:2]].copy())
    return np.concatenate(parts, axis=1)


def _used(image: Any, values: NDArray[Any]) -> float:
    """``Picture.used`` of numbers in the units of the file."""
    dtype, slope = image.get_data_dtype(), float(image.dataobj.slope)
    if dtype.names or dtype.kind != "u" or dtype.itemsize != 2 or not slope:
        return 1.0
    stored = [(float(end) - float(image.dataobj.inter)) / slope for end in (values.min(), values.max())]
    return max(stored) / 65535


def read_nifti_volume(path: Path, axis: Axis) -> tuple[Picture, float, float, Geometry]:
    """All of [x, y, z] as slices of a plane (``world``), in the numbers that are stored.

    Also slope and intercept, which make units of the file of these numbers (``full`` is in those units), and where the
    voxels lie.
    """
    with _opened(path, None) as (image, shape, directions):
        if not _is_grey(image):
            kind = image.get_data_dtype()
            raise ImageFileError(f"{path}: has shape {list(image.shape)} of {kind}; expected one number a voxel")
        check_size(path, *sorted(shape)[1:])
        pixels = np.asarray(image.dataobj.get_unscaled()).reshape(shape)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
        share = used(pixels) if pixels.dtype.kind == "u" else 1.0
        turn = turn_of_volume(directions, axis)
        geometry = _geometry(image, shape, turn)
    return Picture(turn.of(pixels), _full(image), used=share), slope, intercept, geometry


def nifti_geometry(path: Path, axis: Axis) -> tuple[tuple[int, ...], Geometry | None]:
    """Numbers of slices, rows and columns, and where they lie; None in its place for several numbers a voxel."""
    with _opened(path, 3) as (image, shape, directions):
        turn = turn_of_volume(directions, axis)
        return tuple(shape[i] for i in turn.order), _geometry(image, shape, turn) if _is_grey(image) else None


def _is_grey(image: Any) -> bool:
    return all(side == 1 for side in image.shape[3:]) and image.get_data_dtype().kind in "biuf"


def _geometry(image: Any, shape: tuple[int, ...], turn: Turn) -> Geometry:
    from nibabel.orientations import aff2axcodes

    affine = _affine(image)
    left_back_up = np.diag([-1.0, -1.0, 1.0])
    geometry = turn.geometry(left_back_up @ affine[:3, 3], (left_back_up @ affine[:3, :3]).T, shape)
    return replace(geometry, axes="".join(aff2axcodes(affine)))


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
        _check_extensions(path, file, second)
        file.seek(0)
        image: Any = (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_stream(file)
        shape = _checked_shape(path, image, channels)
        yield image, shape, ornt_transform(io_orientation(_affine(image)), axcodes2ornt("LPS")).astype(int)


def _affine(image: Any) -> NDArray[Any]:
    """Of the sform or qform, whichever the file says; what says nothing (all zeros) is passed over."""
    sides = image.header.get_zooms()[:3]
    plain = np.diag([*(side if side > 0 and np.isfinite(side) else 1.0 for side in sides), 1.0, 1.0, 1.0][:3] + [1.0])
    plain[0, 0] *= -1  # columns to the left, as nibabel takes files that state no orientation
    choices = [image.affine]
    if int(image.header["qform_code"]) > 0:
        choices.append(image.header.get_qform())
    for affine in choices:
        if affine is not None and np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12:
            return np.asarray(affine)
    return plain


def _check_extensions(path: Path, file: Any, second: bool) -> None:
    """Look at the lengths of the header extensions, which nibabel reads whole, before it does."""
    file.seek(0)
    head = file.read(544 if second else 352)
    order: Literal["little", "big"] = "little" if head[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else "big"
    if len(head) < (544 if second else 352) or not any(head[-4:]):
        return
    code = "<" if order == "little" else ">"
    start = struct.unpack(code + "q", head[168:176])[0] if second else struct.unpack(code + "f", head[108:112])[0]
    most = limits.most("extension_bytes")
    if np.isfinite(start) and start > 1:
        limits.check("extension_bytes", int(start) - len(head), f"{path}: header extensions", ImageFileError)
    at = 0
    while at <= most and (start < 1 or len(head) + at + 8 <= start):
        lengths = file.read(8)
        size = int.from_bytes(lengths[:4], order)
        if len(lengths) < 8 or size < 8 or size % 16:
            return
        at += size
        limits.check("extension_bytes", at, f"{path}: header extensions", ImageFileError)
        if len(file.read(size - 8)) < size - 8:
            return


def _checked_shape(path: Path, image: Any, channels: int | None) -> tuple[int, ...]:
    """Lengths of the three axes."""
    shape: tuple[int, ...] = tuple(image.shape[:3]) + (1,) * (3 - image.ndim)
    more = [side for side in image.shape[3:] if side != 1]
    if image.ndim < 2 or more[1:] or (more and more[0] not in {3, channels}):
        raise ImageFileError(
            f"{path}: has shape {list(image.shape)}; expected [x, y], [x, y, z] or [x, y, z, channels]"
        )
    if image.get_data_dtype().kind == "c":
        raise ImageFileError(f"{path}: holds complex numbers; save their magnitude, or another part of them")
    size = np.prod([*shape, *more], dtype=float) * image.get_data_dtype().itemsize
    if size > (most := limits.most("volume_bytes")):
        raise ImageFileError(
            f"{path}: is a volume of {list(shape)}; read are volumes up to {most:,} bytes; if you trust it, set "
            "MEDZOO_LIMIT_VOLUME_BYTES"
        )
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
