"""The pages of a TIFF file and what they are, from its directories alone: nothing is decoded.

Pillow counts pages by reading all of them again and again, and does not say which are thumbnails.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from medzoo import limits
from medzoo.errors import ImageFileError
from medzoo.imagefiles._picture import Asked, chosen

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes of BYTE, SHORT, LONG, IFD, LONG8, IFD8
_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _INNER = 254, 255, 256, 257, 330
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MOST_TAGS = 4096


class Page(NamedTuple):
    """One directory. ``place`` counts those of the main chain; None for one inside another (SubIFD) at ``offset``."""

    place: int | None
    offset: int
    width: int
    height: int
    reduced: bool
    mask: bool


def choose_page(path: Path, file: BinaryIO, asked: Asked) -> Page | None:
    """Which page is the picture: the only full one, or the slice that is asked for of several; None in a damaged file.

    Raises ImageFileError: too many pages, or ``asked`` does not fit.
    """
    full = full_pages(path, file)
    return full[chosen(path, len(full), asked)] if full else None  # what decodes it says how it is damaged


def from_page(content: bytes, page: Page) -> BinaryIO:
    """A TIFF file whose first page is that one, which lies inside another: decoders begin where the header points."""
    order, big = _order(content[:4])
    link = page.offset.to_bytes(8 if big else 4, "little" if order == "<" else "big")
    at = 8 if big else 4
    return io.BytesIO(content[:at] + link + content[at + len(link) :])


def full_pages(path: Path, file: BinaryIO) -> list[Page]:
    """The pages that are pictures. Masks of transparency and pages of reduced resolution are none.

    A page that does not say so counts as reduced when both of its sides are at most two thirds of those of the largest
    page. Where the largest lies inside the page of a thumbnail, those inside are the pictures.
    """
    pages = [page for page in _pages(path, file) if not page.mask and page.width > 0 and page.height > 0]
    full = [page for page in pages if not page.reduced] or pages
    if not full:
        return []
    largest = max(full, key=lambda page: page.width * page.height)
    small = 2 * largest.width, 2 * largest.height
    full = [page for page in full if not (3 * page.width <= small[0] and 3 * page.height <= small[1])]
    return [page for page in full if (page.place is None) == (largest.place is None)]


def _pages(path: Path, file: BinaryIO) -> Iterator[Page]:
    file.seek(0)
    head = file.read(16)
    order, big = _order(head)
    offset = struct.unpack(order + "Q", head[8:16])[0] if big else _number(order, head[4:8])
    seen: set[int] = set()
    place, most = 0, limits.most("pages")
    while offset and offset not in seen:
        seen.add(offset)
        at = offset
        if place >= most:
            limits.check("pages", place + 1, f"{path}: more than {most:,} pages in one file", ImageFileError)
        tags, offset = _directory(file, order, big, offset)
        if tags is None:
            return
        yield _page(place, at, tags)
        for inner in tags.get(_INNER, ())[:64]:
            if inner not in seen:
                seen.add(inner)
                below, _ = _directory(file, order, big, inner)
                if below is not None:
                    yield _page(None, inner, below)
        place += 1


def _order(head: bytes) -> tuple[str, bool]:
    """The order of bytes, and whether it is a BigTIFF file."""
    order = "<" if head[:2] == b"II" else ">"
    return order, len(head) >= 4 and struct.unpack(order + "H", head[2:4])[0] == 43


def _page(place: int | None, offset: int, tags: dict[int, tuple[int, ...]]) -> Page:
    first = {tag: values[0] for tag, values in tags.items() if values}
    kind = first.get(_KIND, 0)
    reduced = bool(kind & _REDUCED) or first.get(_OLD_KIND) == 2
    return Page(place, offset, first.get(_WIDTH, 0), first.get(_HEIGHT, 0), reduced, bool(kind & _MASK))


def _directory(file: BinaryIO, order: str, big: bool, offset: int) -> tuple[dict[int, tuple[int, ...]] | None, int]:
    """The few tags that are needed, and where the next directory lies (0 for nowhere)."""
    width, inline = (20, 8) if big else (12, 4)
    file.seek(offset)
    count = _number(order, file.read(8 if big else 2))
    if not 0 < count <= _MOST_TAGS:
        return None, 0
    content = file.read(count * width)
    after = _number(order, file.read(inline))
    found: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(content) - width + 1, width):
        tag, kind = struct.unpack(order + "HH", content[start : start + 4])
        if tag not in (_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _INNER) or kind not in _SIZES:
            continue
        n = min(_number(order, content[start + 4 : start + width - inline]), 64)
        value, size = content[start + width - inline : start + width], _SIZES[kind]
        if n * size > inline:
            file.seek(_number(order, value))
            value = file.read(n * size)
        found[tag] = tuple(_number(order, value[i * size : (i + 1) * size]) for i in range(n))
    return found, after


def _number(order: str, content: bytes) -> int:
    return int.from_bytes(content, "little" if order == "<" else "big")
