"""A staged folder to the Hugging Face Hub, by its own client, in one commit: all of it is there, or nothing.

The client retries what servers and networks break (uploads of large files, the questions before them); the commit
itself is tried again here, after asking anew what the repository has, so that a commit whose answer was lost is not
made twice. The token is the client's (``HF_TOKEN`` or ``hf auth login``); it is handed on to nothing but the client.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from medzoo.errors import PublishError, TryLaterError
from medzoo.publishing.staging import Staged
from medzoo.weights.sources.retry import TRANSIENT_STATUS, reason_of

ATTEMPTS = 3  # of a commit; the client's own retries of what goes before are not counted
WAIT = 2.0  # seconds before the second attempt, doubled after each
OF_THE_HUB = {".gitattributes"}  # what the Hub itself puts in a new repository
_T = TypeVar("_T")


class _Transient(TryLaterError):
    """What may be gone at the next attempt."""


def token() -> str:
    """The token of the client. Raises PublishError: there is none."""
    from huggingface_hub import get_token

    secret = get_token()
    if not secret:
        raise PublishError(
            "there is no token for the Hugging Face Hub: make one with write access at "
            f"{_endpoint()}/settings/tokens, then run `hf auth login` or set HF_TOKEN. --dry-run needs none"
        )
    return secret


def check_name(repo: str) -> None:
    """Raises PublishError: no name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("found no user or organisation")
    except HFValidationError as error:
        raise PublishError(
            f"'{repo}' is no name of a repository ({reason_of(error)}); type --repo user/name or organisation/name"
        ) from None


def upload(staged: Staged, repo: str, *, update: bool, private: bool, message: str) -> str:
    """Create the repository where there is none, and commit the files; the full commit is given back.

    Args:
        update: a repository that holds files may be added to.
        private: of a new repository.
        message: of the commit.

    Raises PublishError, which says what to do; nothing is then half uploaded, and the same call may be repeated.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token(), library_name="medzoo")
    with _silent():
        _tried(lambda: _ready(api, repo, update, private), repo)

        def commit() -> str:
            # Made anew each time: the client remembers in them what the repository had before.
            files = [CommitOperationAdd(name, staged.folder / name) for name in staged.files]
            return str(api.create_commit(repo, files, commit_message=message).oid)

        return _tried(commit, repo)


def _ready(api: Any, repo: str, update: bool, private: bool) -> None:
    """The repository exists, and may be written to."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repo, private=private or None, exist_ok=False)
        return
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
    held = {file.rfilename for file in api.model_info(repo).siblings or ()} - OF_THE_HUB
    # An empty one is left by an attempt that was cut off after this step.
    if held and not update:
        raise PublishError(
            f"{_endpoint()}/{repo} exists and holds {len(held)} files; add a commit to it with --update, or take "
            "another name with --repo"
        )


def _tried(action: Callable[[], _T], repo: str) -> _T:
    wait = WAIT
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _in_our_words(repo):
                return action()
        except _Transient as error:
            if attempt == ATTEMPTS:
                raise PublishError(
                    f"{error} ({ATTEMPTS} attempts). Nothing is half published: a commit is there whole or not at all. "
                    "Type the same command again when the reason is gone"
                ) from error
        time.sleep(wait)
        wait *= 2
    raise AssertionError


@contextmanager
def _in_our_words(repo: str) -> Iterator[None]:
    """Turn what the client raises into errors that say what to do."""
    from huggingface_hub import errors

    transport: Any = next(base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    try:
        yield
    except PublishError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise PublishError("the network is switched off; unset HF_HUB_OFFLINE") from error
    except Exception as error:
        cause = _cause(error, (errors.HfHubHTTPError, transport))
        if isinstance(cause, errors.HfHubHTTPError):
            raise _answered(cause, repo) from error
        if isinstance(error, OSError | RuntimeError) and (status := re.search(r"client error \((4\d\d)", str(error))):
            raise _storage(int(status[1]), repo) from error
        if isinstance(cause, transport) or isinstance(error, ConnectionError | TimeoutError):
            raise _Transient(f"the connection to {_endpoint()} broke ({reason_of(cause or error)})") from error
        if isinstance(error, OSError):
            raise PublishError(
                f"a staged file cannot be read ({reason_of(error)}); type the same command again"
            ) from error
        if isinstance(error, ValueError | RuntimeError | LookupError | TypeError):  # of answers that it cannot use
            said = _words(error) or type(error).__name__
            raise PublishError(f"{_endpoint()} does not take the files: {said}; check HF_ENDPOINT") from error
        raise


def _cause(error: BaseException, kinds: Any) -> BaseException | None:
    """The error of that kind behind an error: uploads are made in threads that wrap what they raise."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kinds):
        seen = seen.__cause__ or seen.__context__
    return seen


def _answered(error: Any, repo: str) -> Exception:
    status, said = error.response.status_code, _words(error.server_message or "")
    detail = f": {said}" if said else ""
    if status in TRANSIENT_STATUS:
        return _Transient(f"the Hub answers {status} {error.response.reason_phrase}{detail}")
    if status == 401:
        return PublishError(
            f"the Hub does not know the token ({status}{detail}): make one with write access at "
            f"{_endpoint()}/settings/tokens, then run `hf auth login` or set HF_TOKEN"
        )
    if status == 403:
        return PublishError(
            f"the Hub denies writing to {repo} ({status}{detail}): the token needs write access, and you have to be "
            f"'{repo.partition('/')[0]}' or a member of it. Make another token at {_endpoint()}/settings/tokens, or "
            "choose a name of your own with --repo"
        )
    if status == 412:
        return PublishError(
            f"{repo} was changed meanwhile ({status}{detail}); look at it, and type the same command again"
        )
    return PublishError(f"the Hub answers {status} {error.response.reason_phrase} for {repo}{detail}")


def _storage(status: int, repo: str) -> Exception:
    """What the client says of the storage of large files (Xet) has the status in its words alone."""
    if status in (401, 403):
        return PublishError(
            f"the Hub denies storing files for {repo} ({status}): the token needs write access. Make another at "
            f"{_endpoint()}/settings/tokens, then run `hf auth login` or set HF_TOKEN"
        )
    return PublishError(
        f"{_endpoint()} answers {status} when asked where to store large files; if it is no Hub that has Xet, set "
        "HF_HUB_DISABLE_XET=1"
    )


def _words(error: object) -> str:
    """What a server or the client says, on one line, without anything that looks like a token."""
    text = re.sub(r"hf_\w+", "hf_...", re.sub(r"\s+", " ", str(error)).strip())
    return text if len(text) <= 300 else text[:300] + "..."


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


@contextmanager
def _silent() -> Iterator[None]:
    """Without the client's bars and its remarks on its own retries."""
    import logging
    import warnings

    from huggingface_hub import utils

    bars: Any = utils
    shown, log = not bars.are_progress_bars_disabled(), logging.getLogger("huggingface_hub")
    before = log.level
    bars.disable_progress_bars()
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
        if shown:
            bars.enable_progress_bars()
