"""Where checkpoints come from, one file each: the Hugging Face Hub, plain HTTP, a member of a zip archive.

Each gives the original file as it is. Which source is asked, what its file has to be and what becomes of it
is decided in ``medzoo.weights``.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes expected (None: the server does not say)."""
