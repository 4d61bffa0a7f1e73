"""Where checkpoints come from, one file each: the Hugging Face Hub, plain HTTP, a member of a zip archive.

Each gives the original file unchanged. ``medzoo.weights.fetching`` decides which source is asked, what its file must be
and what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes expected (None if the server does not say)."""


@dataclass(frozen=True)
class Patience:
    """How long a download waits, and how often it is tried.

    Attributes:
        attempts: how often in all.
        attempts_unreachable: how often where there is no connection at all: without a network, the error comes soon.
        first_wait: seconds before the second attempt; doubled after each attempt.
        longest_wait: seconds; a server that asks for more gets a clear error instead of a long silence.
        connect_timeout: seconds until a server must answer.
        read_timeout: seconds without a single byte.
        piece: bytes that are read at once, the most that a broken connection loses.
    """

    attempts: int = 5
    attempts_unreachable: int = 2
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    piece: int = 1 << 16


PATIENCE = Patience()
