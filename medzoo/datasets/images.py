"""Images: real pictures of one size with what is known of each, and the hash of what was used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medzoo.errors import DatasetError
from medzoo.text import one_line

if TYPE_CHECKING:
    from medzoo.samples.items import Items, Transform


@dataclass(frozen=True, repr=False)
class Images:
    """Real images of one size. Not Samples, whose files and pictures say that they are synthetic.

    Attributes:
        images: uint8 [n, C, H, W], C = 1 (grey) or 3 (RGB), 0..255; [n, C, D, H, W] where volumes are learned.
        masks: uint8 [n, 1, H, W] of 0 and 1, or None.
        names: n file names without suffix, in the order of the images.
        labels: int64 [n], the class of each image, or None.
        classes: names of the labels 0, 1, ...; None where they have none.
        groups: what images share that must not be parted (patient, slide, block), n of them, or None.
        sizes: (height, width) in pixels of each picture as it was read, or None where nobody knows.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    sizes: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.ndim not in (4, 5):
            raise ValueError(f"images must be uint8 [n, C, (D,) H, W], found {self.images.dtype} {self.images.shape}")
        if len(self.names) != n:
            raise ValueError(f"{n} images, but {len(self.names)} names")
        expected = (n, 1, *self.images.shape[2:])
        if self.masks is not None and (self.masks.shape != expected or self.masks.dtype != np.uint8):
            raise ValueError(f"masks must be uint8 of shape {expected}, found {self.masks.dtype} {self.masks.shape}")
        for what, those in (("groups", self.groups), ("sizes", self.sizes)):
            if those is not None and len(those) != n:
                raise ValueError(f"{n} images, but {len(those)} {what}")
        self._check_labels(n)

    def _check_labels(self, n: int) -> None:
        if self.labels is None:
            return
        if self.labels.dtype != np.int64 or self.labels.shape != (n,):
            raise ValueError(f"labels must be int64 [{n}], found {self.labels.dtype} {self.labels.shape}")
        most = None if self.classes is None else len(self.classes) - 1
        if n and (self.labels.min() < 0 or (most is not None and self.labels.max() > most)):
            raise ValueError(f"labels must be 0 to {most}, found {self.labels.min()} to {self.labels.max()}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        parts = [f"{len(self)} real, {size}{'' if self.masks is None else ' with masks'}"]
        if self.labels is not None:
            counts = np.bincount(self.labels, minlength=len(self.classes or ())).tolist()
            named = [f"{name} {count}" for name, count in zip(self.classes or range(len(counts)), counts, strict=True)]
            parts.append(f"{len(named)} classes: {one_line(', '.join(named))}")
        if self.groups is not None:
            parts.append(f"{len(set(self.groups))} groups")
        return f"Images({'; '.join(parts)})"

    def __getitem__(self, part: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> Images:
        """Some of the images, by a slice, positions or a mask of booleans [n]."""
        at = np.arange(len(self))[part if isinstance(part, slice) else _positions(part)]
        chosen = part if isinstance(part, slice) else at  # a slice stays a view
        return replace(
            self,
            images=self.images[chosen],
            masks=None if self.masks is None else self.masks[chosen],
            names=tuple(self.names[i] for i in at),
            labels=None if self.labels is None else self.labels[chosen],
            groups=None if self.groups is None else tuple(self.groups[i] for i in at),
            sizes=None if self.sizes is None else tuple(self.sizes[i] for i in at),
        )

    def float(self) -> NDArray[np.float32]:
        """The images as float32 [n, C, H, W] in [0, 1]."""
        return self.images.astype(np.float32) / np.float32(255)

    def as_dataset(self, transform: Transform | None = None) -> Items:
        """A torch dataset of dicts with the keys and types of ``Samples.as_dataset``, so that the two may be joined.

        ``image`` is float32 in [0, 1], ``index`` the position.

        Args:
            transform: gets such a dict, whose tensors it may change; what it gives is the item.
        """
        from medzoo.samples.items import Items

        return Items(self.images, self.masks, self.labels, np.arange(len(self)), transform)


def relabel(images: Images, classes: Sequence[str]) -> Images:
    """The same images with labels numbered as in ``classes``, so that two sets mean the same by a number.

    Raises:
        DatasetError: no labels, or a class that ``classes`` does not name.
    """
    if images.labels is None:
        raise DatasetError("these images have no labels; give a folder for each class, or a table with a label column")
    if images.classes is None or images.classes == tuple(classes):
        if len(images) and images.labels.max() >= len(classes):
            raise DatasetError(f"label {images.labels.max()} is none of the {len(classes)} classes {_listed(classes)}")
        return replace(images, classes=tuple(classes))
    used = sorted(set(images.labels.tolist()))
    unknown = [images.classes[i] for i in used if images.classes[i] not in classes]
    if unknown:
        raise DatasetError(f"class '{unknown[0]}' is unknown; expected {_listed(classes)}")
    number = np.array([classes.index(name) if name in classes else -1 for name in images.classes], np.int64)
    return replace(images, labels=number[images.labels], classes=tuple(classes))


def content_sha256(images: Images) -> str:
    """Hash of what was used: shape and pixels, masks, labels and the names of the classes; not the file names."""
    digest = hashlib.sha256(f"medzoo images {images.images.shape}\n".encode())
    digest.update(np.ascontiguousarray(images.images).data)
    if images.masks is not None:
        digest.update(f"\nmasks {images.masks.shape}\n".encode())
        digest.update(np.ascontiguousarray(images.masks).data)
    if images.labels is not None:
        digest.update(f"\nlabels {images.classes}\n".encode())
        digest.update(np.ascontiguousarray(images.labels, "<i8").data)
    return digest.hexdigest()


def _positions(part: Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.integer | np.bool_]:
    return np.asarray(part) if len(part) else np.zeros(0, np.int64)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in classes)
