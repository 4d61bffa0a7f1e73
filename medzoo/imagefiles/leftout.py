"""What of a folder is not read, counted by kind: nothing is left out without a word."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from medzoo.imagefiles._picture import ReadingWarning

# Texts, tables and what systems leave behind: nobody takes them for pictures.
_ASIDE = frozenset((
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".html", ".pdf", ".ini", ".log",
    ".db", ".xls", ".xlsx", ".doc", ".docx", ".py", ".sh", ".sha256", ".md5",
))  # fmt: skip
_NAMES = frozenset(("DICOMDIR", "SHA256SUMS", "MD5SUMS", "LICENSE", "LICENCE", "README", "CITATION", "Thumbs.db"))


def warn_of(folder: Path, files: Iterable[Path], why: str = "not read") -> None:
    """Say how many files of each kind were left out; texts, tables and hidden files are no pictures."""
    text = counted(files)
    if text:
        warnings.warn(f"{folder}: {text}: {why}", ReadingWarning, stacklevel=3)


def counted(files: Iterable[Path]) -> str:
    """Such as "28 .bmp files, 1 file without suffix"; empty if there is nothing to say."""
    kinds = Counter(
        path.suffix.lower() for path in files
        if path.suffix.lower() not in _ASIDE and path.name not in _NAMES and not path.name.startswith(".")
    )  # fmt: skip
    parts = []
    for suffix, n in sorted(kinds.items()):
        files_of = "file" if n == 1 else "files"
        parts.append(f"{n} {suffix} {files_of}" if suffix else f"{n} {files_of} without suffix")
    return ", ".join(parts)
