"""Folders of picture files: flat ones, with or without a folder of masks, and one folder a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medzoo.datasets import pairing
from medzoo.datasets.gathering import Item, gather
from medzoo.datasets.images import Images
from medzoo.datasets.layout import Layout
from medzoo.datasets.measuring import Measure, windowed
from medzoo.datasets.pictures import SUFFIXES, Window, decode, decode_mask
from medzoo.datasets.protocol import Mode, Protocol
from medzoo.datasets.source import Source, filled
from medzoo.datasets.splitting import ByGroup, filtered, is_split
from medzoo.errors import DatasetError
from medzoo.imagefiles import leftout

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
        return has_pictures(folder) or _image_folder(folder) is not None

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> FlatLayout:
        images = "." if has_pictures(path) else _image_folder(path) or "."
        masks = _mask_folder(path)
        for name in _folders(path):
            if name not in (images, masks) and has_pictures(path / name):
                leftout.warn_of(path / name, (path / name).iterdir(), "not read, since pictures lie beside this folder")
        return cls(kind="flat", images=images, masks=masks, window=window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        images = source.inside(filled(self.images, split=split))
        if masks is None and self.masks is not None:
            masks = source.inside(filled(self.masks, split=split))
        found = flat_items(images, masks, window=self.window, group_to=self.group_to, strict=True)
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
        return deep and any(_holds_pictures(folder / name) for name in class_folders(folder))

    @classmethod
    def of_path(cls, path: Path, split: str | None, window: Window | None, slices: Slices | None) -> LabelLayout:
        return cls(kind="labels", window=window)

    def items(self, source: Source, split: str | None, masks: Source | None = None) -> Iterator[Item]:
        below = source.inside(filled(self.folder, split=split))
        names = self.classes or class_folders(below.folder)
        _refuse_others(below.folder, names)
        for name in names:
            inner = below.inside(name)
            images = "." if has_pictures(inner.folder) else _image_folder(inner.folder) or "."
            drawn = _mask_folder(inner.folder)
            of_masks = None if drawn is None else inner.inside(drawn)
            for item in flat_items(inner.inside(images), of_masks, window=self.window):
                yield Item(f"{name}/{item.name}", item.where, item.pixels, item.mask, name, None)


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
    """Read the pictures of a folder (PNG, JPEG, TIFF, BMP, GIF, WebP, .npy), sorted by name.

    Args:
        images: the folder; sub-folders are not entered.
        masks: folder with one mask of the same name (any suffix above) and pixel size for each image.
            0 is background; in a picture of 0..255, 128 and more is foreground; in one of 0 and 1, 1 is. None takes
            those beside the images, such as ``a_mask.png`` beside ``a.png``, where every image has one.
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
    if not wanted and minimum < 1:
        raise DatasetError("no images to read: the list of names is empty")
    if len(wanted) < minimum:
        raise DatasetError(f"{images}: at least {minimum} images are needed, found {len(wanted)}; add images")
    if not wanted:
        raise DatasetError("no images to read: the list of names is empty")
    of_masks = None if masks is None else Source(masks)
    return windowed(
        lambda window: flat_items(folder, of_masks, names=names, window=window),
        lambda items: gather(items, protocol, str(images), minimum=minimum),
        str(images),
    )


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
    window: Window | Measure | None = None,
    group_to: int | None = None,
    strict: bool = False,
) -> Iterator[Item]:
    """The pictures of a folder with their masks, which lie in a folder of their own or beside them (``pairing``).

    ``strict`` refuses a folder of masks with some that belong to no image.
    """
    files = picture_files(images.folder)
    places = files if masks is None else picture_files(masks.folder)
    if masks is None:
        known, pairs = pairing.beside(images.folder, files)
    else:
        known = list(files)
    wanted = sorted(known) if names is None else list(names)
    for name in wanted:
        if name not in files:
            raise DatasetError(f"{images}: no image is named '{name}' ({' '.join(SUFFIXES)}); check the list of names")
    if masks is not None:
        pairs = pairing.in_folders(images.folder, {name: files[name] for name in wanted}, masks.folder, places)
        alone = pairing.unused(places, pairs)
        if strict and alone:
            raise DatasetError(
                f"{masks.folder / places[alone[0]]}: no image of this name in {images} ({len(alone)} such masks; images"
                f" are named like {min(files)}); expected {pairing.LAYOUT}"
            )
    of_masks = masks or images
    for name in wanted:
        path, drawn = images.folder / files[name], None
        for mask in sorted(pairs.get(name, ())):
            at = of_masks.folder / places[mask]
            more = decode_mask(of_masks.bytes(places[mask]), at)
            if drawn is not None and drawn.shape != more.shape:
                raise DatasetError(f"{at}: {more.shape[1]} x {more.shape[0]} pixels, another mask of {name} differs")
            drawn = more if drawn is None else drawn | more
        pixels = decode(images.bytes(files[name]), path, window)
        yield Item(name, str(path), pixels, drawn, None, None if group_to is None else name[:group_to])


def picture_files(folder: Path) -> dict[str, str]:
    """Name without suffix -> name of the picture file. What else lies there is counted in a warning."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: not a folder; give the folder that holds the images")
    found: dict[str, str] = {}
    others: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise DatasetError(f"{folder}: {found[path.stem]} and {path.name} share a name; remove one")
            found[path.stem] = path.name
        elif path.is_file():
            others.append(path)
    if not found:
        has = leftout.counted(others)
        raise DatasetError(
            f"{folder}: no image found{f' ({has}: of no kind that is read)' if has else ''}; expected files ending "
            f"in {' '.join(SUFFIXES)}"
        )
    leftout.warn_of(folder, others)
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


def _holds_pictures(folder: Path) -> bool:
    return has_pictures(folder) or _image_folder(folder) is not None


def _folders(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def _image_folder(folder: Path) -> str | None:
    """Name of the sub-folder of images: one that is called so, or the only one beside a folder of masks."""
    names = [name for name in _folders(folder) if has_pictures(folder / name)]
    called = [name for name in names if pairing.is_image_folder(name)]
    others = [name for name in names if not pairing.is_mask_folder(name) and not is_split(name)]
    if len(called) == 1:
        return called[0] if len(others) == 1 else None
    return others[0] if len(others) == 1 and len(names) == 2 and _mask_folder(folder) is not None else None


def _mask_folder(folder: Path) -> str | None:
    """Name of the sub-folder of masks. Raises DatasetError: there are several."""
    names = [
        name
        for name in _folders(folder)
        if pairing.is_always_masks(name) or (pairing.is_mask_folder(name) and has_pictures(folder / name))
    ]
    if len(names) > 1:
        raise DatasetError(f"{folder}: several folders of masks, {', '.join(names)}; say which (masks=), or leave one")
    return names[0] if names else None


def _refuse_others(folder: Path, names: Sequence[str]) -> None:
    """Folders of masks and splits are no classes."""
    for name in names:
        if pairing.is_mask_folder(name):
            raise DatasetError(
                f"{folder / name}: a folder of masks among folders of classes; expected {pairing.LAYOUT}"
            )
        if is_split(name):
            raise DatasetError(
                f"{folder / name}: is named like a split and lies among other folders ({', '.join(names)}); put the "
                "classes inside train/ and val/, or give the folder another name"
            )
