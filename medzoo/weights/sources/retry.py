"""Try again, after longer and longer pauses, what may succeed on a second attempt."""

from __future__ import annotations

import datetime
import email.utils
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from medzoo.errors import TryLaterError
from medzoo.weights.sources import Patience

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

_T = TypeVar("_T")
_log = logging.getLogger("medzoo")


class Transient(Exception):
    """Something that may pass.

    Args:
        reason: what happened, in words.
        wait: seconds that the server asks to wait; None if it does not.
        advanced: whether the download grew, so that the count of attempts starts again.
        unreachable: whether there was no connection at all.
    """

    def __init__(
        self, reason: str, *, wait: float | None = None, advanced: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.advanced = advanced
        self.unreachable = unreachable


def with_retries(action: Callable[[], _T], patience: Patience) -> _T:
    """Call ``action`` until it raises no ``Transient``, and return its result.

    Raises:
        TryLaterError: every attempt failed, or the server asks to wait too long.
    """
    failed = 0
    while True:
        try:
            return action()
        except Transient as error:
            failed = 1 if error.advanced else failed + 1
            if failed >= (patience.attempts_unreachable if error.unreachable else patience.attempts):
                raise TryLaterError(f"{error} ({failed} attempts)") from error
            wait = patience.first_wait * 2 ** (failed - 1) if error.wait is None else error.wait
            if wait > patience.longest_wait:
                raise TryLaterError(f"{error}; the server asks to wait {wait:.0f} s: try again after that") from error
            _log.info("%s; trying again in %.1f s", error, wait)
            time.sleep(wait)


def retry_after(header: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, in either of its forms (seconds or a date); None if it has none."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


def reason_of(error: BaseException) -> str:
    """The part of a network error that says what happened, in at most 200 characters."""
    seen: BaseException | None = error
    words = ""
    while seen is not None:
        words = str(seen) or words
        seen = seen.__cause__ or seen.__context__
    if found := re.search(r"\[Errno -?\d+\] ([^'\")\[\]]+)", f"{error} {words}"):
        return found.group(1).strip()
    words = re.sub(r"\s+", " ", str(error) or words or type(error).__name__)
    return words if len(words) <= 200 else words[:200] + "..."
