"""The three standard streams, any of which may be closed or missing: under cron, in a daemon, in a window program."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, Any


def is_terminal(stream: IO[Any] | None) -> bool:
    """Whether a person sees the stream; False where it is missing or closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def make_whole() -> None:
    """Give a program all three streams, and let none fail at a character that it cannot show.

    What is missing becomes the null device: its number too, or the next file that is opened would get it, and with it
    whatever a C library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # a stand-in
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
