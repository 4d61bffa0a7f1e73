"""medzoo.weights with the real clients, against servers on the loopback interface.

Conversion is a plain copy (``copied``), so that torch is not needed and what arrives can be compared byte by byte; the
last tests use the real one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from medzoo import weights
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, DownloadError, IntegrityError, WeightsError
from medzoo.files import cache
from medzoo.weights import Patience, lockfile
from medzoo.weights.sources import archive
from tests.tools.paths import ROOT, SHARED
from tests.tools.servers import COMMIT, Fault, HubServer, ZenodoServer
from tests.tools.weights_case import (
    CONTENT,
    MODEL,
    QUICK,
    REPO,
    SHA256,
    copied,
    entry,
    fetch,
    http_source,
    hub_source,
    leftovers,
)


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own caches, no proxy, no token, and no Hub but the one of the test."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add(REPO, "model.bin", CONTENT)
        yield server


@pytest.fixture
def zenodo() -> Iterator[ZenodoServer]:
    with ZenodoServer() as server:
        yield server


# ----------------------------------------------------------------------------------- the Hub


def test_hub_file_is_fetched_once_and_then_offline(hub: HubServer, tmp_path: Path) -> None:
    model = entry(hub_source())
    assert not weights.is_available_offline(model, None)
    found = fetch(model)
    assert found.path.read_bytes() == CONTENT
    assert found.path.is_relative_to(tmp_path / "cache")
    assert (found.sha256, found.source) == (SHA256, f"hub {REPO}@{COMMIT}/model.bin")
    assert weights.is_available_offline(model, None)
    before = len(hub.log)
    assert fetch(model, offline=True) == found
    assert len(hub.log) == before
    assert leftovers() == []
    assert list((tmp_path / "hub").rglob("*.incomplete")) == []


def test_hub_token_is_sent(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(REPO)
    with pytest.raises(DownloadError, match=r"gated: ask for access at http://127.*HF_TOKEN"):
        fetch(entry(hub_source()))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert fetch(entry(hub_source())).sha256 == SHA256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"repo": "../.."}, "not a valid name for the Hub"),
        ({"repo": "nobody/nothing"}, "no repository nobody/nothing .* or it is private"),
        ({"revision": "f" * 40}, "has no revision ffff"),
        ({"file": "other.bin"}, "has no file other.bin"),
        ({"size": 7}, f"holds {len(CONTENT)} bytes, expected 7"),
        ({"sha256": "0" * 64}, "holds a file of sha256 .* expected 0000"),
    ],
)
def test_hub_refusals_have_their_own_words(hub: HubServer, change: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(entry(hub_source() | change))
    assert MODEL in str(caught.value)
    assert hub.count("GET") == 0  # all of it is known before the first byte
    assert leftovers() == []


@pytest.mark.parametrize(
    ("status", "words"), [(403, r"refuses access to .*\(403\)"), (401, "HF_TOKEN"), (500, "500"), (418, "418")]
)
def test_hub_error_status(hub: HubServer, status: int, words: str) -> None:
    hub.faults.append(Fault("HEAD", status=status, always=True))
    with pytest.raises(DownloadError, match=words):
        fetch(entry(hub_source()))


def test_hub_that_answers_with_another_commit_is_refused(hub: HubServer) -> None:
    hub.commit = "b" * 40
    with pytest.raises(IntegrityError, match=f"asked for commit {COMMIT}, the server answers with commit bbbb"):
        fetch(entry(hub_source(sha256=None)))
    assert hub.count("GET") == 0


def test_hub_drop_half_way_is_resumed(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client keeps what came in pieces of this size, 10 MB by default.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.faults.append(Fault("GET", drop_after=400_000))
    assert fetch(entry(hub_source())).path.read_bytes() == CONTENT
    ranges = [request.headers.get("Range") for request in hub.log if request.method == "GET"]
    assert ranges == [None, "bytes=400000-"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_hub_503_then_fine(hub: HubServer, method: str) -> None:
    hub.faults += [Fault(method, status=503, headers={"Retry-After": "0"}), Fault(method, status=503)]
    assert fetch(entry(hub_source())).path.read_bytes() == CONTENT


def test_hub_with_wrong_bytes_is_refused_and_fetched_again_later(hub: HubServer) -> None:
    """The server describes the right file and sends another one of the same length."""
    right = hub.files[f"{REPO}/model.bin"]
    served = hub.reply_file

    def lie(handler: Any, content: bytes, headers: dict[str, str], fault: Fault) -> None:
        served(handler, content[:-1] + b"!", headers, fault)

    hub.reply_file = lie  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match=f"expected {SHA256}"):
        fetch(entry(hub_source()))
    assert leftovers() == []
    hub.reply_file = served  # type: ignore[method-assign]
    assert fetch(entry(hub_source())).path.read_bytes() == right


def test_hub_branch_without_hash_is_recorded_with_its_commit_resolved(hub: HubServer) -> None:
    fetch(entry(hub_source(sha256=None, revision=None)))
    assert lockfile.recorded(MODEL, f"hub {REPO}@main/model.bin") == SHA256
    downloads = [request.path for request in hub.log if request.method == "GET"]
    assert downloads == [f"/{REPO}/resolve/{COMMIT}/model.bin"]


def test_hub_offline_says_so_and_uses_the_hub_cache(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="unset HF_HUB_OFFLINE"):
        fetch(entry(hub_source()))
    assert hub.log == []
    snapshot = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.bin").write_bytes(CONTENT)
    assert fetch(entry(hub_source())).sha256 == SHA256
    assert hub.log == []


def test_an_unreachable_hub_is_an_error_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("medzoo.weights.sources.retry.time.sleep", waits.append)
    with pytest.raises(DownloadError, match=r"(?s)cannot reach the Hub at http://127.*refused.*is gone, try again"):
        fetch(entry(hub_source()))
    assert sum(waits) <= Patience().first_wait  # seconds that it would have waited


def test_something_else_than_a_hub(zenodo: ZenodoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    zenodo.files["model.bin"] = CONTENT
    monkeypatch.setenv("HF_ENDPOINT", zenodo.url)
    with pytest.raises(DownloadError, match="does not answer like a Hugging Face Hub; check HF_ENDPOINT"):
        fetch(entry(hub_source()))


def test_hub_progress_is_reported(hub: HubServer) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(entry(hub_source()), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_small_text_of_a_hub_repository(hub: HubServer) -> None:
    hub.add(REPO, "medzoo.yaml", "title: Polypen, größer\n".encode())
    assert weights.fetch_text(REPO, None, "medzoo.yaml") == weights.HubText("title: Polypen, größer\n", COMMIT)
    assert weights.fetch_text(REPO, COMMIT, "medzoo.yaml").commit == COMMIT


@pytest.mark.parametrize(
    ("content", "words"), [(b"x" * 1_000_001, "at most 1000000"), (b"\xff\xfe\x00", "not a text file in UTF-8")]
)
def test_text_that_is_too_large_or_none(hub: HubServer, content: bytes, words: str) -> None:
    hub.add(REPO, "medzoo.yaml", content)
    with pytest.raises(DownloadError, match=f"hf://{REPO}@main/medzoo.yaml: .*{words}"):
        weights.fetch_text(REPO, None, "medzoo.yaml")


# ----------------------------------------------------------------------------------- plain HTTP


def test_http_file_behind_a_redirect(zenodo: ZenodoServer) -> None:
    model = entry(http_source(zenodo.add("model.pt", CONTENT)))
    seen: list[tuple[int, int | None]] = []
    found = fetch(model, progress=lambda done, total: seen.append((done, total)))
    assert found.path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(zenodo.log) == 2  # the redirect and the file
    assert leftovers() == [] and cache.unfinished() == []


@pytest.mark.parametrize("fault", [Fault(drop_after=300_000), Fault(short_by=1)])
def test_http_broken_body_is_resumed_by_range(zenodo: ZenodoServer, fault: Fault) -> None:
    url = zenodo.add("model.pt", CONTENT)
    zenodo.faults.append(fault)
    assert fetch(entry(http_source(url))).path.read_bytes() == CONTENT
    asked = zenodo.log[-1].headers
    assert asked["Range"] == f"bytes={300_000 if fault.drop_after else 1_020_000}-"
    assert asked["If-Range"] == f'"{hashlib.md5(CONTENT).hexdigest()}"'


def test_http_without_validator_starts_again(zenodo: ZenodoServer) -> None:
    zenodo.etags = False
    url = zenodo.add("model.pt", CONTENT)
    zenodo.faults.append(Fault(drop_after=300_000))
    zenodo.faults.append(Fault(ignore_range=True))
    assert fetch(entry(http_source(url))).path.read_bytes() == CONTENT


def test_http_file_that_changed_meanwhile_starts_again(zenodo: ZenodoServer) -> None:
    """The rest of a new file must never be glued to the beginning of the old one."""
    url = zenodo.add("model.pt", b"\x00old" + CONTENT)
    zenodo.faults += [Fault(drop_after=300_000)] + [Fault(status=500) for _ in range(QUICK.attempts - 1)]
    with pytest.raises(DownloadError, match=r"500 .*0\.3 MB are stored, and the same command continues"):
        fetch(entry(http_source(url)))
    assert len(cache.unfinished()) == 1
    zenodo.add("model.pt", CONTENT)
    assert fetch(entry(http_source(url))).path.read_bytes() == CONTENT
    assert zenodo.log[-1].headers["Range"] == "bytes=300000-"
    assert leftovers() == []


def test_http_503_then_fine_and_retry_after_is_honoured(zenodo: ZenodoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("medzoo.weights.sources.retry.time.sleep", waits.append)
    url = zenodo.add("model.pt", CONTENT)
    zenodo.faults.append(Fault(status=503, headers={"Retry-After": "7"}))
    zenodo.faults.append(Fault(status=429, headers={"Retry-After": formatdate(time.time() + 30, usegmt=True)}))
    zenodo.faults.append(Fault(status=502))
    assert fetch(entry(http_source(url))).sha256 == SHA256
    assert waits[0] == 7 and 25 < waits[1] <= 30 and waits[2] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=503, headers={"Retry-After": "3600"}), "asks to wait 3600 s"),
        (Fault(status=503), r"answers 503 Service Unavailable \(5 attempts\)"),
        (Fault(status=404), r"no file at .* \(404\); the record may have moved"),
        (Fault(status=403), r"refuses access \(403 Forbidden\)"),
        (Fault(status=418), "answers 418"),
        (Fault(status=302, headers={"Location": "/storage/model.pt"}), "redirects"),
        (Fault(drop_after=0), r"the connection broke .*\(5 attempts\)"),
    ],
)
def test_http_that_never_works(zenodo: ZenodoServer, fault: Fault, words: str) -> None:
    fault.always = True
    zenodo.faults = [fault]
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(entry(http_source(zenodo.add("model.pt", CONTENT))))
    assert MODEL in str(caught.value) and "Once the reason is gone, try again" in str(caught.value)


def test_http_length_that_is_no_number(zenodo: ZenodoServer) -> None:
    headers = {"Content-Length": "many", "Connection": "close"}
    zenodo.faults.append(Fault(status=200, headers=headers, body=CONTENT))
    assert fetch(entry(http_source(zenodo.add("model.pt", CONTENT)))).path.read_bytes() == CONTENT


def test_http_silence_ends_by_time_out(zenodo: ZenodoServer) -> None:
    zenodo.faults.append(Fault(slow=0.5, always=True))
    patience = replace(QUICK, attempts=2, read_timeout=0.1)
    with pytest.raises(DownloadError, match="the connection broke .*[Tt]imed out"):
        fetch(entry(http_source(zenodo.add("model.pt", CONTENT))), patience=patience)


def test_an_unreachable_host_is_an_error_soon() -> None:
    with pytest.raises(DownloadError, match=r"cannot reach 127.0.0.1:9 \(Connection refused\) \(2 attempts\)"):
        fetch(entry(http_source("http://127.0.0.1:9/model.pt")))


def test_http_offline(zenodo: ZenodoServer) -> None:
    with pytest.raises(DownloadError, match="switched off"):
        fetch(entry(http_source(zenodo.add("model.pt", CONTENT))), offline=True)
    assert zenodo.log == []


@pytest.mark.parametrize(
    "page",
    [
        b"\n<!DOCTYPE html><html>404</html>",
        b'<?xml version="1.0"?><Error/>',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b'{"status": 404}',
        b"",
    ],
)
@pytest.mark.parametrize("sha256", [SHA256, None])
def test_page_saved_as_a_model_is_refused(zenodo: ZenodoServer, page: bytes, sha256: str | None) -> None:
    with pytest.raises(IntegrityError, match="web page|large-file store|plain text|empty"):
        fetch(entry(http_source(zenodo.add("model.pt", page), sha256)))
    assert leftovers() == []
    assert lockfile.models() == []


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"sha256": "0" * 64}, f"has sha256 {SHA256}, expected 0000"),
        ({"size": 5}, f"has {len(CONTENT)} bytes, expected 5"),
        ({"sha256": None, "md5": "0" * 32}, "has md5 .* expected 0000"),
    ],
)
def test_wrong_size_or_hash_is_refused_before_reading(zenodo: ZenodoServer, stated: dict[str, Any], words: str) -> None:
    def never(*_: object) -> None:
        raise AssertionError("an unverified file was read")

    with pytest.raises(IntegrityError, match=words):
        fetch(entry(http_source(zenodo.add("model.pt", CONTENT)) | stated), convert=never)
    assert leftovers() == [] and cache.stored() == []


def test_right_md5_is_enough_where_nothing_better_is_stated(zenodo: ZenodoServer) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert fetch(entry(http_source(zenodo.add("model.pt", CONTENT), None, md5=md5))).sha256 == SHA256


# ----------------------------------------------------------------------------------- zip members


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def test_member_of_a_zip(zenodo: ZenodoServer) -> None:
    content = zipped(
        ("00010/__init__.py", b"raise SystemExit"),
        ("00010/models/FastGAN_all_50000.pth", CONTENT),
        ("__MACOSX/00010/models/FastGAN_all_50000.pth", b"x"),
    )
    url = zenodo.add("00010.zip", content)
    source = http_source(
        url, member="*/FastGAN_all_50000.pth", size=len(CONTENT), archive_sha256=hashlib.sha256(content).hexdigest()
    )
    assert fetch(entry(source)).path.read_bytes() == CONTENT
    assert leftovers() == []


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_several_parts_of_one_zip_are_downloaded_once(zenodo: ZenodoServer, sha256: str | None) -> None:
    url = zenodo.add("00007.zip", zipped(("m/a.pth", CONTENT), ("m/b.pth", CONTENT[::-1])))
    other = hashlib.sha256(CONTENT[::-1]).hexdigest() if sha256 else None
    first = http_source(url, sha256, member="*/a.pth", part="a")
    model = entry(first, http_source(url, other, member="*/b.pth", part="b"))
    assert not weights.is_available_offline(model, None)
    one = fetch(model, part="a")
    assert not weights.is_available_offline(model, None)
    two = fetch(model, part="b")
    assert (one.part, one.path.read_bytes()) == ("a", CONTENT)
    assert (two.part, two.path.read_bytes()) == ("b", CONTENT[::-1])
    assert len(zenodo.log) == 2  # the redirect and the file
    assert weights.is_available_offline(model, None) and leftovers() == []
    # A part that turns out wrong takes the archive with it.
    cache.clear()
    lockfile.forget(MODEL)
    broken = entry(first, http_source(url, "0" * 64, member="*/b.pth", part="b"))
    fetch(broken, part="a")
    with pytest.raises(IntegrityError):
        fetch(broken, part="b")
    assert leftovers() == []


def symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def lying_about_size(content: bytes) -> bytes:
    """A member whose directory entry claims one byte less than it unpacks to."""
    whole = bytearray(zipped(("a/model.pt", content)))
    at = whole.rindex(b"PK\x01\x02") + 24
    whole[at : at + 4] = (len(content) - 1).to_bytes(4, "little")
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped(("../../model.pt", CONTENT)), "points outside"),
        (zipped(("/etc/model.pt", CONTENT)), "points outside"),
        (zipped(("a\\..\\model.pt", CONTENT)), "points outside"),
        (zipped(("C:/model.pt", CONTENT)), "points outside"),
        (zipped((symlink("a/model.pt"), b"/etc/passwd")), "a link or a device"),
        (zipped(("a/model.pt", bytes(20_000_000))), "claims 20000000 bytes from .*: not a checkpoint"),
        (lying_about_size(CONTENT), "damaged"),
        (zipped(("a/other.bin", CONTENT)), r"no member .* match .*it holds a/other.bin"),
        (zipped(("a/model.pt", CONTENT), ("b/model.pt", CONTENT)), r"2 members .*a/model.pt, b/model.pt"),
        (zipped(("a/model.pt", CONTENT))[:-200], "damaged"),
        (zipped(("a/model.pt", CONTENT)).replace(b"PK\x03\x04", b"PK\x03\x05"), "damaged"),
    ],
)
def test_unsafe_or_damaged_archive(zenodo: ZenodoServer, content: bytes, words: str) -> None:
    url = zenodo.add("model.zip", content)
    with pytest.raises(IntegrityError, match=words):
        fetch(entry(http_source(url, None, member="*model.pt")))
    assert leftovers() == [] and lockfile.models() == []


def test_member_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(zipped(("a/model.pt", CONTENT), method=zipfile.ZIP_STORED))
    with pytest.raises(IntegrityError, match="not a checkpoint"):
        archive.extract_member(tmp_path / "model.zip", "*model.pt", tmp_path / "model.pt", largest=1000)
    assert not (tmp_path / "model.pt").exists()


def test_wrong_archive_hash_is_refused_before_unpacking(zenodo: ZenodoServer) -> None:
    url = zenodo.add("model.zip", zipped(("../model.pt", CONTENT)))
    with pytest.raises(IntegrityError, match="md5"):
        fetch(entry(http_source(url, None, member="*model.pt", archive_md5="0" * 32)))


# ----------------------------------------------------------------------------------- this disk


def test_package_file_that_is_safetensors_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "own.safetensors").write_bytes(CONTENT)
    model = entry({"kind": "package", "file": "weights/own.safetensors", "sha256": SHA256}, container="safetensors")
    assert weights.is_available_offline(model, tmp_path)
    found = fetch(model, base=tmp_path)
    assert found.path == tmp_path / "weights" / "own.safetensors"
    assert not cache.root().exists()


def test_damaged_package_file_is_reported_and_the_next_source_used(
    tmp_path: Path, hub: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "own.safetensors").write_bytes(CONTENT[:-1])
    package = {"kind": "package", "file": "own.safetensors", "sha256": SHA256}
    found = fetch(entry(package, hub_source(), container="safetensors"), base=tmp_path)
    assert found.source.startswith("hub ")
    assert "package own.safetensors was not used" in caplog.text


@pytest.mark.parametrize(("file", "words"), [("../x.bin", "points outside"), ("x.bin", "there is no file")])
def test_package_file_outside_or_absent(tmp_path: Path, file: str, words: str) -> None:
    model = entry({"kind": "package", "file": file, "sha256": SHA256})
    assert not weights.is_available_offline(model, tmp_path)
    with pytest.raises(WeightsError, match=words):
        fetch(model, base=tmp_path)


def test_local_file_is_relative_to_the_entry_and_converted_once(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    model = entry({"kind": "local", "path": "mine.pt", "sha256": None})
    calls: list[Path] = []

    def counted(original: Path, entry: Entry, target: Path) -> None:
        calls.append(original)
        copied(original, entry, target)

    options = {"base": tmp_path / "registry", "yaml_path": tmp_path / "mine.yaml", "convert": counted}
    assert fetch(model, **options) == fetch(model, **options)
    assert len(calls) == 1
    (tmp_path / "mine.pt").write_bytes(CONTENT + b"trained on")
    assert fetch(model, **options).path.read_bytes() == CONTENT + b"trained on"


def test_another_layout_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    source = {"kind": "local", "path": str(tmp_path / "mine.pt"), "sha256": None}
    assert fetch(entry(source), base=tmp_path).path != fetch(entry(source, key="g"), base=tmp_path).path


@pytest.mark.parametrize("path", ["/etc/passwd", "../mine.pt", "mine.pt", "~/mine.pt"])
def test_an_entry_of_the_hub_names_no_file_of_this_machine(path: str, tmp_path: Path, hub: HubServer) -> None:
    (tmp_path / "mine.pt").write_bytes(CONTENT)
    local = {"kind": "local", "path": path, "sha256": SHA256}
    package = {"kind": "package", "file": path, "sha256": SHA256}
    for source in (local, package, local | {"path": str(tmp_path / "mine.pt")}):
        assert not weights.is_available_offline(entry(source), None)
        with pytest.raises(WeightsError, match="an entry of the Hub (may not name|has none)"):
            fetch(entry(source))
    assert fetch(entry(local, hub_source())).source.startswith("hub ")  # what it may name is used


@pytest.mark.parametrize(
    ("path", "words"),
    [("x" * 300, "cannot be read .File name too long"), ("~nobody-of-that-name/x", "names a user whose home")],
)
def test_local_paths_that_no_system_takes(path: str, words: str, tmp_path: Path) -> None:
    model = entry({"kind": "local", "path": path, "sha256": None})
    assert not weights.is_available_offline(model, tmp_path)
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(model, base=tmp_path)
    assert "HTTPS_PROXY" not in str(caught.value)  # no network was involved


def test_no_source_at_all() -> None:
    with pytest.raises(WeightsError, match="states no source of weights"):
        fetch(entry())


def test_every_source_and_its_reason_is_listed(hub: HubServer, zenodo: ZenodoServer, tmp_path: Path) -> None:
    model = entry(
        {"kind": "package", "file": "none.bin", "sha256": SHA256},
        hub_source(file="other.bin"),
        http_source(f"{zenodo.url}/record/1/files/none.pt"),
    )
    with pytest.raises(DownloadError) as caught:
        fetch(model, base=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(MODEL)
    assert [line.split()[0] for line in lines[1:4]] == ["package", "hub", "http"]
    assert "none.bin" in lines[1] and "no file other.bin" in lines[2] and "404" in lines[3]


def test_the_second_source_stands_in(hub: HubServer, zenodo: ZenodoServer) -> None:
    hub.gated.add(REPO)
    url = zenodo.add("model.pt", CONTENT)
    assert fetch(entry(hub_source(), http_source(url))).source == f"http {url}"


# ----------------------------------------------------------------------------------- first seen


def test_first_download_is_reported_recorded_and_compared_ever_after(
    zenodo: ZenodoServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = zenodo.add("model.pt", CONTENT)
    model = entry(http_source(url, None))
    fetch(model)
    assert SHA256 in caplog.text and "lock.json" in caplog.text
    assert weights.is_available_offline(model, None)
    cache.clear(MODEL)
    zenodo.add("model.pt", CONTENT + b"new")
    with pytest.raises(IntegrityError, match=f"but the first download had {SHA256}.*medzoo cache clear {MODEL}"):
        fetch(model)
    assert leftovers() == []
    lockfile.forget(MODEL)
    assert fetch(model).path.read_bytes() == CONTENT + b"new"


@pytest.mark.parametrize(
    "damage",
    ['{"models": ', "[]", '{"models": []}', '{"models": {"M": 1}}', '{"models": {"M": {"s": {}}}}',
     '{"models": {"M": {"s": {"sha256": "00"}}}}'],
)  # fmt: skip
def test_damaged_lock_file_is_named(damage: str, zenodo: ZenodoServer) -> None:
    cache.root().mkdir(parents=True)
    lockfile.path().write_text(damage)
    model = entry(http_source(zenodo.add("model.pt", CONTENT), None))
    with pytest.raises(WeightsError, match="lock.json: the lock file cannot be read"):
        fetch(model)
    lockfile.forget()  # everything: a way out, whatever is in it
    assert fetch(model).sha256 == SHA256


# ----------------------------------------------------------------------------------- the cache


def test_cut_cached_file_is_made_anew(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    path = fetch(entry(hub_source())).path
    path.write_bytes(CONTENT[:100])
    assert not weights.is_available_offline(entry(hub_source()), None)
    assert fetch(entry(hub_source())).path.read_bytes() == CONTENT
    assert "100 bytes instead of" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_shared_cache_is_readable_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from safetensors.torch import save

    from medzoo.weights import checkpoints

    (tmp_path / "mine.st").write_bytes(save({"g.weight": torch.zeros(3)}))
    before = os.umask(0o022)
    try:
        source = {"kind": "local", "path": "mine.st", "sha256": None}
        path = fetch(entry(source, strip_prefix="g."), base=tmp_path, convert=checkpoints.convert).path
        lockfile.record(MODEL, "hub a/b", SHA256, 3)
    finally:
        os.umask(before)
    for file in (path, path.with_suffix(".json"), lockfile.path()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o644, file


def test_changed_cached_file_is_made_anew(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    path = fetch(entry(hub_source())).path
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert fetch(entry(hub_source())).path.read_bytes() == CONTENT
    assert "changed since it was stored; not used" in caplog.text


def test_the_next_holder_of_a_lock_has_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before removes the folder of its downloads when it is done, also while somebody waits."""
    import filelock

    acquire = filelock.FileLock.acquire

    def late(lock: filelock.FileLock, *arguments: Any, **options: Any) -> Any:
        for folder in ("downloads", "weights"):
            shutil.rmtree(cache.root() / folder, ignore_errors=True)
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", late)
    with cache.locked(MODEL) as folder:
        assert folder.is_dir() and cache.temporary(MODEL).is_file()


def test_failing_conversion_leaves_nothing(zenodo: ZenodoServer) -> None:
    def half(original: Path, entry: Entry, target: Path) -> None:
        target.write_bytes(b"half")
        raise CheckpointError("not a checkpoint")

    with pytest.raises(CheckpointError, match="not a checkpoint"):
        fetch(entry(http_source(zenodo.add("model.pt", CONTENT))), convert=half)
    assert leftovers() == [] and cache.stored() == []


def test_left_overs_of_a_killed_conversion_are_swept(hub: HubServer) -> None:
    folder = cache.root() / "weights" / MODEL
    folder.mkdir(parents=True)
    (folder / ".x.part").write_bytes(b"half")
    fetch(entry(hub_source()))
    assert leftovers() == []


@pytest.mark.parametrize("kind", ["http", "hub"])
def test_too_little_space_is_seen_before_the_download(
    kind: str, hub: HubServer, zenodo: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub_source() if kind == "hub" else http_source(zenodo.add("model.pt", CONTENT))
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DownloadError, match=r"no space left for .* \(1.0 MB are needed, 0.0 MB are free\)"):
        fetch(entry(source))
    assert leftovers() == []


def test_disk_that_fills_up_during_the_download(zenodo: ZenodoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:  # undone alone: the cache of the test stays
        full.setattr(
            "medzoo.weights.sources.http.os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
        )
        with pytest.raises(DownloadError, match="no space left for .*medzoo cache clear --all.*MEDZOO_CACHE"):
            fetch(entry(http_source(zenodo.add("model.pt", CONTENT))))
    assert leftovers() == []


def test_disk_that_refuses_in_the_middle(zenodo: ZenodoServer) -> None:
    """A real refusal of the kernel, as near to a full disk as one comes without one: no file above 300 kB."""
    url = zenodo.add("model.pt", CONTENT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(DownloadError, match="no space left for .*File too large.*MEDZOO_CACHE"):
            fetch(entry(http_source(url)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert leftovers() == []


def test_disk_that_fills_up_during_the_conversion(hub: HubServer) -> None:
    def full(original: Path, entry: Entry, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DownloadError, match="no space left"):
        fetch(entry(hub_source()), convert=full)
    assert leftovers() == []


def test_cache_that_cannot_be_written(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match=r"file/cache/.* cannot be written .*set MEDZOO_CACHE"):
        fetch(entry(hub_source()))
    assert hub.count("GET") == 0


def test_read_only_cache_with_the_weights_in_it_still_serves(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = entry(hub_source())
    found = fetch(model)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fetch(model) == found
    with pytest.raises(DownloadError, match="Read-only file system.*MEDZOO_CACHE"):
        fetch(entry(hub_source(), key="g"))


def test_hub_cache_that_cannot_be_written(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(DownloadError, match="cannot be written .*HF_HUB_CACHE"):
        fetch(entry(hub_source()))


# ----------------------------------------------------------------------------------- processes

CHILD = """
import sys, json
from pathlib import Path
from medzoo import weights
from tests.tools.weights_case import entry, copied
found = weights.fetch(entry(json.loads(sys.argv[1])), base=None, convert=copied)
print(found.path)
"""


def child(source: dict[str, Any]) -> subprocess.Popen[str]:
    root = ROOT
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", CHILD, json.dumps(source)]
    return subprocess.Popen(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["http", "hub"])
def test_two_processes_download_once(kind: str, hub: HubServer, zenodo: ZenodoServer) -> None:
    server = hub if kind == "hub" else zenodo
    source = hub_source() if kind == "hub" else http_source(zenodo.add("model.pt", CONTENT))
    server.faults.append(Fault(slow=0.03, always=True))  # 2 s in all: the second one comes while it runs
    processes = [child(source), child(source)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    assert Path(outputs[0].strip()).read_bytes() == CONTENT
    downloads = [request for request in server.log if re.search("/resolve/|/storage/", request.path)]
    downloads = [request for request in downloads if request.method == "GET"]
    assert len(downloads) == 1


@pytest.mark.parametrize("kind", ["http", "hub"])
def test_killed_download_is_never_taken_for_whole(kind: str, hub: HubServer, zenodo: ZenodoServer) -> None:
    server = hub if kind == "hub" else zenodo
    source = hub_source() if kind == "hub" else http_source(zenodo.add("model.pt", CONTENT))
    server.faults.append(Fault(slow=0.05, always=True))
    process = child(source)
    deadline = time.monotonic() + 60
    while server.sent < 600_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert server.sent < len(CONTENT)
    assert not weights.is_available_offline(entry(source), None)
    server.faults.clear()
    assert fetch(entry(source)).path.read_bytes() == CONTENT  # and the lock of the dead process is no obstacle
    if kind == "http":
        assert int(server.log[-1].headers["Range"][6:-1]) >= 500_000
    assert leftovers() == []


def test_nothing_heavy_is_imported_to_look_what_is_there() -> None:
    code = (
        "import sys\nfrom medzoo import weights\nfrom tests.tools.weights_case import entry, hub_source\n"
        "for name in ('requests', 'huggingface_hub', 'torch', 'filelock'): sys.modules.pop(name, None)\n"
        "assert not weights.is_available_offline(entry(hub_source()), None)\n"
        "print([n for n in ('torch', 'requests', 'huggingface_hub', 'filelock') if n in sys.modules])"
    )
    root = ROOT
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, cwd=root, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr


# ----------------------------------------------------------------------------------- the whole path


def test_published_mednist_checkpoint_through_the_whole_path(hub: HubServer) -> None:
    """The real file, its published hash, the real conversion."""
    from medzoo.weights import checkpoints

    original = SHARED / "checkpoints" / "mednist_gan" / "model.pt"
    if not original.exists():
        pytest.skip("the published MedNIST checkpoint is not beside the checkout (../shared/checkpoints)")
    published = "5302e6adf714d568bfc6d5238fc28c03cc99f4d623e3e1c9c5b1a6a56960d395"
    assert hub.add("MONAI/mednist_gan", "models/model.pt", original.read_bytes()) == published
    source = {
        "kind": "hub", "repo": "MONAI/mednist_gan", "revision": COMMIT, "file": "models/model.pt",
        "sha256": published, "size": 1_272_066,
    }  # fmt: skip
    found = fetch(entry(source), convert=checkpoints.convert)
    state = checkpoints.load_safetensors(found.path)
    assert len(state) == 33
    assert state["linear.0.weight" if "linear.0.weight" in state else "linear.weight"].shape == (4096, 64)
    assert found.sha256 == published


def test_words_among_the_parts_become_one_tensor_of_their_bytes(hub: HubServer) -> None:
    words = json.dumps({"sample_size": 28, "µ": 1}).encode()
    hub.add(REPO, "unet/config.json", words)
    found = weights.fetch(
        entry(hub_source(None, file="unet/config.json", part="unet/config")),
        base=None,
        convert=copied,
        part="unet/config",
    )
    assert safetensors.numpy.load_file(found.path)["text"].tobytes() == words
    assert found.sha256 == hashlib.sha256(words).hexdigest()


@pytest.mark.parametrize(
    "content", [b"<html>Sign in</html>", b"version https://git-lfs.github.com/spec/v1\n", b"\xff\0"]
)
def test_a_page_or_other_bytes_are_no_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    model = entry({"kind": "local", "path": "config.json", "sha256": None})
    with pytest.raises(WeightsError, match="web page|pointer|UTF-8"):
        weights.fetch(model, base=tmp_path, convert=copied)
