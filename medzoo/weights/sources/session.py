"""A session of requests that sends nobody's secrets, and, where asked, stays away from this machine and its network."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from medzoo.errors import DownloadError


def open_session(*, public_only: bool) -> requests.Session:
    """A session to fetch files with.

    ``~/.netrc`` is never read: an entry chooses the host, so it would choose whose password is sent. Proxies and
    certificates of the environment are used.

    Args:
        public_only: refuse hosts that are no public address, whatever name leads there and after every redirect.
    """
    session = _Session()
    session.headers.update({"User-Agent": "medzoo", "Accept-Encoding": "identity"})
    session.auth = _no_credentials
    if public_only:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _PublicAdapter())
    return session


class _Session(requests.Session):
    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """After a redirect: requests would look into ``~/.netrc`` again, for the host that the server names."""
        prepared_request.headers.pop("Authorization", None)


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _PublicAdapter(HTTPAdapter):
    """Looks at the address that a connection really has, so that no name and no answer of a name server can deceive."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTlsPool}

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        host = urlsplit(request.url or "").hostname or ""
        if host == "localhost" or host.endswith(".localhost"):  # behind a proxy no address is seen
            raise _refused(str(host))
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            _check(address, str(host))
        return super().send(request, *args, **options)


class _PublicConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection


def _checked(connection: socket.socket, host: str) -> socket.socket:
    try:
        _check(ipaddress.ip_address(connection.getpeername()[0].partition("%")[0]), host)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(address: ipaddress.IPv4Address | ipaddress.IPv6Address, host: str) -> None:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if not inner.is_global or inner.is_multicast:
        raise _refused(host)


def _refused(host: str) -> DownloadError:
    return DownloadError(
        f"{host} is this machine or its own network, which a model of the Hub may not ask; "
        "to use such a server, keep the entry in a file of your own"
    )
