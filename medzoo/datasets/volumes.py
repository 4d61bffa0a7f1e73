"""NIfTI volumes -> slices along one axis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout, first_kind
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import Rule, filtered
from medzoo.entry import PositiveInt, Record
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind
from medzoo.imagefiles import Volume, read_volume

Axis = Literal["axial", "coronal", "sagittal"]


class Slices(Record):
    """Which slices of a volume, frames of a file or files of a series.

    Attributes:
        axis: of volumes. Axial slices have the front on top, coronal and sagittal ones the head; the patient's left
            is at the right, the front at the left.
        start, stop, step: as in a Python slice; numbers are counted from the feet, the front or the right.
        foreground: least share of pixels brighter than a tenth of white; 0 keeps empty slices.
    """

    axis: Axis = "axial"
    start: int | None = None
    stop: int | None = None
    step: PositiveInt = 1
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.1

    def of(self, n: int) -> range:
        """The numbers of the slices among n."""
        return range(n)[self.start : self.stop : self.step]

    def keeps(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether there is enough on a picture uint8."""
        return self.foreground == 0 or float((pixels > 25).mean()) >= self.foreground


class VolumeLayout(Layout):
    """NIfTI volumes of one number a voxel. The group of a slice is its volume.

    Attributes:
        files: names of the volumes; null for all in the folder, sorted.
        masks: names of their masks, in the same order, on the same grid; or the name of a folder with masks of the
            same file names; or null.
        mask_at: mask values of this and more are foreground.
        window: values that become black and white, in the units of the file; null for 0 and the largest of unsigned
            numbers of 8 or 16 bits, the least and the largest value of the volume for others.
        slices: which.
        split: how slices are parted; null for no splits.
    """

    file_kinds = frozenset({"nifti"})
    takes_masks = True

    kind: Literal["volume"]
    files: tuple[str, ...] | None = None
    masks: tuple[str, ...] | str | None = None
    mask_at: float = 0.5
    window: Window | None = None
    slices: Slices = Slices()
    split: Rule | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return not deep and first_kind(folder, frozenset({"nifti", "dicom"})) == "nifti"

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> VolumeLayout:
        alone = path.is_file()
        files = (path.name,) if alone else None
        masks = "masks" if not alone and (path / "masks").is_dir() else None
        return cls(kind="volume", files=files, masks=masks, window=window, slices=slices or Slices())

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        if masks is None and isinstance(self.masks, str):
            masks = source.inside(self.masks)
        return filtered(self._all(source, masks), self.split, split, str(source))

    def volumes(self, source: Source) -> Iterator[tuple[str, Volume]]:
        """Each volume as a whole, with its name without suffix."""
        for name in self.files or volume_files(source.folder):
            path = source.checked(name)
            with naming(path):
                yield _stem(name), read_volume(path, window=self.window)

    def _all(self, source: Source, masks: Source | None) -> Iterator[Item]:
        names = self.files or volume_files(source.folder)
        if isinstance(self.masks, tuple) and len(self.masks) != len(names):
            raise DatasetError(f"{source}: {len(self.masks)} masks for {len(names)} volumes; one is needed for each")
        for i, name in enumerate(names):
            path, mask = source.checked(name), None
            if masks is not None:
                mask = masks.checked(Path(name).name)
            elif isinstance(self.masks, tuple):
                mask = source.checked(self.masks[i])
            yield from self._slices(path, mask, name)

    def _slices(self, path: Path, mask_path: Path | None, name: str) -> Iterator[Item]:
        with naming(path):
            volume = read_volume(path, window=self.window)
        mask = None if mask_path is None else _mask(mask_path, path, volume)
        stem = _stem(name)
        for at in self.slices.of(volume.stored.shape[_PLACE[self.slices.axis]]):
            index = _index(self.slices.axis, at)
            with naming(path):
                pixels = as_uint8(volume.part(index))
            if self.slices.keeps(pixels):
                drawn = None if mask is None else np.asarray(mask.units(index) >= self.mask_at)
                yield Item(f"{stem}_{self.slices.axis}_{at:04d}", f"{path} slice {at}", pixels, drawn, None, stem)


def volume_files(folder: Path) -> tuple[str, ...]:
    """Names of the NIfTI files right in a folder, sorted."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and filekind.guess(path) == "nifti"
    )
    if not names:
        raise DatasetError(f"{folder}: no NIfTI volume found")
    return tuple(names)


def _stem(name: str) -> str:
    return Path(name).name.removesuffix(".gz").removesuffix(".nii")


_PLACE: dict[Axis, int] = {"axial": 0, "coronal": 1, "sagittal": 2}


def _index(axis: Axis, at: int) -> tuple[int | slice, ...]:
    """What takes a slice out of [upwards, to the back, to the left], with the head on top."""
    down = slice(None, None, -1)
    if axis == "axial":
        return (at, slice(None), slice(None))
    return (down, at, slice(None)) if axis == "coronal" else (down, slice(None), at)


def _mask(path: Path, of: Path, volume: Volume) -> Volume:
    if not path.is_file():
        raise DatasetError(f"{of}: no mask {path}; every volume needs one of the same name")
    with naming(path):
        mask = read_volume(path, window=(0, 1))
    if mask.stored.shape != volume.stored.shape:
        raise DatasetError(f"{path}: mask of {mask.stored.shape} voxels for a volume of {volume.stored.shape}")
    return mask
