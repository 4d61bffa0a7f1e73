"""Folders of picture files: flat ones, with or without a folder of masks, and one folder a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medzoo.datasets.gathering import Item, gather
from medzoo.datasets.images import Images
from medzoo.datasets.layout import Layout
from medzoo.datasets.pictures import SUFFIXES, Window, decode, foreground
from medzoo.datasets.protocol import Mode, Protocol
from medzoo.datasets.source import Source
from medzoo.datasets.splitting import ByGroup, filtered
from medzoo.errors import DatasetError

if TYPE_CHECKING:
    from medzoo.datasets.volumes import Slices


class FlatLayout(Layout):
    """The pictures of one folder, sorted by name; its sub-folders are not entered.

    Attributes:
        images: the folder, with ``{split}`` for the name of a split; "." for the folder of the dataset itself.
        masks: folder with a mask of the same name for each image, or null.
        window: values of 16-bit files that become black and white, or null.
        group_to: this many letters of the name are its group (a patient's number), or null.
        split: how images are parted, where the folders do not, or null.
    """

    takes_masks = True

    kind: Literal["flat"]
    images: str = "."
    masks: str | None = None
    window: Window | None = None
    group_to: int | None = None
    split: ByGroup | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return has_pictures(folder) or has_pictures(folder / "images")

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> FlatLayout:
        inner = "images" if (path / "images").is_dir() and not has_pictures(path) else "."
        masks = "masks" if inner == "images" and (path / "masks").is_dir() else None
        return cls(kind="flat", images=inner, masks=masks, window=window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        images = source.inside(self.images.format(split=split))
        if masks is None and self.masks is not None:
            masks = source.inside(self.masks.format(split=split))
        found = flat_items(images, masks, window=self.window, group_to=self.group_to)
        return filtered(found, self.split, split, str(source))


class LabelLayout(Layout):
    """One sub-folder a class, named like it; the pictures lie right in it.

    Attributes:
        folder: holds the sub-folders, with ``{split}`` for the name of a split.
        classes: names of the sub-folders in the order of their labels; null for all, sorted.
    """

    kind: Literal["labels"]
    folder: str = "."
    classes: tuple[str, ...] | None = None
    window: Window | None = None

    @classmethod
    def recognises(cls, folder: Path, deep: bool) -> bool:
        return deep and any(has_pictures(folder / name) for name in class_folders(folder))

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> LabelLayout:
        return cls(kind="labels", window=window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        below = source.inside(self.folder.format(split=split))
        for name in self.classes or class_folders(below.folder):
            for item in flat_items(below.inside(name), None, window=self.window):
                yield Item(f"{name}/{item.name}", item.where, item.pixels, None, name, None)


def load_folder(
    images: Path | str,
    masks: Path | str | None = None,
    *,
    size: int | None = None,
    protocol: Protocol | None = None,
    names: Sequence[str] | None = None,
    channels: Mode | None = None,
    minimum: int = 1,
) -> Images:
    """Read the PNG, JPEG, TIFF and NumPy (.npy) pictures of a folder, sorted by name.

    Args:
        images: the folder; sub-folders are not entered.
        masks: folder with one mask of the same name (any suffix above) and pixel size for each image.
            0 is background; in a picture of 0..255, 128 and more is foreground; in one of 0 and 1, 1 is.
        size, channels: short for ``Protocol(size=size, channels=channels)``.
        protocol: how pictures are brought to one size.
        names: file names without suffix to read, in this order; None for all.
        minimum: fewest images that make sense to the caller.

    Raises:
        DatasetError: empty or missing folder, unreadable file, missing mask, mixed colour and grey, too few images.
    """
    protocol = stated(size, protocol, channels)
    folder = Source(images)
    wanted = sorted(picture_files(folder.folder)) if names is None else list(names)
    if len(wanted) < minimum:
        raise DatasetError(f"{images}: at least {minimum} images are needed, found {len(wanted)}; add images")
    if not wanted:
        raise DatasetError("no images to read: the list of names is empty")
    items = flat_items(folder, None if masks is None else Source(masks), names=wanted)
    return gather(items, protocol, str(images), minimum=minimum)


def stated(size: int | None, protocol: Protocol | None, channels: Mode | None = None) -> Protocol:
    """The protocol of a call that may give the size only. Raises DatasetError unless exactly one is given."""
    if (size is None) == (protocol is None):
        raise DatasetError("state either protocol=Protocol(size=...) or, for the usual one, size=")
    if protocol is not None:
        return protocol if channels is None else protocol.model_copy(update={"channels": channels})
    if size is None or size < 1:
        raise DatasetError(f"size must be a positive number of pixels, found {size}")
    return Protocol(size=size, channels=channels)


def flat_items(
    images: Source,
    masks: Source | None,
    *,
    names: Sequence[str] | None = None,
    window: Window | None = None,
    group_to: int | None = None,
) -> Iterator[Item]:
    """The pictures of a folder with their masks."""
    files = picture_files(images.folder)
    of_masks = None if masks is None else picture_files(masks.folder)
    for name in sorted(files) if names is None else names:
        if name not in files:
            raise DatasetError(f"{images}: no image is named '{name}' ({' '.join(SUFFIXES)}); check the list of names")
        path, mask = images.folder / files[name], None
        if masks is not None and of_masks is not None:
            if name not in of_masks:
                raise DatasetError(
                    f"{path}: no mask {masks.folder / name}.*; every image needs one of the same name "
                    f"({len(of_masks)} masks for {len(files)} images)"
                )
            at = masks.folder / of_masks[name]
            mask = foreground(decode(masks.bytes(of_masks[name]), at), at)
        pixels = decode(images.bytes(files[name]), path, window)
        yield Item(name, str(path), pixels, mask, None, None if group_to is None else name[:group_to])


def picture_files(folder: Path) -> dict[str, str]:
    """Name without suffix -> name of the picture file."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: not a folder; give the folder that holds the images")
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DatasetError(f"{folder}: {found[path.stem]} and {path.name} share a name; remove one")
            found[path.stem] = path.name
    if not found:
        raise DatasetError(f"{folder}: no image found; expected files ending in {' '.join(SUFFIXES)}")
    return found


def has_pictures(folder: Path) -> bool:
    """Whether picture files lie right in a folder, by their suffix."""
    return folder.is_dir() and any(
        path.suffix.lower() in SUFFIXES and not path.name.startswith(".") for path in folder.iterdir()
    )


def class_folders(folder: Path) -> list[str]:
    """Names of the sub-folders that hold something, sorted."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: not a folder; give the folder that holds one folder for each class")
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
