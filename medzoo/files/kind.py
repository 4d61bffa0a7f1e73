"""The kind of a file, recognised by its content and never by its suffix.

A failed download often has the right name: an HTML page instead of a model, the pointer of a large-file store, an
archive cut short. The downloader, the checkpoint reader and the reader of images all ask here, and so say the same.
Needs the standard library only, and reads a few hundred bytes.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal

Kind = Literal[
    "safetensors", "torch", "torch-legacy", "torchscript", "pickle", "zip", "tar",
    "html", "lfs-pointer", "text", "empty", "broken-zip", "unknown",
    "png", "jpeg", "tiff", "bmp", "gif", "webp", "dicom", "nifti", "npy",
]  # fmt: skip

IMAGES: tuple[Kind, ...] = ("png", "jpeg", "tiff", "bmp", "gif", "webp", "dicom", "nifti", "npy")

# The first pickle of a torch file written before 1.6 is this number, protocol 2.
_TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<script")
_WORDS: dict[Kind, str] = {
    "safetensors": "a safetensors file",
    "torch": "a torch file",
    "torch-legacy": "a torch file of the form used before torch 1.6",
    "torchscript": "a TorchScript program, which would have to be run",
    "pickle": "a bare Python pickle",
    "zip": "a zip archive, not a checkpoint inside one",
    "tar": "a tar archive",
    "html": "a web page (HTML or XML), not a checkpoint",
    "lfs-pointer": "the pointer of a large-file store (Git LFS), not the file itself",
    "text": "plain text, not a checkpoint",
    "empty": "empty",
    "broken-zip": "a zip or torch file that is cut short or damaged",
    "unknown": "of no known kind",
    "png": "a PNG image",
    "jpeg": "a JPEG image",
    "tiff": "a TIFF image",
    "bmp": "a BMP image",
    "gif": "a GIF image",
    "webp": "a WebP image",
    "dicom": "a DICOM file",
    "nifti": "a NIfTI image",
    "npy": "a NumPy array",
}
_IMAGE_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x93NUMPY", "npy"),
)


def guess(path: Path) -> Kind:
    """The kind of the file at ``path``.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(512)
    return _guess(head, path)


def guess_content(content: bytes) -> Kind:
    """The kind of a file whose content was read; archives are zip files whatever they hold."""
    return _guess(content[:512], None)


def _guess(head: bytes, path: Path | None) -> Kind:
    if not head:
        return "empty"
    image = _kind_of_image(_gunzipped(head) if head.startswith(b"\x1f\x8b") else head)
    if image is not None:
        return image
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path) if path is not None else "zip"
    if head.startswith(_TORCH_LEGACY):
        return "torch-legacy"
    if _is_text(head):
        return _kind_of_text(head)
    if head[8:9] == b"{":
        return "safetensors"
    if head[0] == 0x80 and 2 <= head[1] <= 5:
        return "pickle"
    return "tar" if head[257:262] == b"ustar" else "unknown"


def describe(kind: Kind) -> str:
    """Words that complete the sentence "the file is ..."."""
    return _WORDS[kind]


def is_page(kind: Kind) -> bool:
    """Whether a server sent text where a checkpoint was expected."""
    return kind in ("html", "lfs-pointer", "text", "empty")


def _kind_of_image(head: bytes) -> Kind | None:
    if head[128:132] == b"DICM":
        return "dicom"
    if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0":
        return "nifti"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[15:18] == b"\0\0\0":
        return "bmp"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if (kind := next((kind for start, kind in _IMAGE_STARTS if head.startswith(start)), None)) is not None:
        return kind
    return "dicom" if _is_bare_dicom(head) else None


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a file begins with elements of DICOM in little endian, without the preamble that should come first."""
    at = before = 0
    for _ in range(2):  # two elements, in the order of their tags
        if len(head) < at + 8:
            return False
        group, element = int.from_bytes(head[at : at + 2], "little"), int.from_bytes(head[at + 2 : at + 4], "little")
        tag, kind = group << 16 | element, head[at + 4 : at + 6]
        if group not in (2, 8) or (at and tag <= before):
            return False
        explicit = kind in _REPRESENTATIONS
        long = explicit and kind in _LONG
        field = head[at + 8 : at + 12] if long else head[at + 6 : at + 8] if explicit else head[at + 4 : at + 8]
        size = int.from_bytes(field, "little")
        if size % 2 or size > 256:
            return False
        before, at = tag, at + (12 if long else 8) + size
    return True


_REPRESENTATIONS = frozenset(b"AE AS CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split())
_LONG = frozenset((b"OB", b"OW", b"SQ", b"UN", b"UT"))


def _gunzipped(head: bytes) -> bytes:
    """The first bytes inside a gzip file of which ``head`` is the beginning; empty for a broken one."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 512)
    except zlib.error:
        return b""


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "broken-zip"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "torchscript"
    return "torch" if "data.pkl" in inner else "zip"


def _is_text(head: bytes) -> bool:
    # The cut at 512 bytes may split one character.
    return b"\0" not in head and len(head.decode("utf-8", "ignore").encode()) >= len(head) - 3


def _kind_of_text(head: bytes) -> Kind:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(_HTML):
        return "html"
    return "lfs-pointer" if start.startswith(b"version https://git-lfs") else "text"
