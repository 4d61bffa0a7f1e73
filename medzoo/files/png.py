"""PNG files of 8 or 16 bits with text chunks.

A few times faster than Pillow at the same size, because the row filter is one array operation and run-length
deflate suits filtered rows; and zlib lets other threads run meanwhile, where Pillow's encoder does not. The bytes
depend on the pixels, the texts and the zlib library alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_COLOUR = {1: 0, 3: 2}  # channels -> PNG colour type
_INDEXED = 3
_UP = 2  # filter: each row minus the one above


def encode_png(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    texts: Mapping[str, str],
    *,
    palette: NDArray[np.uint8] | None = None,
) -> bytes:
    """Pixels [H, W, 1] or [H, W, 3] and texts by keyword -> the bytes of a PNG file (ISO 15948).

    With a ``palette`` [n, 3] the pixels uint8 [H, W, 1] are numbers of its colours. Texts are Latin-1; what it lacks
    becomes a question mark.
    """
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    deflate = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR[channels] if palette is None else _INDEXED, 0, 0, 0)
    words = [
        (b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1", "replace")) for key, text in texts.items()
    ]
    data = deflate.compress(filtered.data) + deflate.flush()
    colours = [] if palette is None else [(b"PLTE", palette.tobytes())]
    chunks = [(b"IHDR", header), *words, *colours, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
