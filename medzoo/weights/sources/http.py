"""Plain HTTP: time-outs, retries, resume by Range, progress. The one user of requests."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import limits
from medzoo.errors import DownloadError, IntegrityError
from medzoo.files import cache, whole
from medzoo.files.reading import read_json
from medzoo.weights.sources import PATIENCE, Patience, Progress
from medzoo.weights.sources.retry import TRANSIENT_STATUS, Transient, reason_of, retry_after, with_retries

if TYPE_CHECKING:
    import requests

_GAIN = 1 << 20  # bytes that count as progress, so that a shaky line may finish a large file


@dataclass
class _Partial:
    """A download in progress: the bytes so far, and the validator (a tag of the server) that the rest must have."""

    path: Path
    url: str
    validator: str | None = None
    total: int | None = None
    size_stated: int | None = None  # bytes that the whole has to have, if known

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".part.json")

    def resume(self) -> None:
        """Continue what an earlier run left, if the server sent a validator with it."""
        try:
            seen = read_json(self.record)
            self.validator, self.total = seen["validator"], seen["total"]
            if seen["url"] != self.url or not self.validator:
                self.restart()
        except (OSError, ValueError, KeyError, TypeError):
            self.restart()

    def restart(self) -> None:
        self.validator = self.total = None
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)

    def save(self) -> None:
        whole.write_json(self.record, {"url": self.url, "validator": self.validator, "total": self.total})


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    public_only: bool = False,
    progress: Progress | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Download ``url`` to ``target``, which appears whole or not at all.

    An interrupted download stays beside it as ``*.part`` and is continued where the server allows it. Nothing of
    ``~/.netrc`` is sent.

    Args:
        size: bytes that the file has to have, if known; else ``limits.most("download_bytes")`` is the most.
        public_only: refuse addresses of this machine and of its own network, also after a redirect.
        progress: called with (bytes, total); None for a bar on a terminal.
        patience: attempts and time-outs.

    Raises:
        DownloadError: network, server or disk got in the way, or the answer goes beyond the limit.
        IntegrityError: the answer is larger than ``size``.
    """
    from medzoo.weights.sources.session import open_session

    partial = _Partial(target.with_suffix(".part"), url, size_stated=size)
    with cache.disk_errors(target.parent):
        partial.resume()
    with open_session(public_only=public_only) as session, _shown(progress, target.name) as show:
        try:
            with_retries(lambda: _continue(session, partial, show, patience), patience)
        except DownloadError as error:
            if isinstance(error, cache.DiskError) or not partial.validator:
                partial.restart()  # it cannot be continued: do not leave it on the disk
                raise
            rest = f"; {partial.size / 1e6:.1f} MB are stored, and the same command continues from there"
            raise type(error)(f"{error}{rest if partial.size else ''}") from error
    with cache.disk_errors(target.parent):
        os.replace(partial.path, target)
        partial.record.unlink(missing_ok=True)


def _continue(session: requests.Session, partial: _Partial, show: Progress, patience: Patience) -> None:
    """One request for the bytes that are missing."""
    import requests

    before = partial.size
    headers = {"Range": f"bytes={before}-", "If-Range": partial.validator or ""} if before else {}
    try:
        timeout = (patience.connect_timeout, patience.read_timeout)
        with session.get(partial.url, headers=headers, stream=True, timeout=timeout) as response:
            if response.status_code == 416 and before:
                # Either everything is here already, or the file on the server has changed.
                if partial.total == before:
                    return
                partial.restart()
                raise Transient("the server cannot continue the partial download")
            _refuse(response, partial.url)
            with cache.disk_errors(partial.path.parent):
                _prepare(response, partial)
            _receive(response, partial, show, patience.piece)
    except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
        raise DownloadError(f"{_host(partial.url)}: {reason_of(error)}; check the certificates and proxies") from error
    except (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        gained = partial.size - before >= _GAIN
        unreachable = any(name in repr(error) for name in ("NewConnectionError", "NameResolution", "ConnectTimeout"))
        what = f"cannot reach {_host(partial.url)}" if unreachable else "the connection broke"
        raise Transient(f"{what} ({reason_of(error)})", advanced=gained, unreachable=unreachable) from error
    except requests.exceptions.InvalidSchema as error:
        advice = "; type: pip install 'requests[socks]'" if "SOCKS" in str(error) else "; check the proxies and the URL"
        raise DownloadError(f"{_host(partial.url)}: {reason_of(error)}{advice}") from error
    except (requests.exceptions.RequestException, ValueError) as error:  # also what the libraries below call a mistake
        raise DownloadError(f"{partial.url}: {reason_of(error)}") from error


def _refuse(response: requests.Response, url: str) -> None:
    status = response.status_code
    if url.startswith("https://") and not response.url.startswith("https://"):
        raise DownloadError(f"{url} leads to {response.url}, which is not encrypted; refused")
    if status in TRANSIENT_STATUS:
        wait = retry_after(response.headers.get("Retry-After"))
        raise Transient(f"{_host(url)} answers {status} {response.reason}", wait=wait)
    if status in (404, 410):
        raise DownloadError(
            f"there is no file at {url} ({status}); the record may have moved: look for it on the site, "
            "and add the file as a source of kind 'local' or 'http'"
        )
    if status in (401, 403, 451):
        raise DownloadError(f"{url} refuses access ({status} {response.reason}); it may have become restricted")
    if status not in (200, 206):
        raise DownloadError(f"{url} answers {status} {response.reason}")


def _prepare(response: requests.Response, partial: _Partial) -> None:
    """Decide where the body of this response goes, and how long the whole file will be."""
    headers = response.headers
    before = partial.size
    encoded = headers.get("Content-Encoding", "identity") != "identity"
    stated_length = headers.get("Content-Length", "")
    length = int(stated_length) if stated_length.isdecimal() and not encoded else None
    if response.status_code == 206:
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        if stated is None or int(stated[1]) != before or partial.total not in (None, int(stated[2])):
            partial.restart()
            raise Transient("the server continued the download at the wrong place")
        partial.total = int(stated[2])
        return
    if before:
        partial.restart()  # 200: the file changed, or the server knows no ranges
    etag = headers.get("ETag", "")
    # A weak validator does not promise equal bytes.
    strong = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    partial.validator = None if encoded else strong
    partial.total = length
    partial.save()
    if length:
        _bound(partial, length)
        whole.need_space(partial.path.parent, length)


def _receive(response: requests.Response, partial: _Partial, show: Progress, piece: int) -> None:
    with cache.disk_errors(partial.path.parent):
        # Unbuffered: on a full disk a buffer would fail a second time, when it is closed.
        file = partial.path.open("ab", buffering=0)
    with file:
        done = partial.size
        show(done, partial.total)
        for chunk in response.iter_content(piece):
            done += len(chunk)
            _bound(partial, done)
            with cache.disk_errors(partial.path.parent):
                _write(file, chunk)
            show(done, partial.total)
        with cache.disk_errors(partial.path.parent):
            os.fsync(file.fileno())
    if partial.total is not None and done < partial.total:
        raise Transient(f"the body ended after {done} of {partial.total} bytes")
    if partial.total is not None and done > partial.total:
        partial.restart()
        raise Transient("the server sent more than it announced")


def _bound(partial: _Partial, size: int) -> None:
    """Refuse an answer that is, or has become, larger than the file may be."""
    try:
        if partial.size_stated is None:
            limits.check("download_bytes", size, partial.url, DownloadError)
        elif size > partial.size_stated:
            raise IntegrityError(f"the file has {size} bytes, expected {partial.size_stated}")
    except (DownloadError, IntegrityError):
        partial.restart()
        raise


def _write(file: io.FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _shown(progress: Progress | None, name: str) -> Iterator[Progress]:
    """The caller's progress, or a bar on a terminal."""
    if progress is not None:
        yield progress
        return
    import tqdm

    disable = True if sys.stderr is None else None  # None: no bar where standard error is not a terminal
    bar: Any = tqdm.tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1000, disable=disable, leave=False)

    def show(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        yield show


def _host(url: str) -> str:
    return url.split("/")[2].rpartition("@")[2]
