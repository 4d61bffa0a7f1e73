"""The images of a run: a data set of the registry, or whatever lies at a path, with a tenth of it held out.

At a path, images with the same group (patient, slide) stay together. Groups, or file names where there are none, are
put in the order of their SHA-256, and the last ones are held out until they hold a tenth of all images and two at
least: the same images give the same split, in whatever order they were read. The same is done to a data set of the
registry without a split ``val``. Folders ``train/`` and ``val/`` are taken as they are, and so are the splits of a
MedMNIST file.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medzoo.datasets import (
    Images,
    Protocol,
    describe,
    load_dataset,
    load_path,
    relabel,
    warn_if_dark,
    window_of,
)
from medzoo.datasets.folder import class_folders
from medzoo.datasets.manifest import MANIFEST
from medzoo.datasets.splitting import usual_split
from medzoo.datasets.tables import METADATA
from medzoo.errors import TrainingError
from medzoo.imagefiles import ReadingWarning
from medzoo.imagefiles.tone import Window
from medzoo.training import volumes
from medzoo.training.config import TrainConfig, VolumeConfig
from medzoo.training.recipes import Facts

Pixels = NDArray[np.uint8]
SHARE = 0.1  # of the images of a path, held out
FEWEST, FEWEST_VOLUMES = 10, 4  # images and volumes of a path


@dataclass(frozen=True)
class About:
    """What an entry says of the images that a model learned from.

    Attributes:
        name, title, modality, organ, license, attribution: as in ``registry/datasets``; null or "unknown" where nobody
            said.
        images: how many were learned.
        public: whether anybody can have them; None where nobody said.
        facts: what they decide of the networks.
    """

    name: str
    title: str
    modality: str
    organ: str | None
    license: str | None
    attribution: str | None
    images: int
    public: bool | None
    facts: Facts


def load(config: TrainConfig, root: Path | None = None) -> tuple[Images, Images]:
    """The images to learn, and those held out.

    Args:
        config: ``dataset`` or ``folder``, ``size``, ``channels``.
        root: folder that holds the data sets of the registry.

    Raises:
        DatasetError, TrainingError: no such images, too few, or a class with one image.
    """
    if isinstance(config, VolumeConfig):
        return load_volumes(config, root)
    assert isinstance(config.size, int)
    form = Protocol(size=config.size, channels=config.channels)
    if config.dataset is not None:
        train = load_dataset(config.dataset, form, root=root, split="train")
        if "val" in describe(config.dataset).splits:
            held = load_dataset(config.dataset, form, root=root, split="val")
        else:
            train, held = split(train)
    else:
        assert config.folder is not None
        train, held = load_folder(Path(config.folder), form, window=config.window)
    if config.classes:
        _check_classes(train, config.source)
    return train, held


def load_volumes(config: VolumeConfig, root: Path | None) -> tuple[Images, Images]:
    """Whole volumes to learn, and slices of those held out (``volumes.held_out_slices``)."""
    if config.folder is not None:
        all_volumes = volumes.of_folder(config)
        if len(all_volumes) < FEWEST_VOLUMES:
            raise TrainingError(
                f"{config.folder}: {len(all_volumes)} volume(s); at least {FEWEST_VOLUMES} are needed, two of them to "
                "hold out"
            )
        train, held = split(all_volumes)
    else:
        train, held = (volumes.of_dataset(config, str(name), root) for name in (config.dataset, config.held_dataset))
    return train, volumes.held_out_slices(held, config)


def load_folder(path: Path, form: Protocol, *, window: Window | None = None) -> tuple[Images, Images]:
    """The images at a path to learn, and those held out.

    Args:
        window: values that become black and white of numbers of more than 8 bits; None as ``medzoo.imagefiles.tone``
            says, decided by the images to learn.
    """
    splits = _splits(path)
    train_alone = "train" in splits and "val" not in splits
    window = window or (window_of(path, split="train" if "train" in splits else None) if path.exists() else None)
    if {"train", "val"} <= splits:
        train, held = (load_path(path, form, split=name, window=window) for name in ("train", "val"))
        warn_if_dark(train, str(path))
        if train.images.shape[1] != held.images.shape[1]:
            raise TrainingError(
                f"{path}: the images to learn have {train.images.shape[1]} channel(s), those held out "
                f"{held.images.shape[1]}; choose one with --channels RGB or --channels L (channels: in a configuration)"
            )
        return train, held if held.classes == train.classes else relabel(held, train.classes or ())
    images = load_path(path, form, minimum=FEWEST, split="train" if train_alone else None, window=window)
    if train_alone:
        others = ", ".join(sorted(splits - {"train"}))
        text = f"{path}: has no images for validation (val): a tenth of train is held out" + (
            f", and {others} is left alone" if others else ""
        )
        warnings.warn(text, ReadingWarning, stacklevel=2)
    warn_if_dark(images, str(path))
    return split(images)


def _splits(path: Path) -> set[str]:
    """Which of train, val and test a path holds, where it holds splits at all."""
    if path.is_dir():
        if any((path / name).is_file() for name in (MANIFEST, *METADATA)):
            return set()
        names = [usual_split(name) for name in class_folders(path)]
        found = {name for name in names if name is not None}
        return found if "train" in found and (len(found) > 1 or None not in names) else set()
    if not zipfile.is_zipfile(path):
        return set()
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix("_images.npy") for name in archive.namelist() if name.endswith("_images.npy")]
    found = {name for one in names if (name := usual_split(one or "")) is not None}
    return found if "train" in found else set()


def split(images: Images) -> tuple[Images, Images]:
    """Those to learn, and those held out."""
    out = held_out(images)
    return images[~out], images[out]


def held_out(images: Images) -> NDArray[np.bool_]:
    """Which images [n] of a set are held out. Raises TrainingError where one group holds nearly all images."""
    groups = images.groups or images.names
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest(), reverse=True)
    count = {group: 0 for group in order}
    for group in groups:
        count[group] += 1
    chosen: set[str] = set()
    while sum(count[group] for group in chosen) < max(2, SHARE * len(images)):
        chosen.add(order[len(chosen)])
    out = np.array([group in chosen for group in groups])
    if out.mean() > 0.5:
        raise TrainingError(
            f"{len(images)} images are of {len(order)} groups (patients) only, and a group cannot be parted: holding "
            f"one out leaves {int((~out).sum())}; add images of others, or make folders train/ and val/"
        )
    return out


def facts_of(config: TrainConfig, train: Images) -> Facts:
    """What the images decide. Raises TrainingError where they lack what the configuration asks for."""
    if config.masks and train.masks is None:
        what = f"dataset {config.dataset}" if config.dataset else config.source
        raise TrainingError(f"masks: true, but {what} has no masks; set masks: false")
    classes = None
    if config.classes:
        if train.labels is None:
            raise TrainingError(
                f"classes: true, but {config.source} has no classes; give one folder a class, or set classes: false"
            )
        classes = train.classes or tuple(map(str, range(int(train.labels.max()) + 1)))
    return Facts(colours=train.images.shape[1], masks=int(config.masks), classes=classes)


def about(config: TrainConfig, train: Images) -> About:
    """Of the images that a configuration learns."""
    facts = facts_of(config, train)
    if config.dataset is not None:
        stated = describe(config.dataset)
        known = (stated.name, stated.title, stated.modality, stated.organ, stated.license, stated.attribution)
        return About(*known, images=len(train), public=True, facts=facts)
    assert config.folder is not None
    name = Path(config.folder).stem
    return About(name, name, "unknown", None, None, None, len(train), None, facts)


def tensors(images: Images, config: TrainConfig) -> tuple[Tensor, Tensor | None]:
    """uint8 [n, c (+1), (d,) h, w], the mask as 0 and 255 in the last channel; classes int64 [n] if learned."""
    if len(images) < config.batch and not isinstance(config, VolumeConfig):
        raise TrainingError(
            f"{config.source}: {len(images)} training images are fewer than a batch of {config.batch}; "
            "lower batch, or add images"
        )
    labels = torch.from_numpy(images.labels) if config.classes and images.labels is not None else None
    return stack(images.images, images.masks if config.masks else None), labels


def stack(images: Pixels, masks: Pixels | None) -> Tensor:
    """Images uint8 [n, c, h, w] and masks of 0 and 1 -> uint8 [n, c (+1), h, w], masks as 0 and 255."""
    both = images if masks is None else np.concatenate([images, masks * np.uint8(255)], axis=1)
    return torch.from_numpy(both)


def _check_classes(train: Images, source: str) -> None:
    if train.labels is None:
        return  # said by ``facts_of``
    names = train.classes or tuple(map(str, range(int(train.labels.max()) + 1)))
    counts = np.bincount(train.labels, minlength=len(names))
    if len(names) < 2:
        raise TrainingError(f"{source}: one class only ('{names[0]}'); set classes: false")
    for name, count in zip(names, counts, strict=True):
        if count < 2:
            raise TrainingError(
                f"{source}: class '{name}' has {count} training image(s), which cannot be learned; "
                "add images, or leave the class out"
            )
