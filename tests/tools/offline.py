"""A pytest plugin (named in pyproject.toml): a test that talks to another machine fails, unless marked ``network``."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

import pytest

# Else the Hub's client, which reads this when it is imported, asks its home for a list of programs that may run it.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def _stay_on_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("network"):
        return
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def checked_look_up(host: Any, *args: Any, **options: Any) -> Any:
        _refuse_others(host)
        return look_up(host, *args, **options)

    def checked_connect(sock: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):  # not so for Unix sockets
            _refuse_others(address[0])
        connect(sock, address)

    monkeypatch.setattr(socket, "getaddrinfo", checked_look_up)
    monkeypatch.setattr(socket.socket, "connect", checked_connect)


def _refuse_others(host: Any) -> None:
    """``pytest.fail`` is no Exception: code that expects networks to fail does not swallow it."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        if ipaddress.ip_address(name).is_loopback:
            return
    except ValueError:
        pass
    pytest.fail(f"this test wants to talk to {name}; use a server on 127.0.0.1, or mark the test 'network'")
