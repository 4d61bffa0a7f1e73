"""One line of a report."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from medzoo.errors import MedzooError

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What came out of one check, and why."""

    name: str
    status: Status
    reason: str


def passed(name: str, reason: str) -> Finding:
    return Finding(name, "pass", reason)


def failed(name: str, reason: str) -> Finding:
    return Finding(name, "fail", reason)


def skipped(name: str, reason: str) -> Finding:
    return Finding(name, "skipped", reason)


def status_of(findings: Iterable[Finding], name: str) -> Status:
    """Status of the check of that name: the worst where it was made of several things, such as sources of weights.

    Raises:
        KeyError: there is no finding of that name.
    """
    statuses = {finding.status for finding in findings if finding.name == name}
    if not statuses:
        raise KeyError(name)
    ordered: tuple[Status, ...] = ("fail", "pass", "skipped")
    return next(status for status in ordered if status in statuses)


def broken(error: Exception) -> str:
    """What went wrong in code: an error that was raised on purpose says it itself, of any other also where it was."""
    if isinstance(error, MedzooError):
        return one_line(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{type(error).__name__}: {one_line(error)}" + "".join(f" ({at.filename}:{at.lineno})" for at in last)


def one_line(error: BaseException) -> str:
    """The words of an error, without its line breaks."""
    return re.sub(r"\s*\n\s*", "; ", str(error)).strip() or type(error).__name__
