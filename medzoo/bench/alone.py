"""Two benchmarks at once on one folder: what one of them is writing, the other waits for and then finds done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medzoo import cachedir

PATIENCE = 2.0  # seconds before anybody is told


@contextmanager
def alone(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only process that works on ``path``; the lock of a killed one is dropped by the operating system.

    Args:
        waiting: called when another process has it.

    Raises DiskError: the cache folder, which holds the locks, cannot be written.
    """
    import filelock

    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    locks = cachedir.root() / "locks"
    with cachedir.writing(locks):
        locks.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(locks / f"bench-{name}.lock")
        try:
            lock.acquire(timeout=PATIENCE)
        except filelock.Timeout:
            waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
