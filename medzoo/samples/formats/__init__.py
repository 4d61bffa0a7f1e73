"""File formats of samples: one file a format, which ends with ``FORMAT = Format(...)``; its name is the file's.

A format says how its files end, what it holds, which package it needs, ``check(run, shape, masks)``, which raises
SavingError when samples of ``shape`` [C, (D,) H, W] with so many masks do not fit, and ``encode(samples, i, run,
record)``, which gives the files of one sample. The same sample gives the same bytes: no dates, no random identifiers.

An installed package adds a format through the entry-point group ``medzoo.samples.formats``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from medzoo.errors import SavingError, pip_install
from medzoo.plugins import Folder
from medzoo.samples import Samples
from medzoo.samples.formats._base import (
    Bits,
    Encoded,
    Format,
    Masks,
    Run,
    class_name,
    label_map,
    origin,
    plain,
    png_words,
    stem,
)

__all__ = [
    "Bits",
    "Encoded",
    "Format",
    "Masks",
    "Run",
    "builtin",
    "check_format",
    "class_name",
    "encode",
    "label_map",
    "load",
    "names",
    "origin",
    "plain",
    "png_words",
    "stem",
]


def _pick(module: ModuleType) -> Format:
    format: Format = module.FORMAT
    return format


_FOLDER = Folder("medzoo.samples.formats", "format", _pick, lambda thing: isinstance(thing, Format), SavingError)


def names() -> list[str]:
    """Names that ``load`` takes; no format is imported for it."""
    return _FOLDER.names()


def builtin() -> list[str]:
    """Names of the formats that come along."""
    return _FOLDER.builtin()


@cache  # every sample asks
def load(name: str) -> Format:
    """The format of that name. Raises SavingError: there is none."""
    return _FOLDER.load(name)


def check_format(run: Run, shape: tuple[int, ...], masks: int) -> None:
    """Raises SavingError when samples of ``shape`` [C, (D,) H, W] with so many masks cannot be written as asked."""
    format = load(run.format)
    if run.bits not in (8, 16):
        raise SavingError(f"pixels of {run.bits} bits cannot be written; choose 8 or 16")
    if format.needs is not None:
        package, install = format.needs
        try:
            import_module(package)
        except ImportError:
            raise SavingError(f"--format {run.format} needs {package}; type: {pip_install(install)}") from None
    if (run.mask_kind, run.keep_patient) != ("capture", False) and run.format != "dicom":
        raise SavingError("segmentation objects (--masks seg) and --keep-patient are DICOM's; add --format dicom")
    format.check(run, shape, masks)


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    """The files of the sample at position ``i``; ``record`` is its ``origin``."""
    format = load(run.format)
    encoded = format.encode(samples, i, run, record)
    if not format.sharded:
        for suffix, _ in encoded.files:
            # What is not stated would be left behind by --overwrite.
            if not suffix.endswith(format.suffixes):
                raise SavingError(
                    f"format '{run.format}' gave a file that ends with '{suffix}', its suffixes are "
                    f"{', '.join(format.suffixes)}; state it in them"
                )
    return encoded
