"""Plain HTTP: time-outs, retries, resume by Range, progress. The one user of requests."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo.errors import DownloadError
from medzoo.files import cache, whole
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

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".part.json")

    def resume(self) -> None:
        """Continue what an earlier run left, if the server sent a validator with it."""
        try:
            seen = json.loads(self.record.read_text(encoding="utf-8"))
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
        whole.write_json(self.record, {key: value for key, value in asdict(self).items() if key != "path"})


def download(url: str, target: Path, *, progress: Progress | None = None, patience: Patience = PATIENCE) -> None:
    """Download ``url`` to ``target``, which appears whole or not at all.

    An interrupted download stays beside it as ``*.part`` and is continued where the server allows it.

    Raises:
        DownloadError: network, server or disk got in the way.
    """
    import requests

    partial = _Partial(target.with_suffix(".part"), url)
    with cache.disk_errors(target.parent):
        partial.resume()
    with requests.Session() as session, _shown(progress, target.name) as show:
        session.headers.update({"User-Agent": "medzoo", "Accept-Encoding": "identity"})
        try:
            with_retries(lambda: _continue(session, partial, show, patience), patience)
        except DownloadError as error:
            if isinstance(error, cache.DiskError) or not partial.validator:
                partial.restart()  # it cannot be continued: do not leave it on the disk
                raise
            rest = f"; {partial.size / 1e6:.1f} MB are stored, and the same command continues from there"
            raise DownloadError(f"{error}{rest if partial.size else ''}") from error
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
    except requests.exceptions.RequestException as error:
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
        whole.need_space(partial.path.parent, length)


def _receive(response: requests.Response, partial: _Partial, show: Progress, piece: int) -> None:
    with cache.disk_errors(partial.path.parent):
        # Unbuffered: on a full disk a buffer would fail a second time, when it is closed.
        file = partial.path.open("ab", buffering=0)
    with file:
        done = partial.size
        show(done, partial.total)
        for chunk in response.iter_content(piece):
            with cache.disk_errors(partial.path.parent):
                _write(file, chunk)
            done += len(chunk)
            show(done, partial.total)
        with cache.disk_errors(partial.path.parent):
            os.fsync(file.fileno())
    if partial.total is not None and done < partial.total:
        raise Transient(f"the body ended after {done} of {partial.total} bytes")
    if partial.total is not None and done > partial.total:
        partial.restart()
        raise Transient("the server sent more than it announced")


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

    # disable=None: no bar where standard error is not a terminal.
    bar: Any = tqdm.tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1000, disable=None, leave=False)

    def show(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        yield show


def _host(url: str) -> str:
    return url.split("/")[2]
