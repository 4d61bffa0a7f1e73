"""A mirror in place of the hosts of HTTP sources, as ``MEDZOO_MIRROR`` states it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from medzoo.errors import DownloadError

ENVIRONMENT = "MEDZOO_MIRROR"


def mirrored(url: str) -> str:
    """The address to ask in place of ``url``: its scheme and host are replaced by the prefix of the environment.

    >>> os.environ[ENVIRONMENT] = "https://mirror.example/zenodo"
    >>> mirrored("https://zenodo.org/record/7051328/files/x.zip")
    'https://mirror.example/zenodo/record/7051328/files/x.zip'
    >>> del os.environ[ENVIRONMENT]

    Raises:
        DownloadError: the prefix is no address of a web server.
    """
    prefix = os.environ.get(ENVIRONMENT, "").strip()
    if not prefix:
        return url
    try:
        stated = urlsplit(prefix)
        fits = stated.scheme in ("http", "https") and bool(stated.hostname) and not (stated.query or stated.fragment)
    except ValueError:
        fits = False
    if not fits:
        raise DownloadError(f"{ENVIRONMENT}={prefix}: expected http(s)://host, with or without a path after it")
    original = urlsplit(url)
    return prefix.rstrip("/") + original.path + (f"?{original.query}" if original.query else "")
