"""What a file is, told by its content and never by its suffix.

Downloads that went wrong are saved under the right name: an HTML page instead of a model, the pointer of
a large-file store, an archive cut short. Both the downloader and the checkpoint reader ask here, so that
both say the same thing. Standard library only, a few hundred bytes read.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

Kind = Literal[
    "safetensors", "torch", "torch-legacy", "torchscript", "pickle", "zip", "tar",
    "html", "lfs-pointer", "text", "empty", "broken-zip", "unknown",
]  # fmt: skip

# The first pickle of a torch file written before 1.6 is this number, protocol 2.
_TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<script")
_WORDS: dict[Kind, str] = {
    "safetensors": "a safetensors file",
    "torch": "a torch file",
    "torch-legacy": "a torch file of the form used before torch 1.6",
    "torchscript": "a TorchScript program, which would have to be run",
    "pickle": "a bare Python pickle, which would have to be run",
    "zip": "a zip archive, not a checkpoint inside one",
    "tar": "a tar archive",
    "html": "a web page (HTML or XML), not a checkpoint",
    "lfs-pointer": "the pointer of a large-file store (Git LFS), not the file itself",
    "text": "plain text, not a checkpoint",
    "empty": "empty",
    "broken-zip": "a zip or torch file that is cut short or damaged",
    "unknown": "of no known kind",
}


def guess(path: Path) -> Kind:
    """The kind of the file at ``path``.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
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
    """Whether a server sent words where a checkpoint was expected."""
    return kind in ("html", "lfs-pointer", "text", "empty")


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
