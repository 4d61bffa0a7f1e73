"""Servers on the loopback interface, in threads: one speaks the Hub's HTTP protocol, one acts like Zenodo.

The tests run the real clients against them. Every request is kept in ``log``; ``faults`` says what goes
wrong, and when:

    with HubServer() as server:
        server.add("org/name", "model.bin", b"...")
        server.faults.append(Fault("GET", status=503))    # the next GET fails, the one after it does not
        server.faults.append(Fault("GET", drop_after=100))  # then one that breaks after 100 bytes
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Fault:
    """What happens to the next request of a method (then it is used up, unless ``always``)."""

    method: str = "GET"
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop_after: int | None = None
    """Close the connection after so many bytes of the body."""
    short_by: int = 0
    """Announce the full length honestly but leave out so many bytes at the end, as a proxy may."""
    slow: float = 0.0
    """Seconds between two pieces of 16 kB."""
    ignore_range: bool = False
    always: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


class Server:
    """Answers from ``files``: path -> content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.sent = 0
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)

            def do_HEAD(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # clients that hang up are what half of the tests are about

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.log)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        with self.lock:
            self.log.append(Request(handler.command, handler.path, dict(handler.headers)))
            fitting = [fault for fault in self.faults if fault.method == handler.command and self.is_file(path)]
            fault = fitting[0] if fitting else Fault()
            if fitting and not fault.always:
                self.faults = [other for other in self.faults if other is not fault]
        if fault.status is not None:
            self.reply(handler, fault.status, fault.headers, fault.body)
        else:
            self.serve(handler, path, fault)

    def is_file(self, path: str) -> bool:
        """Whether faults befall a request for that path."""
        return True

    def serve(self, handler: BaseHTTPRequestHandler, path: str, fault: Fault) -> None:
        raise NotImplementedError

    def reply(self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def reply_file(
        self, handler: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str], fault: Fault
    ) -> None:
        """The file, or the part of it that a Range asks for and an If-Range allows."""
        stated = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        fits = handler.headers.get("If-Range", headers.get("ETag")) == headers.get("ETag")
        start = int(stated[1]) if stated and fits and not fault.ignore_range else 0
        if start >= len(content) > 0 and start:
            self.reply(handler, 416, {"Content-Range": f"bytes */{len(content)}"})
            return
        handler.send_response(206 if start else 200)
        body = content[start:]
        extra = {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"}
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for name, value in (headers | fault.headers | extra).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            self._send(handler, body, fault)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        end = len(body) - fault.short_by if fault.drop_after is None else min(fault.drop_after, len(body))
        try:
            for at in range(0, end, 16384):
                piece = body[at : min(at + 16384, end)]
                handler.wfile.write(piece)
                self.sent += len(piece)
                if fault.slow:
                    time.sleep(fault.slow)
        except (BrokenPipeError, ConnectionResetError):
            pass
        if end < len(body):
            handler.close_connection = True


class HubServer(Server):
    """Repositories of one commit each, addressed by ``main`` or by that commit.

    Attributes:
        commit: the commit that the server answers with.
        gated: repositories that want a token.
        token: the token that opens them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commit = COMMIT
        self.known = {"main", COMMIT}
        self.gated: set[str] = set()
        self.token = "hf_right"

    def add(self, repo: str, file: str, content: bytes) -> str:
        """Put a file in a repository; returns its sha256."""
        self.files[f"{repo}/{file}"] = content
        return hashlib.sha256(content).hexdigest()

    def serve(self, handler: BaseHTTPRequestHandler, path: str, fault: Fault) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None:
            self.reply(handler, 404, {})
            return
        repo, revision, file = found.groups()
        if not any(name.startswith(f"{repo}/") for name in self.files):
            self._refuse(handler, 401, "RepoNotFound")
        elif repo in self.gated and handler.headers.get("Authorization") != f"Bearer {self.token}":
            self._refuse(handler, 403, "GatedRepo")
        elif revision not in self.known:
            self._refuse(handler, 404, "RevisionNotFound")
        elif f"{repo}/{file}" not in self.files:
            self._refuse(handler, 404, "EntryNotFound")
        else:
            content = self.files[f"{repo}/{file}"]
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "ETag": f'"{digest}"',
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "X-Repo-Commit": self.commit,
            }
            self.reply_file(handler, content, headers, fault)

    def _refuse(self, handler: BaseHTTPRequestHandler, status: int, code: str) -> None:
        self.reply(handler, status, {"X-Error-Code": code, "X-Error-Message": code})


class ZenodoServer(Server):
    """Files under /record/<number>/files/<name>, behind a redirect to where they really lie."""

    def __init__(self) -> None:
        super().__init__()
        self.etags = True

    def add(self, file: str, content: bytes) -> str:
        """Publish a file; returns the URL to state in an entry."""
        self.files[file] = content
        return f"{self.url}/record/7051328/files/{file}?download=1"

    def is_file(self, path: str) -> bool:
        return not path.startswith("/record/")

    def serve(self, handler: BaseHTTPRequestHandler, path: str, fault: Fault) -> None:
        file = path.rsplit("/", 1)[-1]
        if file not in self.files:
            self.reply(handler, 404, {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>404</title>")
        elif path.startswith("/record/"):
            self.reply(handler, 302, {"Location": f"{self.url}/storage/{file}"})
        else:
            content = self.files[file]
            headers = {"Content-Type": "application/octet-stream"}
            if self.etags:
                headers["ETag"] = f'"{hashlib.md5(content).hexdigest()}"'
            self.reply_file(handler, content, headers, fault)
