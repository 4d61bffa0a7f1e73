"""Locks between processes. The operating system releases the lock of a killed process, so none outlives its holder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 2.0  # seconds of waiting before ``on_wait`` is called


@contextmanager
def held(path: Path, on_wait: Callable[[], None] | None = None, *, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file ``path``; its folder is created if it does not exist.

    Args:
        on_wait: called once, when another process has held it for ``patience`` seconds. It may raise to give up;
            otherwise waiting goes on.

    Raises OSError.
    """
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        if on_wait is not None:
            on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
