"""One line of a report."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from typing import Literal

from medzoo.errors import MedzooError


@dataclass(frozen=True)
class Finding:
    """What came out of one check, and why."""

    name: str
    status: Literal["pass", "fail", "skipped"]
    reason: str


def passed(name: str, reason: str) -> Finding:
    return Finding(name, "pass", reason)


def failed(name: str, reason: str) -> Finding:
    return Finding(name, "fail", reason)


def skipped(name: str, reason: str) -> Finding:
    return Finding(name, "skipped", reason)


def broken(error: Exception) -> str:
    """What went wrong in code: an error that was raised on purpose says it itself, of any other also where it was."""
    if isinstance(error, MedzooError):
        return one_line(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__}: {one_line(error)}" + "".join(f" ({one.filename}:{one.lineno})" for one in last)


def one_line(error: BaseException) -> str:
    """The words of an error, without its line breaks."""
    return re.sub(r"\s*\n\s*", "; ", str(error)).strip() or type(error).__name__
