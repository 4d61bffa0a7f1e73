"""A path that somebody types -> images: what lies there is recognised by what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from medzoo.datasets.arrays import ArrayLayout, found_layout
from medzoo.datasets.dicom import DicomLayout, is_dicom
from medzoo.datasets.folder import FlatLayout, LabelLayout, class_folders
from medzoo.datasets.gathering import gather
from medzoo.datasets.images import Images
from medzoo.datasets.manifest import MANIFEST, ManifestLayout
from medzoo.datasets.pictures import SUFFIXES, Window
from medzoo.datasets.protocol import Protocol
from medzoo.datasets.source import Source, naming
from medzoo.datasets.splitting import SPLITS
from medzoo.datasets.tables import METADATA, MetadataLayout
from medzoo.datasets.volumes import Slices, VolumeLayout
from medzoo.errors import DatasetError
from medzoo.files import kind as filekind

Kind = Literal["flat", "labels", "arrays", "metadata", "manifest", "volume", "dicom"]
Found = FlatLayout | LabelLayout | ArrayLayout | MetadataLayout | ManifestLayout | VolumeLayout | DicomLayout


def load_path(
    path: Path | str,
    protocol: Protocol,
    *,
    masks: Path | str | None = None,
    kind: Kind | None = None,
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
        kind: what it is, where that is mistaken.
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
    elif isinstance(layout, FlatLayout | VolumeLayout):
        items = layout.items(source, split, Source(masks))
    else:
        raise DatasetError(
            f"{path}: a folder of masks goes with a folder of pictures or volumes, not with {layout.kind}"
        )
    return gather(items, protocol, str(path), minimum=minimum, classes=classes)


def recognise(path: Path, kind: Kind | None, split: str | None, window: Window | None, slices: Slices | None) -> Found:
    """The layout of a file or folder. Raises DatasetError when it is nothing that is known."""
    kind = kind or (_kind_of_file(path) if path.is_file() else _kind_of_folder(path))
    alone = path.is_file()
    if alone and kind not in ("arrays", "volume", "dicom"):
        raise DatasetError(f"{path}: is a file, which kind '{kind}' cannot be; give the folder")
    if kind == "arrays":
        return found_layout(path if alone else _only_archive(path), split, window)
    if kind == "volume":
        files = (path.name,) if alone else None
        masks = "masks" if not alone and (path / "masks").is_dir() else None
        return VolumeLayout(kind=kind, files=files, masks=masks, window=window, slices=slices or Slices())
    if kind == "dicom":
        return DicomLayout(kind=kind, files=(path.name,) if alone else None, window=window, slices=slices)
    if kind == "labels":
        return LabelLayout(kind=kind, window=window)
    if kind == "metadata":
        return MetadataLayout(kind=kind, window=window)
    if kind == "manifest":
        return ManifestLayout(kind=kind)
    inner = "images" if (path / "images").is_dir() and not _has_pictures(path) else "."
    masks = "masks" if inner == "images" and (path / "masks").is_dir() else None
    return FlatLayout(kind="flat", images=inner, masks=masks, window=window)


def _kind_of_file(path: Path) -> Kind:
    with naming(path):
        found = filekind.guess(path)
    if found == "nifti":
        return "volume"
    if found == "dicom":
        return "dicom"
    if found in ("npy", "zip"):
        return "arrays"
    if found in filekind.IMAGES:
        raise DatasetError(f"{path}: is a single picture; give the folder that holds the pictures")
    raise DatasetError(f"{path}: is {filekind.describe(found)}; {_ACCEPTED}")


def _kind_of_folder(path: Path) -> Kind:
    if (path / MANIFEST).is_file():
        return "manifest"
    if any((path / name).is_file() for name in (*METADATA, "metadata.parquet")):
        return "metadata"
    if _has_pictures(path) or _has_pictures(path / "images"):
        return "flat"
    files = [one for one in sorted(path.iterdir()) if one.is_file() and not one.name.startswith(".")]
    for one in files:
        with naming(one):
            found = filekind.guess(one)
        if found == "nifti":
            return "volume"
        if found == "dicom":
            return "dicom"
    if len(files) == 1 and files[0].suffix == ".npz":
        return "arrays"
    return _kind_of_folders(path)


def _kind_of_folders(path: Path) -> Kind:
    """Of a folder without files that are known: classes, or DICOM files of patients, however deep."""
    below = [path / name for name in class_folders(path)]
    if any(_has_pictures(one) for one in below):
        return "labels"
    files = (one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
    if any(is_dicom(one) for one in islice(files, _LOOK)):
        return "dicom"
    raise DatasetError(f"{path}: no image found; {_ACCEPTED}")


def _has_pictures(path: Path) -> bool:
    return path.is_dir() and any(
        one.suffix.lower() in SUFFIXES and not one.name.startswith(".") for one in path.iterdir()
    )


def _only_archive(path: Path) -> Path:
    found = sorted(path.glob("*.npz"))
    if len(found) != 1:
        raise DatasetError(f"{path}: {len(found)} .npz files in it; give one of them")
    return found[0]


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


_LOOK = 20  # files that are opened to find out what a tree of folders holds
_ACCEPTED = (
    "expected a folder of pictures (one folder a class, or metadata.jsonl, if you like), of samples of medzoo, of "
    "NIfTI or DICOM files, or a .npz, .npy, NIfTI or DICOM file"
)
