"""A path that somebody types -> images: what lies there is recognised by what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medzoo.datasets.folder import class_folders
from medzoo.datasets.gathering import gather
from medzoo.datasets.images import Images
from medzoo.datasets.layout import Layout
from medzoo.datasets.layouts import LAYOUTS, kind_of
from medzoo.datasets.manifest import MANIFEST
from medzoo.datasets.pictures import Window
from medzoo.datasets.protocol import Protocol
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import SPLITS
from medzoo.datasets.tables import METADATA
from medzoo.datasets.volumes import Slices
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind


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
    path = Path(path)
    if window is not None and not window[0] < window[1]:
        raise DatasetError(f"window needs low < high, found {list(window)}")
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder")
    if path.name in (MANIFEST, *METADATA):
        path = path.parent
    place = path if path.is_file() else _of_split(path, split)
    layout = recognise(place, kind, split, window, slices)
    source = Source(place if place.is_dir() else place.parent)
    if masks is None:
        items = layout.items(source, split)
    elif layout.takes_masks:
        items = layout.items(source, split, Source(masks))
    else:
        raise DatasetError(
            f"{path}: a folder of masks goes with a folder of pictures or volumes, not with {layout.kind}"
        )
    return gather(items, protocol, str(path), minimum=minimum, classes=classes)


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
    names = {name: one for one, usual in SPLITS.items() for name in usual}
    below = class_folders(path)
    known = (MANIFEST, *METADATA)
    if not below or not set(below) <= set(names) or any((path / name).is_file() for name in known):
        if split is not None and not any((path / name).is_file() for name in METADATA) and not list(path.glob("*.npz")):
            raise DatasetError(f"{path}: holds no splits, but '{split}' was asked for; leave it out")
        return path
    if split is None:
        raise DatasetError(f"{path}: has the splits {', '.join(below)}; say which of them (split=)")
    for name in below:
        if name == split or names[name] == names.get(split):
            return path / name
    raise DatasetError(f"{path}: no split '{split}'; it has {', '.join(below)}")


_ACCEPTED = (
    "expected a folder of pictures (optionally one folder a class, or with metadata.jsonl), of samples of medzoo, of "
    "NIfTI or DICOM files, or a .npz, .npy, NIfTI or DICOM file"
)
