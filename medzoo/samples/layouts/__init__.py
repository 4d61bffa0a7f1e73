"""Layouts of samples: one file a layout, which ends with ``LAYOUT = Layout(...)``; its name is the file's.

A layout says in which folders images and masks of a run lie and how they are named, so that other programs read them as
they are. A format (``medzoo.samples.formats``) says what is in a file. Whatever the layout, ``manifest.jsonl``,
``run.json`` and the contact sheet lie in the folder itself.

An installed package adds a layout through the entry-point group ``medzoo.samples.layouts``.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from medzoo.errors import SavingError
from medzoo.plugins import Folder
from medzoo.samples import Samples, formats
from medzoo.samples.formats import Encoded, Run, label_map, stem
from medzoo.samples.layouts._base import Layout, Record, Role, Table, class_word, without_word

__all__ = [
    "Layout",
    "Record",
    "Role",
    "Table",
    "builtin",
    "check_layout",
    "class_word",
    "encode",
    "load",
    "names",
    "place",
    "role_of",
    "without_word",
]


def _pick(module: ModuleType) -> Layout:
    layout: Layout = module.LAYOUT
    return layout


_FOLDER = Folder("medzoo.samples.layouts", "layout", _pick, lambda thing: isinstance(thing, Layout), SavingError)


def names() -> list[str]:
    """Names that ``load`` takes; no layout is imported for it."""
    return _FOLDER.names()


def builtin() -> list[str]:
    """Names of the layouts that come along."""
    return _FOLDER.builtin()


@cache  # every sample asks
def load(name: str) -> Layout:
    """The layout of that name. Raises SavingError: there is none."""
    return _FOLDER.load(name)


def check_layout(run: Run, shape: tuple[int, ...], masks: int) -> None:
    """Raises SavingError when samples of ``shape`` [C, (D,) H, W] with so many masks cannot be written as asked."""
    layout = load(run.layout)
    format = formats.load(run.format)
    if run.shard is not None and run.shard < 1:
        raise SavingError(f"a shard holds one sample or more, found {run.shard}")
    if run.layout != "flat" and format.sharded:
        raise SavingError(f"--format {run.format} writes tar files, which have no layout; leave out --layout")
    if layout.numbered and masks and format.labels is None:
        fit = [name for name in formats.names() if formats.load(name).labels is not None]
        raise SavingError(f"layout {run.layout} needs masks of numbers; take --format {' or '.join(fit)}")
    layout.check(run, shape, masks)
    formats.check_format(run, shape, min(masks, 1) if layout.numbered else masks)


def place(run: Run, record: Record, role: Role) -> str:
    """Path in the folder of an image or a mask, without its ending."""
    layout = load(run.layout)
    first = "" if run.shard is None else f"{record['index'] // run.shard * run.shard:08d}/"
    word = class_word(run, record) if layout.says_class else ""
    return layout.folder(run, record, role) + first + stem(record) + (f"_{word}" if word else "")


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    """The files of the sample at position ``i``, each (path in the folder, content); ``record`` is its ``origin``."""
    layout = load(run.layout)
    if formats.load(run.format).sharded:
        found, at = formats.encode(samples, i, run, record), {"image": stem(record), "mask": stem(record)}
    else:
        found = (_numbered if layout.numbered else formats.encode)(samples, i, run, record)
        at = {"image": place(run, record, "image"), "mask": place(run, record, "mask")}

    def path(role: Role, ending: str) -> str:
        return at[role] + layout.ending(role, ending)

    return Encoded(
        (path("image", found.image[0]), found.image[1]),
        None if found.mask is None else (path("mask", found.mask[0]), found.mask[1]),
        tuple((at[role_of(ending)] + ending, content) for ending, content in found.others),
    )


def role_of(name: str) -> Role:
    """What a further file of a sample is, by how it ends."""
    return "mask" if "_mask." in name else "image"


def _numbered(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    """With one file of numbers for all masks: where they overlap, the last."""
    image = formats.encode(_without_masks(samples[i]), 0, run, record)
    labels = formats.load(run.format).labels
    if samples.masks is None or labels is None:
        return image
    return Encoded(image.image, labels(label_map(samples.masks[i])[0], samples, i, run, record), image.others)


def _without_masks(sample: Samples) -> Samples:
    from dataclasses import replace

    return replace(sample, masks=None)
