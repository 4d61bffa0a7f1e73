"""The real images of a benchmark: those held out, those of training, and what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medzoo.bench.setting import Benchmark
from medzoo.bench.sizes import sizes
from medzoo.datasets import (
    Images,
    Protocol,
    content_sha256,
    describe,
    load_dataset,
    load_path,
    warn_if_dark,
    window_of,
)
from medzoo.datasets.measuring import Usual
from medzoo.errors import BenchmarkError
from medzoo.imagefiles.tone import Window


@dataclass(frozen=True, eq=False)
class Reals:
    """Real images of one form.

    Attributes:
        held: held-out images, which everything is compared with.
        training: images that models may have been trained on, or None.
        about: counts, hashes, licence and source, as results record them.
        window: numbers that became black and white, of real images of more than 8 bits: generated ones of more than 8
            bits have to mean the same by them. None where they have 8 bits.
    """

    held: Images
    training: Images | None
    about: dict[str, Any]
    window: Window | None = None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the labels."""
        return self.held.classes


def of_dataset(setting: Benchmark, root: Path | None) -> Reals:
    """The splits that a benchmark names. Raises DatasetError."""
    assert setting.dataset is not None
    about = describe(setting.dataset)
    held = load_dataset(setting.dataset, setting.image, root=root, split=setting.reference)
    training = None
    if setting.training is not None:
        training = load_dataset(setting.dataset, setting.image, root=root, split=setting.training)
    stated = {"license": about.license, "attribution": about.attribution, "source": about.source}
    window = getattr(about.layout, "window", None)
    return _checked(held, training, stated, setting.dataset, None if window is None else Usual(window))


def of_paths(held: Path, training: Path | None, protocol: Protocol, window: Window | None = None) -> Reals:
    """Images that a person names; without a window, held-out ones decide that of both. Raises DatasetError."""
    path, split = parted(held)
    window = window or (window_of(path, split=split) if path.exists() else None)
    stated: dict[str, Any] = {"license": None, "attribution": None, "source": held.resolve().name}
    known = read(training, protocol, window=window) if training is not None else None
    return _checked(read(held, protocol, window=window), known, stated, str(held), window)


def read(path: Path, protocol: Protocol, *, masks: Path | None = None, window: Window | None = None) -> Images:
    """Images at a path, or at ``PATH:SPLIT`` of one that holds several splits. Raises DatasetError."""
    path, split = parted(path)
    images = load_path(path, protocol, masks=masks, split=split, window=window)
    warn_if_dark(images, str(path))
    return images


def parted(path: Path) -> tuple[Path, str | None]:
    """The path and the split of ``PATH:SPLIT``."""
    if not path.exists() and ":" in path.name:
        name, _, split = path.name.rpartition(":")
        return path.with_name(name), split
    return path, None


def shuffled(images: Images, n: int) -> Images:
    """``n`` of the images, chosen by nothing but their number; all as they are, if there are no more."""
    if len(images) <= n:
        return images
    order = np.random.Generator(np.random.Philox(0)).permutation(len(images))
    return images[order[:n]]


def _checked(held: Images, training: Images | None, stated: dict[str, Any], name: str, window: Window | None) -> Reals:
    for images in (held, training):
        if images is not None and len(images) < 2:
            raise BenchmarkError(f"{name}: two or more images are needed to compare with, found {len(images)}")
    if training is not None and (same := _shared(held, training)) > len(held) / 2:
        raise BenchmarkError(
            f"{name}: {same} of {len(held)} held-out images are training images too, and would call every copy new; "
            "give images that no model was trained on"
        )
    if training is not None and held.classes != training.classes:
        raise BenchmarkError(f"{name}: the two sets of real images have different classes; give both the same labels")
    counts: dict[str, Any] = {
        "real": _about(held),
        "training": None if training is None else _about(training),
    }
    return Reals(held, training, {**counts, **stated}, window)


def _about(images: Images) -> dict[str, Any]:
    known = sizes(images)
    return {"n": len(images), "sha256": content_sha256(images), **({} if known is None else {"sizes": known})}


def _shared(held: Images, training: Images) -> int:
    """How many held-out images are, pixel by pixel, training images."""

    def digests(images: Images) -> Iterator[bytes]:  # the pixels themselves would be kept twice
        return (hashlib.sha256(image.tobytes()).digest() for image in images.images)

    known = set(digests(training))
    return sum(digest in known for digest in digests(held))
