"""Streams of JPEG and JPEG 2000, looked at before they are decoded: what they would cost."""

from __future__ import annotations

import struct
from pathlib import Path

from medzoo import limits
from medzoo.errors import ImageFileError

_SCAN = b"\xff\xda"  # inside coded pixels 0xFF is followed by 0 or a restart marker
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # markers that state the size


def check_scans(path: Path, content: bytes, strips: int = 1) -> None:
    """Refuse a progressive JPEG that has many times the scans that a picture needs: each is a pass over all pixels."""
    limits.check("scans", content.count(_SCAN) // max(1, strips), f"{path}: a JPEG picture", ImageFileError)


def stated_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) that a JPEG, JPEG-LS or JPEG 2000 stream states; None for another, or a damaged one."""
    start = content.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(content) >= start + 24:
        width, height, left, top = struct.unpack(">4I", content[start + 8 : start + 24])
        return height - top, width - left
    at = 2
    while content[:2] == b"\xff\xd8" and at + 9 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return height, width
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return None
