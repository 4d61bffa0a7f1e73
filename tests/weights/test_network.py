"""The network of a stranger's entry: no secrets, no hosts of one's own, no end without bound, no traceback."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from medzoo.entry import Entry
from medzoo.errors import DownloadError, IntegrityError
from medzoo.weights import fetch
from medzoo.weights.sources import http, session
from tests.tools.servers import COMMIT, Fault, ZenodoServer

CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def server() -> Iterator[ZenodoServer]:
    with ZenodoServer() as running:
        yield running


def test_no_password_of_netrc_is_sent(server: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login alice password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    url = server.add("model.pt", CONTENT)
    other = server.url.replace("127.0.0.1", "localhost")
    server.faults.append(Fault("GET", status=302, headers={"Location": f"{other}{url.removeprefix(server.url)}"}))
    http.download(url, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert {request.headers["Host"].partition(":")[0] for request in server.log} == {"127.0.0.1", "localhost"}
    assert not [request for request in server.log if "Authorization" in request.headers]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]"]
)
def test_hosts_of_ones_own_are_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is this machine or its own network"):
        http.download(f"http://{host}:9/latest/meta-data", tmp_path / "x", public_only=True)
    assert not (tmp_path / "x").exists()


def test_a_name_that_leads_here_is_refused(
    server: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.add("model.pt", CONTENT).replace("127.0.0.1", "weights.example.org")
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: real("127.0.0.1", *rest, **options))
    with pytest.raises(DownloadError, match=r"weights\.example\.org is this machine"):
        http.download(url, tmp_path / "x", public_only=True)
    assert server.log == []


def test_a_redirect_that_leads_here_is_refused(
    server: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = ipaddress.ip_address("127.0.0.1")  # of this test
    real = session._check
    monkeypatch.setattr(session, "_check", lambda address, host: None if address == public else real(address, host))
    url = server.add("model.pt", CONTENT)
    server.faults.append(Fault("GET", status=302, headers={"Location": "http://127.0.0.2:9/secret"}))
    with pytest.raises(DownloadError, match=r"127\.0\.0\.2 is this machine"):
        http.download(url, tmp_path / "x", public_only=True)


def test_an_entry_of_the_hub_cannot_ask_this_machine(server: ZenodoServer) -> None:
    source = {"kind": "http", "url": server.add("model.pt", CONTENT), "sha256": None}
    entry = Entry.model_validate(Entry.blank("90001_STRANGER", "dcgan", weights=[source]))
    with pytest.raises(DownloadError, match="is this machine or its own network"):
        fetch(entry, base=None, convert=lambda *_: None, public_only=True)
    assert server.log == []


@pytest.mark.parametrize("stated", [1000, None])
def test_an_answer_without_end(
    stated: int | None, server: ZenodoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stated is None:
        monkeypatch.setenv("MEDZOO_LIMIT_DOWNLOAD_BYTES", "1000")
    expected = "expected 1000" if stated else "bytes, at most 1,000 are accepted.*MEDZOO_LIMIT_DOWNLOAD_BYTES"
    with pytest.raises(IntegrityError if stated else DownloadError, match=expected):
        http.download(server.add("model.pt", CONTENT), tmp_path / "x", size=stated)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1", "nonsense://127.0.0.1:1"])
def test_the_next_source_is_asked_behind_an_odd_proxy(
    proxy: str, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    huggingface_hub.close_session()  # the client looks at the proxies once, when it begins
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.2:9")
    first = {"kind": "hub", "repo": "org/name", "revision": COMMIT, "file": "m.bin", "sha256": None}
    second = {"kind": "http", "url": server.add("model.pt", CONTENT), "sha256": None}

    def convert(original: Path, entry: Entry, target: Path) -> None:
        target.write_bytes(original.read_bytes())

    def entry(*sources: dict[str, object]) -> Entry:
        return Entry.model_validate(Entry.blank("90001_STRANGER", "dcgan", weights=list(sources)))

    found = fetch(entry(first, second), base=Path("."), convert=convert)
    assert found.path.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="hub org/other.*the Hub client (needs a package|cannot ask)"):
        fetch(entry(first | {"repo": "org/other"}), base=Path("."), convert=convert)
    huggingface_hub.close_session()


def test_credentials_in_a_url_are_refused() -> None:
    source = {"kind": "http", "url": "https://bob:secret@host/x.pt", "sha256": None}
    with pytest.raises(ValueError, match="must not hold a user name or a password"):
        Entry.model_validate(Entry.blank("90001_STRANGER", "dcgan", weights=[source]))
