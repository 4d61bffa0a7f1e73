"""Which files are masks, and of which image: the spellings that public data sets use, in any case and Unicode form.

    beside the images    ``a.png`` and ``a_mask.png``; also ``_mask_1`` (several of one image are joined), ``-mask``,
                         ``_segmentation``, ``_seg``, ``_label``, ``_gt``, ``_groundtruth``
    in a folder          ``images/`` and ``masks/``; also ``mask``, ``labels``, ``gt``, ``Ground Truth``,
                         ``segmentations``, ``annotations`` beside ``image``, ``img``, ``Original`` or one folder more;
                         ``a_0000`` with ``a``, as nnU-Net has them

Masks are used where every image has one. Otherwise it is an error: masks must not be learned as pictures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from medzoo.errors import DatasetError

_WORDS = "masks?|segmentations?|segs?|segm|labels?|labelmap|gts?|ground[-_ ]?truths?|annotations?"
_BEHIND = re.compile(rf"^(?P<name>.*?)(?:[-_. ]+|\b)(?P<word>{_WORDS})(?:[-_. ]*\(?\d{{1,4}}\)?)?$", re.IGNORECASE)
_BEFORE = re.compile(rf"^(?P<word>{_WORDS})[-_. ]+(?P<name>.+)$", re.IGNORECASE)
_STRONG = re.compile(r"mask|seg|gt|truth", re.IGNORECASE)  # words that no picture has by chance
_IMAGE = re.compile(
    r"^(?:(?:images?|imgs?|original|orig)[-_. ]+(?P<a>.+)|(?P<b>.+?)[-_. ]+(?:images?|imgs?|original|orig))$", re.I
)
_MASK_FOLDERS = frozenset(
    ("mask", "masks", "label", "labels", "labelstr", "seg", "segs", "segmentation", "segmentations", "gt", "gts",
     "groundtruth", "groundtruths", "annotation", "annotations", "lesionmasks", "segmentationmasks")
)  # fmt: skip
_IMAGE_FOLDERS = frozenset(
    ("image", "images", "imagestr", "img", "imgs", "original", "originals", "orig", "input", "inputs", "picture",
     "pictures")
)  # fmt: skip
LAYOUT = "images/NAME.png with masks/NAME.png, or NAME.png with NAME_mask.png beside it, one for each image"


def same(name: str) -> str:
    """A name as it is compared: the same in any case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_always_masks(name: str) -> bool:
    """Whether a folder is one of masks even if nothing of the kind is in it: other words mean texts as often."""
    return same(name) in ("mask", "masks")


def is_mask_folder(name: str) -> bool:
    return re.sub(r"[-_. ]", "", same(name)) in _MASK_FOLDERS


def is_image_folder(name: str) -> bool:
    return re.sub(r"[-_. ]", "", same(name)) in _IMAGE_FOLDERS


def of_mask(name: str) -> str | None:
    """What a mask belongs to by its name, as :func:`same` spells it; None for a name that is no mask's."""
    for pattern in (_BEHIND, _BEFORE):
        match = pattern.match(name)
        if match and match["name"].strip("-_. "):
            return same(match["name"].strip("-_. "))
    return None


def beside(folder: Path, names: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The images among the names of one folder (without suffix), and the masks of each.

    No masks where no image has one, even if all names look like those of masks: a folder of masks is pictures too.

    Raises DatasetError: an image without a mask where others have one, or a mask without an image among images.
    """
    names = list(names)
    known = {same(name): name for name in names}
    bare = {same(match): name for name in names if (match := _bare(name))}
    masks: dict[str, list[str]] = {}
    alone: list[str] = []
    for name in names:
        target = of_mask(name)
        if target is None:
            continue
        image = known.get(target) or bare.get(target)
        if image is not None and image != name and of_mask(image) is None:
            masks.setdefault(image, []).append(name)
        else:
            alone.append(name)
    images = [name for name in names if of_mask(name) is None]
    if not masks and (not images or not any(_STRONG.search(name) for name in alone)):
        return names, {}  # all are masks, or none but by chance
    drawn = {name for several in masks.values() for name in several}
    if alone:
        raise DatasetError(
            f"{folder}: {len(alone)} files are masks by their names and belong to no image, such as {alone[0]}; "
            f"expected {LAYOUT}"
        )
    lacking = [name for name in names if name not in drawn and name not in masks]
    if lacking:
        raise DatasetError(
            f"{folder}: {len(drawn)} files are masks by their names ({next(iter(sorted(drawn)))}), but {len(lacking)} "
            f"images have none ({lacking[0]}); expected {LAYOUT}; or move the masks out of the folder"
        )
    return [name for name in names if name not in drawn], masks


def in_folders(images: Path, files: Mapping[str, str], masks: Path, of: Iterable[str]) -> dict[str, list[str]]:
    """The masks of each image, both by their names without suffix, in two folders; ``files`` are the images' names.

    Raises DatasetError: an image without a mask.
    """
    names, of = list(files), list(of)
    known, stripped = _grouped({name: same(name) for name in of}), _grouped({name: of_mask(name) for name in of})
    found: dict[str, list[str]] = {}
    for name in names:
        # nnU-Net's images say their channel, its masks do not.
        for key in (same(name), same(_bare(name) or ""), same(name.removesuffix("_0000"))):
            several = known.get(key) or stripped.get(key)
            if key and several:
                found[name] = several
                break
        else:
            raise DatasetError(
                f"{images / files[name]}: no mask {masks / name}.*; every image needs one of the same name "
                f"({len(of)} masks for {len(names)} images); expected {LAYOUT}"
            )
    return found


def unused(masks: Iterable[str], pairs: Mapping[str, list[str]]) -> list[str]:
    """Masks that belong to no image, sorted."""
    return sorted(set(masks) - {name for several in pairs.values() for name in several})


def _bare(name: str) -> str | None:
    """``7`` of ``image_7`` and ``7_original``."""
    match = _IMAGE.match(name)
    return (match["a"] or match["b"]) if match else None


def _grouped(keys: Mapping[str, str | None]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, key in keys.items():
        if key:
            found.setdefault(key, []).append(name)
    return found
