"""Samples: what flows through the program, from a network to files, metrics and training.

NumPy arrays and where they came from; frozen, checked once when made. Needs neither torch nor Pillow until asked
for tensors or pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from medzoo.imagefiles.provenance import Provenance
    from medzoo.samples.formats import Bits, Masks
    from medzoo.samples.items import Items, Transform

# What samples that are joined have in common.
_SHARED = ("seed", "model_id", "revision", "weights_sha256", "precision", "classes", "spacing", "origin", "mask_names")


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """A batch of images with their masks, labels and origin.

    Attributes:
        images: float32 [n, C, (D,) H, W] in [0, 1].
        masks: uint8 [n, K, (D,) H, W], 0 or 1; None for models without masks.
        labels: int64 [n], the class of each sample; None where there are no classes.
        indices: int64 [n], the number of each sample: with model, revision and seed it decides the sample.
        seed: seed of the run; None for images that no model made.
        condition: in words what each sample was conditioned on, n of them; None without a condition.
        names: names of the input images of an image-conditioned model, n of them, which files of samples keep.
        model_id, revision, weights_sha256: which model, which entry, which numbers; None where none.
        precision: in which the model ran: float32, bfloat16 or float16.
        classes: names of the labels 0, 1, ...; None where they have none.
        spacing: millimetres between neighbouring pixels or voxels, in the order of the axes ((D,) H, W) of all
            samples; None where unknown.
        mask_names: what each mask channel shows; None where not stated.
        provenance: of samples made of files that say where their pixels lie, n of them (None for the others): geometry,
            and which DICOM objects they show; saved DICOM and NIfTI files keep it. None where no file says so.
        origin: millimetres, in the same order: where the first pixel or voxel of all samples lies; None where unknown.

    Raises ValueError when an array has another type, shape or range than stated here.

    >>> samples = Samples(np.zeros((4, 1, 8, 8), np.float32), np.arange(4), seed=0)
    >>> samples
    Samples(4 synthetic, 1x8x8, model_id=None, seed=0)
    >>> samples[1:3].indices
    array([1, 2])
    >>> len(samples[0] + samples[3])
    2
    """

    images: NDArray[np.float32]
    indices: NDArray[np.int64]
    masks: NDArray[np.uint8] | None = None
    labels: NDArray[np.int64] | None = None
    seed: int | None = None
    condition: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    model_id: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    precision: str = "float32"
    classes: tuple[str, ...] | None = None
    spacing: tuple[float, ...] | None = None
    origin: tuple[float, ...] | None = None
    mask_names: tuple[str, ...] | None = None
    provenance: tuple[Provenance | None, ...] | None = None

    def __post_init__(self) -> None:
        _check("images", self.images, np.float32, (4, 5))
        _check("indices", self.indices, np.int64, (1,))
        n, size = len(self.images), self.images.shape[2:]
        if self.images.size and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise ValueError(f"images must lie in [0, 1], found [{self.images.min()}, {self.images.max()}]")
        if self.masks is not None:
            _check("masks", self.masks, np.uint8, (self.images.ndim,))
            if self.masks.shape[2:] != size:
                raise ValueError(f"masks of {self.masks.shape[2:]} do not lie on images of {size}")
            if self.masks.size and self.masks.max() > 1:
                raise ValueError(f"masks hold 0 and 1, found {self.masks.max()}")
        if self.labels is not None:
            _check("labels", self.labels, np.int64, (1,))
        for name in ("indices", "masks", "labels", "condition", "names", "provenance"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ValueError(f"{n} images but {len(value)} {name}")
        if self.labels is not None and self.classes is not None and n:
            most = len(self.classes) - 1
            if self.labels.min() < 0 or self.labels.max() > most:
                raise ValueError(f"labels of {len(self.classes)} classes reach from 0 to {most}")
        if self.mask_names is not None and len(self.mask_names) != (0 if self.masks is None else self.masks.shape[1]):
            raise ValueError(f"mask_names need one for each mask channel, found {self.mask_names}")
        _check_lengths("spacing", self.spacing, size, least=0)
        _check_lengths("origin", self.origin, size, least=-math.inf)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        masks = "" if self.masks is None else f" with {self.masks.shape[1]} mask channel(s)"
        size = "x".join(str(s) for s in self.images.shape[1:])
        return f"Samples({len(self)} synthetic, {size}{masks}, model_id={self.model_id!r}, seed={self.seed})"

    def __getitem__(self, which: int | np.integer | slice | Sequence[int] | NDArray[Any]) -> Samples:
        """Some of the samples, by position (not by index number); an int gives Samples of length one."""
        if isinstance(which, int | np.integer):
            if not -len(self) <= which < len(self):
                raise IndexError(f"there are {len(self)} samples, found position {which}")
            position = int(which) % len(self)
            which = slice(position, position + 1)
        at = np.arange(len(self))[which]

        def part(array: NDArray[Any] | None) -> Any:
            return None if array is None else array[which if isinstance(which, slice) else at]

        return replace(
            self,
            images=part(self.images),
            indices=part(self.indices),
            masks=part(self.masks),
            labels=part(self.labels),
            condition=None if self.condition is None else tuple(self.condition[i] for i in at),
            names=None if self.names is None else tuple(self.names[i] for i in at),
            provenance=None if self.provenance is None else tuple(self.provenance[i] for i in at),
        )

    def __add__(self, other: Samples) -> Samples:
        if not isinstance(other, Samples):
            return NotImplemented
        return Samples.concatenate([self, other])

    @staticmethod
    def concatenate(parts: Sequence[Samples]) -> Samples:
        """Join samples of one model, in the order given. Raises ValueError when they do not go together."""
        if not parts:
            raise ValueError("nothing to concatenate")
        first = parts[0]
        if len(parts) == 1:
            return first
        for name in _SHARED:
            values = {getattr(part, name) for part in parts}
            if len(values) > 1:
                raise ValueError(f"cannot concatenate samples of different {name}: {sorted(map(str, values))}")

        arrays = ("images", "indices", "masks", "labels")

        def joined(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if any(value is None for value in values):
                if any(value is not None for value in values):
                    raise ValueError(f"cannot concatenate samples with and without {name}")
                return None
            return np.concatenate(values) if name in arrays else tuple(word for value in values for word in value)

        names = (*arrays, "condition", "names", "provenance")
        return replace(first, **{name: joined(name) for name in names})

    def uint8(self) -> NDArray[np.uint8]:
        """Images as 8 bits [n, C, (D,) H, W]: floor(255 x + 1/2), so that halves go up."""
        scaled = self.images * np.float32(255)
        scaled += np.float32(0.5)
        return scaled.astype(np.uint8)  # truncates

    def pil(self, i: int) -> Image:
        """Sample at position ``i`` as a picture: grey for one channel, RGB for three, else channels side by side.

        Of a volume it shows the three slices through the middle: across the depth as it is, then across height and
        width with the depth upwards.
        """
        from PIL import Image

        from medzoo.samples.sheet import picture

        return Image.fromarray(picture(self[i].uint8()[0]))

    def save(
        self,
        folder: str | Path,
        *,
        format: str = "png",
        bits: Bits = 8,
        spacing: tuple[float, ...] | None = None,
        masks: Masks = "capture",
        keep_patient: bool = False,
        layout: str = "flat",
        shard: int | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write every sample and a manifest into ``folder``, and give the folder back. See ``medzoo.samples.saving``.

        Args:
            format: a file of ``medzoo.samples.formats``: png, npy, npz, dicom, nifti, webdataset, or one of a plug-in.
            bits: 8 or 16 a stored pixel.
            spacing: size of a pixel (height, width) or voxel (depth, height, width) in millimetres, in place of that of
                the samples.
            masks: of DICOM: ``capture`` writes them as pictures, ``seg`` as segmentation objects.
            keep_patient: of DICOM files made from others: they stay in the study of the same patient.
            layout: a file of ``medzoo.samples.layouts``: flat, pairs, classes, nnunet, huggingface, or of a plug-in.
            shard: samples in one sub-folder (of webdataset in one tar file, at least); None for all in one.

        Raises SavingError when the folder is not empty (unless ``overwrite``), cannot be written, or the samples do
        not fit in the format.
        """
        from medzoo.samples import saving  # the one import that goes up: a method is where people look for it

        return saving.save(
            self, folder, format=format, bits=bits, spacing=spacing, masks=masks, keep_patient=keep_patient,
            layout=layout, shard=shard, overwrite=overwrite,
        )  # fmt: skip

    def grid(
        self, columns: int | None = None, masks: bool = True, size: int | None = None, *, captions: bool = True
    ) -> Image:
        """All samples on one sheet, row by row.

        Args:
            columns: samples a row; None for about as many as rows.
            masks: show beside every image the same image with the outline of its masks.
            size: pixels of the longer side of an image, at most: larger ones are shrunk, smaller ones enlarged by a
                whole factor. None shrinks none, and enlarges to at most 128.
            captions: write index and class under each.
        """
        from medzoo.samples import sheet

        return sheet.draw(self, columns=columns, masks=masks, size=size, captions=captions)

    def gif(self, path: str | Path, *, fps: float = 10.0, masks: bool = True, back: bool = False) -> Path:
        """Write all samples as one moving picture that repeats, and give its path back.

        Of a single volume it shows the slices, from the first to the last. Small pictures are enlarged.

        Args:
            path: ends with ``.gif``; a file that is there is replaced.
            fps: pictures a second, 0.1 to 50.
            masks: show beside every image the same image with the outline of its masks.
            back: go back again after the last one.

        Raises SavingError: another suffix, or the file cannot be written; ValueError: no samples.
        """
        from medzoo.samples import animation

        return animation.write_gif(self, path, fps=fps, masks=masks, back=back)

    def torch(self) -> torch.Tensor:
        """The images as a tensor float32 [n, C, (D,) H, W] that shares their memory."""
        import torch

        return torch.from_numpy(self.images)

    def as_dataset(self, transform: Transform | None = None) -> Items:
        """A torch dataset of dicts: ``image``, ``index`` and, where there are any, ``mask`` and ``label``.

        Args:
            transform: gets such a dict, whose tensors it may change; what it gives is the item.
        """
        from medzoo.samples.items import Items

        return Items(self.images, self.masks, self.labels, self.indices, transform)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first 16 samples and where they come from."""
        from medzoo.samples import showing

        return showing.html(self)


def _check(name: str, array: NDArray[Any], dtype: type, dims: tuple[int, ...]) -> None:
    wanted = f"{np.dtype(dtype)} with {' or '.join(map(str, dims))} dimensions"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array, {wanted}, found {type(array).__name__}")
    if array.dtype != dtype or array.ndim not in dims:
        raise ValueError(f"{name} must be {wanted}, found {array.dtype} with shape {array.shape}")


def _check_lengths(name: str, lengths: tuple[float, ...] | None, size: tuple[int, ...], least: float) -> None:
    """Millimetres, one for each axis of ``size``, above ``least``."""
    if lengths is None:
        return
    if not isinstance(lengths, tuple) or len(lengths) != len(size):
        raise ValueError(f"{name} needs a tuple of {len(size)} numbers in millimetres, found {lengths!r}")
    if not all(least < length < math.inf for length in lengths):
        raise ValueError(f"{name} must be finite{' and above 0' if least == 0 else ''}, found {lengths}")
