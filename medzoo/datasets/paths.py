"""A path that somebody types -> images: what lies there is recognised by what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from medzoo.datasets.folder import class_folders
from medzoo.datasets.gathering import Item, gather
from medzoo.datasets.images import Images
from medzoo.datasets.layout import Layout
from medzoo.datasets.layouts import LAYOUTS, kind_of
from medzoo.datasets.manifest import MANIFEST
from medzoo.datasets.measuring import Measure, Sides, windowed
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import Protocol
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import is_split, usual_split
from medzoo.datasets.tables import METADATA
from medzoo.datasets.volumes import Slices
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind
from medzoo.imagefiles import leftout


def load_path(
    path: Path | str,
    protocol: Protocol,
    *,
    masks: Path | str | None = None,
    kind: str | None = None,
    split: str | None = None,
    window: Window | None = None,
    slices: Slices | None = None,
    classes: Sequence[str] | None = None,
    minimum: int = 2,
) -> Images:
    """Read the images at a path.

    Args:
        path: a folder of pictures (or one with ``images/`` and optionally ``masks/``), of one folder a class, with
            the ``metadata.jsonl`` of Hugging Face, with the ``manifest.jsonl`` of ``medzoo generate``, of NIfTI
            volumes or of DICOM files; or a single .npz, .npy, NIfTI or DICOM file.
        protocol: how pictures are brought to one size.
        masks: folder with a mask for each image (or volume), by name.
        kind: of the layout, where the wrong one is recognised: "flat", "labels", "arrays", "metadata", "manifest",
            "volume" or "dicom".
        split: which one, of a path that holds several (MedMNIST files, folders train/ and test/).
        window: values that become black and white.
        slices: which slices of volumes (all with something on them by default) or frames of DICOM files (all).
        classes: names of the labels 0, 1, ...; None takes those found, sorted.
        minimum: fewest images that make sense to the caller.

    Raises:
        DatasetError: nothing that is known, or too little of it; names the file.
    """
    layout, source = _layout(path, kind, split, window, slices)
    if masks is not None and not layout.takes_masks:
        raise DatasetError(
            f"{path}: a folder of masks goes with a folder of pictures or volumes, not with {layout.kind}"
        )
    if window is None:
        window = layout.usual_window(source, split)

    def items(window: Window | Measure | None) -> Iterator[Item]:
        stated = layout if window is None else layout.model_copy(update={"window": window})
        return stated.items(source, split, None if masks is None else Source(masks))

    def use(found: Iterator[Item]) -> Images:
        return gather(found, protocol, str(path), minimum=minimum, classes=classes)

    return windowed(items, use, str(path)) if window is None else use(items(window))


def window_of(
    path: Path | str, *, kind: str | None = None, split: str | None = None, slices: Slices | None = None
) -> Window | None:
    """Black and white that ``load_path`` takes for numbers of more than 8 bits where nobody states a window.

    Read one part of a set this way and hand it on, and the other parts mean the same. None where each picture says its
    own, as those of 8 bits do. Raises DatasetError.
    """
    layout, source = _layout(path, kind, split, None, slices)
    return layout.usual_window(source, split)


def smallest_side(path: Path | str, *, split: str | None = None, window: Window | None = None) -> int:
    """Pixels of the shortest side of any picture at a path, as ``load_path`` reads it. Raises DatasetError."""
    layout, source = _layout(path, None, split, window, None)
    if "window" in type(layout).model_fields:
        heads = not layout.file_kinds  # of picture files, which state their size
        used = Sides() if heads else window or layout.usual_window(source, split)
        layout = layout.model_copy(update={"window": used})
    sides = [int(min(item.pixels.shape[:2])) for item in layout.items(source, split)]
    if not sides:
        raise DatasetError(f"{path}: no image found")
    return min(sides)


def _layout(
    path: Path | str, kind: str | None, split: str | None, window: Window | None, slices: Slices | None
) -> tuple[Layout, Source]:
    path = Path(path)
    if window is not None and not window[0] < window[1]:
        raise DatasetError(f"window needs low < high, found {list(window)}")
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder")
    if path.name in (MANIFEST, *METADATA):
        path = path.parent
    place = path if path.is_file() else _of_split(path, split)
    layout = recognise(place, kind, split, window, slices)
    return layout, Source(place if place.is_dir() else place.parent)


def recognise(path: Path, kind: str | None, split: str | None, window: Window | None, slices: Slices | None) -> Layout:
    """The layout of a file or folder. Raises DatasetError when it is nothing that is known."""
    alone = path.is_file()
    layout = _named(kind) if kind else _of_file(path) if alone else _of_folder(path)
    if alone and not layout.file_kinds:
        raise DatasetError(f"{path}: is a file, which kind '{kind}' cannot be; give the folder")
    return layout.of_path(path, split, window, slices)


def _named(kind: str) -> type[Layout]:
    known = {kind_of(layout): layout for layout in LAYOUTS}
    if kind not in known:
        raise DatasetError(f"no layout is of kind '{kind}'; there are {', '.join(known)}")
    return known[kind]


def _of_file(path: Path) -> type[Layout]:
    with naming(path):
        kind = filekind.guess(path)
    for layout in LAYOUTS:
        if kind in layout.file_kinds:
            return layout
    if kind in filekind.IMAGES:
        raise DatasetError(f"{path}: is a single picture; give the folder that holds the pictures")
    raise DatasetError(f"{path}: is {filekind.describe(kind)}; {_ACCEPTED}")


def _of_folder(path: Path) -> type[Layout]:
    for deep in (False, True):
        for layout in LAYOUTS:
            if layout.recognises(path, deep):
                return layout
    raise DatasetError(f"{path}: no image found; {_ACCEPTED}")


def _of_split(path: Path, split: str | None) -> Path:
    """The folder of a split, where a folder holds nothing but folders of splits; else the folder itself."""
    known = any((path / name).is_file() for name in (MANIFEST, *METADATA))
    below = [] if known else [name for name in class_folders(path) if is_split(name) or _holds_files(path / name)]
    splits = [name for name in below if is_split(name)]
    if len(splits) > 1 and len(splits) < len(below):
        others = ", ".join(name for name in below if name not in splits)
        raise DatasetError(f"{path}: has the splits {', '.join(splits)} and beside them {others}; move these elsewhere")
    if not splits or len(splits) < len(below):
        if split is not None and not any((path / name).is_file() for name in METADATA) and not list(path.glob("*.npz")):
            raise DatasetError(f"{path}: holds no splits, but '{split}' was asked for; leave it out")
        return path
    if split is None:
        raise DatasetError(
            f"{path}: has the splits {', '.join(splits)}; say which of them (split=, or {path.name}:{splits[0]} in "
            "medzoo bench)"
        )
    for name in splits:
        if name == split or (usual_split(name) is not None and usual_split(name) == usual_split(split)):
            return path / name
    raise DatasetError(f"{path}: no split '{split}'; it has {', '.join(splits)}")


def _holds_files(folder: Path) -> bool:
    """Whether there is anything below a folder that could be a picture."""
    some = islice((path for path in folder.rglob("*") if path.is_file()), _LOOKED_AT)
    return any(leftout.counted([path]) for path in some)


_LOOKED_AT = 1000  # files of a folder
_ACCEPTED = (
    "expected a folder of pictures (optionally one folder a class, or with metadata.jsonl), of samples of medzoo, of "
    "NIfTI or DICOM files, or a .npz, .npy, NIfTI or DICOM file"
)
