"""What befalls a file on a disk: content -> damaged content, by name; and things that are no file in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

DEEP = 200_000  # levels of lists, beyond what Python follows


def flip(content: bytes, part: float = 0.5) -> bytes:
    """One bit flipped at that part of the content."""
    at = min(int(len(content) * part), len(content) - 1)
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def zero(content: bytes) -> bytes:
    """The middle half is zero, as after a power cut."""
    quarter = len(content) // 4
    return content[:quarter] + bytes(len(content) - 2 * quarter) + content[len(content) - quarter :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte": lambda content: content[:-2],
    "flip first": lambda content: flip(content, 0.02),
    "flip 30%": lambda content: flip(content, 0.3),
    "flip 70%": lambda content: flip(content, 0.7),
    "zeroed": zero,
    "all zero": lambda content: bytes(len(content)),
    "NUL": lambda content: b"\0" + content,
    "not UTF-8": lambda content: b"\xff\xfe\xf0" + content,
    "text": lambda content: b"once upon a time\n",
    "deep": lambda content: b"[" * DEEP + b"]" * DEEP + b"\n",
    "deep object": lambda content: b'{"a":' * DEEP,
    "null": lambda content: b"null\n",
    "list": lambda content: b"[1, 2]\n",
    "object": lambda content: b'{"a": [1]}\n',
    "number": lambda content: b"1e999\n",
    "digits": lambda content: b"9" * 10_000 + b"\n",
    "surrogate": lambda content: b'{"file": "\\ud800.png"}\n',
}


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


NO_FILE: dict[str, Callable[[Path], None]] = {"pipe": pipe, "folder": folder, "device": device}
