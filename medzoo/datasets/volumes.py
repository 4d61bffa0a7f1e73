"""NIfTI volumes -> slices along one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medzoo.datasets import pairing
from medzoo.datasets.gathering import Item
from medzoo.datasets.layout import Layout, first_kind, visible_files
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import as_uint8
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import Rule, filtered
from medzoo.entry import PositiveInt, Record
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind
from medzoo.imagefiles import Volume, leftout, read_volume

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
        kinds = frozenset({"nifti", "dicom"})
        return not deep and (first_kind(folder, kinds) == "nifti" or _image_folder(folder) is not None)

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> VolumeLayout:
        alone = path.is_file()
        files: tuple[str, ...] | None = (path.name,) if alone else None
        masks = None if alone else _mask_folder(path)
        inner = None if alone or first_kind(path, frozenset({"nifti"})) else _image_folder(path)
        if inner is not None:
            files = tuple(f"{inner}/{name}" for name in volume_files(path / inner))
        return cls(kind="volume", files=files, masks=masks, window=window, slices=slices or Slices())

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        if masks is None and isinstance(self.masks, str):
            masks = source.inside(self.masks)
        return filtered(self._all(source, masks), self.split, split, str(source))

    def usual_window(self, source: Source, split: str | None) -> Window | None:
        """None: each volume has black and white of its own."""
        return None

    def volumes(self, source: Source) -> Iterator[tuple[str, Volume]]:
        """Each volume as a whole, with its name without suffix."""
        for name in self.files or self._paired(source)[0]:
            path = source.checked(name)
            with naming(path):
                yield _stem(name), read_volume(path, window=self.window)

    def _all(self, source: Source, masks: Source | None) -> Iterator[Item]:
        pairs: dict[str, list[str]] = {}
        names: Sequence[str] = self.files or ()
        if masks is not None:
            names = names or volume_files(source.folder)
            pairs = _in_folder(source.folder, names, masks.folder)
        elif not names:
            names, pairs = self._paired(source)
        if isinstance(self.masks, tuple) and len(self.masks) != len(names):
            raise DatasetError(f"{source}: {len(self.masks)} masks for {len(names)} volumes; one is needed for each")
        shown = 0
        for i, name in enumerate(names):
            path = source.checked(name)
            if isinstance(self.masks, tuple):
                drawn = [source.checked(self.masks[i])]
            elif masks is not None:
                drawn = [masks.checked(mask) for mask in pairs.get(name) or [Path(name).name]]
            else:
                drawn = [source.checked(mask) for mask in pairs.get(name, ())]
            for item in self._slices(path, drawn, name):
                shown += 1
                yield item
        if names and not shown:
            share = f"{self.slices.foreground:.0%} of their pixels above a tenth of white"
            raise DatasetError(
                f"{source}: at least 2 images are needed, found 0: each slice of {len(names)} volume(s) is darker than "
                f"the foreground limit ({share}); state which numbers become black and white (--window LOW HIGH, "
                "window=), or keep dark slices (Slices(foreground=0))"
            )

    def _paired(self, source: Source) -> tuple[Sequence[str], dict[str, list[str]]]:
        """The volumes of a folder, and the masks beside them (``pairing``)."""
        files = {_stem(name): name for name in volume_files(source.folder)}
        images, pairs = pairing.beside(source.folder, files)
        return [files[name] for name in images], {
            files[name]: [files[mask] for mask in sorted(masks)] for name, masks in pairs.items()
        }

    def _slices(self, path: Path, mask_paths: Sequence[Path], name: str) -> Iterator[Item]:
        with naming(path):
            volume = read_volume(path, window=self.window)
        masks = [_mask(mask_path, path, volume) for mask_path in mask_paths]
        stem = _stem(name)
        for at in self.slices.of(volume.stored.shape[_PLACE[self.slices.axis]]):
            index = _index(self.slices.axis, at)
            with naming(path):
                pixels = as_uint8(volume.part(index))
            if self.slices.keeps(pixels):
                parts = [np.asarray(mask.units(index) >= self.mask_at) for mask in masks]
                drawn = np.logical_or.reduce(parts) if parts else None
                yield Item(f"{stem}_{self.slices.axis}_{at:04d}", f"{path} slice {at}", pixels, drawn, None, stem)


def volume_files(folder: Path) -> tuple[str, ...]:
    """Names of the NIfTI files right in a folder, sorted."""
    files = visible_files(folder)
    names = [path.name for path in files if filekind.guess(path) == "nifti"]
    if not names:
        raise DatasetError(f"{folder}: no NIfTI volume found")
    leftout.warn_of(folder, (path for path in files if path.name not in set(names)))
    return tuple(names)


def _in_folder(folder: Path, names: Sequence[str], masks: Path) -> dict[str, list[str]]:
    """The masks of each volume that has some, by their names in a folder of masks."""
    of = {_stem(name): name for name in volume_files(masks)} if masks.is_dir() and any(masks.iterdir()) else {}
    found: dict[str, list[str]] = {}
    for name in names:
        with suppress(DatasetError):  # said where the mask is opened
            stem = _stem(name)
            pairs = pairing.in_folders(folder, {stem: name}, masks, of)
            found[name] = [of[mask] for mask in sorted(pairs[stem])]
    return found


def _image_folder(folder: Path) -> str | None:
    """Name of the sub-folder of volumes beside a sub-folder of their masks."""
    names = [name for name in _nifti_folders(folder) if pairing.is_image_folder(name)]
    return names[0] if len(names) == 1 and _mask_folder(folder) else None


def _mask_folder(folder: Path) -> str | None:
    named = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and pairing.is_always_masks(path.name)]
    names = named or [name for name in _nifti_folders(folder) if pairing.is_mask_folder(name)]
    return names[0] if len(names) == 1 else None


def _nifti_folders(folder: Path) -> list[str]:
    below = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    wanted = [path for path in below if pairing.is_mask_folder(path.name) or pairing.is_image_folder(path.name)]
    return [path.name for path in wanted if first_kind(path, frozenset({"nifti"}))]


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
