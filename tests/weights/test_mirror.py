"""``MEDZOO_MIRROR``: another host in place of those of HTTP sources, whose files are verified all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medzoo.errors import DownloadError, IntegrityError
from medzoo.weights.sources.mirror import mirrored
from tests.tools.servers import ZenodoServer
from tests.tools.weights_case import CONTENT, SHA256, entry, fetch, http_source

URL = "https://zenodo.org/record/7051328/files/model.pt?download=1"


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [
        ("", URL),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/record/7051328/files/model.pt?download=1"),
        (" https://m.example/zoo/ ", "https://m.example/zoo/record/7051328/files/model.pt?download=1"),
    ],
)
def test_the_host_is_replaced(monkeypatch: pytest.MonkeyPatch, prefix: str, asked: str) -> None:
    monkeypatch.setenv("MEDZOO_MIRROR", prefix)
    assert mirrored(URL) == asked


@pytest.mark.parametrize("prefix", ["mirror.example", "ftp://x", "https://", "file:///etc", "https://x?y", "http://[x"])
def test_what_is_no_web_server(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("MEDZOO_MIRROR", prefix)
    with pytest.raises(DownloadError, match=r"MEDZOO_MIRROR=.*: expected http\(s\)://host"):
        mirrored(URL)


@pytest.mark.parametrize("public_only", [False, True])
def test_a_file_comes_from_the_mirror_and_is_verified(monkeypatch: pytest.MonkeyPatch, public_only: bool) -> None:
    """Also for an entry of the Hub, which could not name such a host itself: the user has."""
    with ZenodoServer() as mirror:
        path = mirror.add("model.pt", CONTENT).removeprefix(mirror.url)
        monkeypatch.setenv("MEDZOO_MIRROR", mirror.url)
        source = http_source(f"https://zenodo.org{path}")
        found = fetch(entry(source), public_only=public_only)
        assert found.path.read_bytes() == CONTENT and found.sha256 == SHA256 and mirror.count("GET") > 0
        assert found.source == f"http https://zenodo.org{path}"  # the record names the source, not the mirror


def test_a_mirror_with_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with ZenodoServer() as mirror:
        path = mirror.add("model.pt", CONTENT + b"more").removeprefix(mirror.url)
        monkeypatch.setenv("MEDZOO_MIRROR", mirror.url)
        with pytest.raises(IntegrityError, match="sha256"):
            fetch(entry(http_source(f"https://zenodo.org{path}")))
