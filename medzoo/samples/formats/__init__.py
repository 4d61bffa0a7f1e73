"""File formats of samples: one file a format.

Each has ``check(run, shape, masks)``, which raises SavingError when samples of ``shape`` [C, (D,) H, W] with so many
masks do not fit or a package is missing, and ``encode(samples, i, run, record)``, which gives the files of one sample.
The same sample gives the same bytes: no dates, no random identifiers.
"""

from __future__ import annotations

from typing import Any, Protocol

from medzoo.errors import SavingError
from medzoo.samples.formats import dicom, nifti, npy, npz, png, webdataset
from medzoo.samples.formats._base import Bits, Encoded, Format, Run, origin, png_words, stem
from medzoo.samples import Samples

__all__ = ["FORMATS", "SHARDED", "Bits", "Format", "Run", "check_format", "encode", "origin", "png_words", "stem"]


class _Module(Protocol):
    def check(self, run: Run, shape: tuple[int, ...], masks: int) -> None: ...

    def encode(self, samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded: ...


_MODULES: dict[Format, _Module] = {
    "png": png,
    "npy": npy,
    "npz": npz,
    "dicom": dicom,
    "nifti": nifti,
    "webdataset": webdataset,
}
FORMATS: tuple[Format, ...] = tuple(_MODULES)
SHARDED: tuple[Format, ...] = ("webdataset",)  # many samples in one file


def check_format(run: Run, shape: tuple[int, ...], masks: int) -> None:
    """Raises SavingError when samples of ``shape`` [C, (D,) H, W] with so many masks cannot be written as asked."""
    if run.format not in FORMATS:
        raise SavingError(f"unknown format '{run.format}'; choose from {', '.join(FORMATS)}")
    if run.bits not in (8, 16):
        raise SavingError(f"pixels of {run.bits} bits cannot be written; choose 8 or 16")
    _MODULES[run.format].check(run, shape, masks)


def encode(samples: Samples, i: int, run: Run, record: dict[str, Any]) -> Encoded:
    """The files of the sample at position ``i``; ``record`` is its ``origin``."""
    return _MODULES[run.format].encode(samples, i, run, record)
