"""The Hugging Face Hub, through its own client and its own cache.

``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN`` mean what they mean everywhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from medzoo.errors import DownloadError, IntegrityError, MissingFile
from medzoo.files import whole
from medzoo.files.cache import DiskError
from medzoo.files.reading import expanded
from medzoo.weights.sources import PATIENCE, Patience, Progress
from medzoo.weights.sources.retry import TRANSIENT_STATUS, Transient, reason_of, retry_after, with_retries

_T = TypeVar("_T")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file in the Hub's cache.

    Attributes:
        path: where it lies.
        commit: the full commit it belongs to.
        cached: whether it was there before the call.
    """

    path: Path
    commit: str
    cached: bool


@dataclass(frozen=True)
class Address:
    """One file of one Hub repository; a null revision is the main branch."""

    repo: str
    file: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{(self.revision or 'main')[:12]}/{self.file}"


def obtain(
    address: Address,
    *,
    offline: bool,
    sha256: str | None = None,
    largest: int | None = None,
    size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    patience: Patience = PATIENCE,
) -> HubFile:
    """Find a file in the cache of the Hub client, or download it into it.

    What the Hub says about the file is compared with the entry before the first byte is downloaded.

    Args:
        offline: look in the cache only.
        sha256: hash that the file must have, if known.
        largest: the largest size in bytes that is accepted.
        size: bytes that the file must have, if known.
        force: download it again even if it is in the cache.
        progress: called with (bytes, total); None for the client's own bar.
        patience: attempts, and seconds for the description of a file.

    Raises:
        DownloadError: network, server, permission or disk got in the way.
        IntegrityError: the Hub holds another commit, size or hash than the entry states.
    """
    cached = None if force else _guarded(lambda: _cached(address), address)
    if cached is not None and (offline or _COMMIT.fullmatch(address.revision or "")):
        return cached
    if offline:
        raise DownloadError(
            f"{address} is not in the cache of the Hub client, and the network is switched off; unset HF_HUB_OFFLINE, "
            "or download it on a machine with a network"
        )
    try:
        described = with_retries(lambda: _guarded(lambda: _describe(address, patience), address), patience)
    except DownloadError:
        if cached is not None:  # a branch, and the Hub cannot be asked where it points now
            return cached
        raise
    _compare(described, address, sha256, largest, size)
    _need_space(described.size or 0)
    commit = described.commit_hash
    path = with_retries(lambda: _guarded(lambda: _download(address, commit, force, progress), address), patience)
    return HubFile(Path(path), commit, cached=False)


def _where() -> dict[str, Any]:
    # Read now: the client looks at its environment once, when it is imported.
    return {"endpoint": os.environ.get("HF_ENDPOINT") or None}


def _cache_dir() -> str | None:
    return os.environ.get("HF_HUB_CACHE") or None


def _cached(address: Address) -> HubFile | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        address.repo, address.file, cache_dir=_cache_dir(), revision=address.revision or "main"
    )
    if not isinstance(found, str) or not Path(found).exists():
        return None
    # .../snapshots/<commit>/<file>
    commit = Path(found).parents[address.file.count("/")].name
    return HubFile(Path(found), commit, cached=True)


def _describe(address: Address, patience: Patience) -> Any:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(address.repo, address.file, revision=address.revision or "main", **_where())
    described = get_hf_file_metadata(url, timeout=patience.connect_timeout, **_where())
    if described.commit_hash is None or described.etag is None:
        host = url.split("/")[2]
        raise DownloadError(f"{host} does not answer like a Hugging Face Hub; check HF_ENDPOINT and the proxies")
    return described


def _compare(described: Any, address: Address, sha256: str | None, largest: int | None, size: int | None) -> None:
    if _COMMIT.fullmatch(address.revision or "") and described.commit_hash != address.revision:
        raise IntegrityError(
            f"asked for commit {address.revision}, the server answers with commit {described.commit_hash}; "
            "check HF_ENDPOINT"
        )
    if size is not None and described.size is not None and described.size != size:
        raise IntegrityError(f"the Hub holds {described.size} bytes, expected {size}")
    if largest is not None and (described.size or 0) > largest:
        raise DownloadError(f"the file has {described.size} bytes, at most {largest} are accepted")
    # The tag of a large file is its hash; that of a small one is a hash of another kind, 40 digits long.
    if sha256 is not None and len(described.etag) == 64 and described.etag != sha256:
        raise IntegrityError(f"the Hub holds a file of sha256 {described.etag}, expected {sha256}")


def _need_space(size: int) -> None:
    with _disk_errors():
        whole.need_space(next(folder for folder in (cache_folder(), *cache_folder().parents) if folder.is_dir()), size)


def cache_folder() -> Path:
    """The cache folder of the Hub client; it may not exist yet.

    Raises:
        DiskError: ``HF_HUB_CACHE`` names a folder of a user whose home is not known.
    """
    from huggingface_hub import constants

    stated = _cache_dir() or constants.HF_HUB_CACHE
    try:
        return expanded(stated).absolute()
    except OSError as error:
        raise DiskError(f"HF_HUB_CACHE names {stated}: {error.strerror}") from None


def _disk_errors() -> AbstractContextManager[None]:
    return whole.disk_errors(
        cache_folder(),
        DiskError,
        full="make room, or set HF_HUB_CACHE to a folder on another disk",
        denied="set HF_HUB_CACHE, the cache of the Hub client, to a folder that can be written",
    )


def _download(address: Address, commit: str, force: bool, progress: Progress | None) -> str:
    from huggingface_hub import hf_hub_download

    path: str = hf_hub_download(
        address.repo,
        address.file,
        revision=commit,
        cache_dir=_cache_dir(),
        force_download=force,
        tqdm_class=None if progress is None else _reporting(progress),
        **_where(),
    )
    return path


def _guarded(action: Callable[[], _T], address: Address) -> _T:
    """Call the client, and turn its errors into this project's."""
    from huggingface_hub import errors

    # The client's own transport errors share this base, whatever library brings them.
    transport: Any = next(base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    try:
        return action()
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{address.repo} is gated: ask for access at {_page(address)}, then set HF_TOKEN or run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"there is no repository {address.repo} at {_page(address)}, or it is private: check the name, "
            "or set HF_TOKEN to a token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{address.repo} has no revision {address.revision}; see {_page(address)}") from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.HfHubHTTPError):
            raise MissingFile(f"{address.repo} has no file {address.file} in that revision") from error
        raise Transient(f"cannot reach the Hub ({reason_of(error)})") from error
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError("the network is switched off; unset HF_HUB_OFFLINE") from error
    except errors.HfHubHTTPError as error:
        raise _refusal(error.response, address) from error
    except transport as error:
        if type(error).__name__ in ("LocalProtocolError", "UnsupportedProtocol"):  # another attempt would be the same
            raise DownloadError(
                f"the Hub client cannot ask for {address} ({reason_of(error)}); check HF_TOKEN and HF_ENDPOINT"
            ) from error
        raise Transient(
            f"cannot reach the Hub at {_page(address)} ({reason_of(error)})",
            unreachable=type(error).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError"),
        ) from error
    except ImportError as error:  # a proxy that the client needs a package for
        advice = "type: pip install 'httpx[socks]'" if "socks" in str(error).casefold() else "install it"
        raise DownloadError(f"the Hub client needs a package for this proxy ({reason_of(error)}); {advice}") from error
    except errors.HFValidationError as error:
        raise DownloadError(f"{address} is not a valid name for the Hub ({reason_of(error)})") from error
    except OSError as error:
        if error.errno is None:  # the client's check of the number of bytes, and what it says of an odd answer
            raise Transient(f"{address}: {reason_of(error)}") from error
        with _disk_errors():
            raise
    except ValueError as error:  # a scheme of a proxy that is not known, a token that is no ASCII text
        raise DownloadError(
            f"the Hub client cannot ask for {address} ({reason_of(error)}); check HF_TOKEN, HF_ENDPOINT and the proxies"
        ) from error


def _refusal(response: Any, address: Address) -> Exception:
    status = response.status_code
    if status in TRANSIENT_STATUS:
        return Transient(
            f"the Hub answers {status} {response.reason_phrase}",
            wait=retry_after(response.headers.get("Retry-After")),
        )
    if status in (401, 403):
        return DownloadError(
            f"the Hub refuses access to {address.repo} ({status}): set HF_TOKEN to a valid token that may read it, "
            f"or check at {_page(address)} whether the repository was disabled"
        )
    return DownloadError(f"the Hub answers {status} {response.reason_phrase} for {address}")


def _page(address: Address) -> str:
    return f"{os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'}/{address.repo}"


def _reporting(progress: Progress) -> Any:
    """A silent bar of the client's own kind that calls ``progress``."""
    import tqdm

    class Reporting(tqdm.tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})
            self._done, self._of = options.get("initial", 0), options.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            progress(self._done, self._of)
            return None

    return Reporting
