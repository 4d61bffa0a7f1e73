"""What all formats share: the contract, the run, where a sample comes from, its name, its pixels as whole numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medzoo import __version__
from medzoo.errors import SavingError
from medzoo.samples import Samples

Bits = Literal[8, 16]
Masks = Literal["capture", "seg"]


@dataclass(frozen=True)
class Run:
    """What decides the bytes of a run, beside the version of medzoo. ``n`` does not: a run may be made longer.

    ``bits`` are those of pixels stored as whole numbers. ``spacing`` is the size of a pixel (height, width) or voxel
    (depth, height, width) in millimetres, None where unknown. ``inputs_sha256`` is a hash of the names and contents of
    all input images, in their order; None where there are none. ``condition`` names them without their folders.
    ``mask_names`` say what each mask shows; where they are stated, several masks are written as one map of labels.
    ``mask_kind`` is how DICOM holds masks: ``capture`` (pictures) or ``seg`` (segmentation objects). ``keep_patient``:
    DICOM files made from others stay in the study of the same patient.

    ``layout`` is a name of ``medzoo.samples.layouts``, and ``shard`` how many samples lie in one sub-folder (None: all
    in one), or at least in one tar file. ``channels``, ``masks`` (of a sample) and ``classes`` (names of the labels 0,
    1, ...) are what layouts but the flat one say in names and tables.
    """

    model_id: str | None
    revision: str | None
    weights_sha256: str | None
    seed: int | None
    start: int
    condition: str | None
    precision: str
    batch_size: int
    format: str
    bits: Bits = 8
    spacing: tuple[float, ...] | None = None
    inputs_sha256: str | None = None
    mask_names: tuple[str, ...] | None = None
    mask_kind: Masks = "capture"
    keep_patient: bool = False
    layout: str = "flat"
    shard: int | None = None
    channels: int | None = None
    masks: int | None = None
    classes: tuple[str, ...] | None = None

    def record(self) -> dict[str, Any]:
        """As run.json holds it."""
        flat = ("layout", "channels", "masks", "classes") if self.layout == "flat" else ()
        usual = {"shard": None, "mask_names": None, "mask_kind": "capture", "keep_patient": False}
        silent = {*flat, *(name for name, value in usual.items() if getattr(self, name) == value)}
        return {name: value for name, value in asdict(self).items() if name not in silent}


@dataclass(frozen=True)
class Encoded:
    """The files of one sample, each (what follows the name of the sample, content); once a layout has placed them,
    (path in the folder, content). ``others`` are further slices of a volume, or what a shard holds beside the image."""

    image: tuple[str, bytes]
    mask: tuple[str, bytes] | None = None
    others: tuple[tuple[str, bytes], ...] = ()

    @property
    def files(self) -> tuple[tuple[str, bytes], ...]:
        """All of them, the image first and the mask second."""
        return (self.image, *(() if self.mask is None else (self.mask,)), *self.others)


@dataclass(frozen=True)
class Format:
    """One file format of samples.

    Attributes:
        suffixes: how its files end, the image first (that of a mask is made of it by convention: ``_mask.png``); of a
            sharded format those of the shards.
        about: what it holds, in a few words for the documentation.
        check: raises SavingError unless samples of ``shape`` [C, (D,) H, W] with so many masks fit.
        encode: the files of the sample at a position; the last argument is its ``origin``.
        sharded: many samples lie in one tar file.
        needs: (package to import, what to hand to ``pip install``); None if there is none.
        labels: the content of a file of numbers uint8 [(D,) H, W], background 0, in place of masks, of the sample at a
            position; None where it holds no such thing.
        decode: the content of an image or a mask file -> float32 [C, (D,) H, W] in [0, 1], so that ``medzoo bench`` and
            ``medzoo train`` read such a folder; None where they read files of these suffixes already, or cannot.
    """

    suffixes: tuple[str, ...]
    about: str
    check: Callable[[Run, tuple[int, ...], int], None]
    encode: Callable[[Samples, int, Run, dict[str, Any]], Encoded]
    sharded: bool = False
    needs: tuple[str, str] | None = None
    labels: Callable[[NDArray[np.uint8], Samples, int, Run, dict[str, Any]], tuple[str, bytes]] | None = None
    decode: Callable[[bytes], NDArray[np.float32]] | None = None


def origin(samples: Samples, i: int) -> dict[str, Any]:
    """Where a sample comes from, as its manifest line and its files say it."""
    return {
        "index": int(samples.indices[i]),
        "input": None if samples.names is None else samples.names[i],
        "seed": samples.seed,
        "condition": None if samples.condition is None else samples.condition[i],
        "label": None if samples.labels is None else int(samples.labels[i]),
        "model_id": samples.model_id,
        "revision": samples.revision,
        "weights_sha256": samples.weights_sha256,
        "medzoo": __version__,
        "synthetic": samples.model_id is not None,
    }


def stem(record: dict[str, Any]) -> str:
    """Name of the files of a sample: its index, and the name of its input in letters that every system takes."""
    index = f"{record['index']:08d}"
    if record["input"] is None:
        return index
    name = plain(record["input"])
    return f"{index}_{name}" if name else index


def plain(name: str) -> str:
    """A name in letters that every system takes; empty where none of its letters is one."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:64].strip("-")


def class_name(record: dict[str, Any], classes: tuple[str, ...] | None) -> str | None:
    """The class of a sample in words, its number where it has none; None where there are no classes."""
    label: int | None = record["label"]
    if label is None:
        return None
    if classes is not None and 0 <= label < len(classes):
        return classes[label]
    return str(label if record["condition"] is None else record["condition"])


def made_by(record: dict[str, Any]) -> str:
    """The sentence that says it is synthetic; empty for images that no model made."""
    if not record["synthetic"]:
        return ""
    made = f"Synthetic image made by {record['model_id']}"
    shows = "; shows no patient" if record["input"] is None else " from an image that was given to it"
    return f"{made}{shows}. Not for clinical use."


def png_words(record: dict[str, Any]) -> dict[str, str]:
    """Text chunks of a PNG."""
    made = made_by(record)
    return {
        **({"Description": made} if made else {}),
        "Software": f"medzoo {record['medzoo']}",
        "medzoo": json.dumps(record),
    }


def whole_numbers(image: NDArray[np.float32], bits: Bits) -> NDArray[Any]:
    """[0, 1] -> uint8 or uint16, floor(most x + 1/2) with most = 255 or 65535, so that halves go up."""
    scaled = image * np.float32(2**bits - 1)
    scaled += np.float32(0.5)
    return scaled.astype(f"uint{bits}")  # truncates


def is_label_map(run: Run, masks: NDArray[np.uint8]) -> bool:
    """Whether the masks [K, ...] of a sample are written as one picture of their numbers."""
    return run.mask_names is not None and 1 < len(masks) < 256


def label_map(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Masks [K, (D,) H, W] as one [1, (D,) H, W]: 0 outside, k inside the k-th; of overlapping ones the last."""
    labels = np.zeros((1, *masks.shape[1:]), np.uint8)
    for k, mask in enumerate(masks, 1):
        labels[0][mask > 0] = k
    return labels


def check_picture(run: Run, name: str, shape: tuple[int, ...], masks: int) -> None:
    """Raises SavingError unless it is grey or RGB with one mask, or several that have names, and grey where 16 bits are
    asked for.
    """
    if shape[0] not in (1, 3) or masks > (1 if run.mask_names is None else 255):
        raise SavingError(
            f"{name} holds images of 1 or 3 channels and one mask, the samples are {list(shape)} with {masks} masks; "
            "take --format npz or nifti"
        )
    if run.bits == 16 and shape[0] != 1:
        raise SavingError(f"{name} holds 16 bits for grey images, the samples are RGB; leave out --bits 16")


def check_floats(run: Run, name: str) -> None:
    """Raises SavingError where 16 bits are asked for."""
    if run.bits == 16:
        raise SavingError(f"{name} holds 32-bit floats, which have more than 16 bits; leave out --bits 16")
