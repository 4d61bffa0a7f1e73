"""Servers on the loopback interface, in threads: one speaks the Hub's HTTP protocol, one acts like Zenodo.

The tests run the real clients against them. Every request is kept in ``log``; ``faults`` says what goes
wrong, and when:

    with HubServer() as server:
        server.add("org/name", "model.bin", b"...")
        server.faults.append(Fault("GET", status=503))    # the next GET fails, the one after it does not
        server.faults.append(Fault("GET", drop_after=100))  # then one that breaks after 100 bytes
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
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
    path: str = ""
    """Only for requests whose path has this in it."""
    lost: bool = False
    """Do what is asked, and hang up instead of answering."""
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
            disable_nagle_algorithm = True  # else head and body of an answer wait for each other, 40 ms a request

            def do_GET(self) -> None:
                owner.answer(self)

            def do_HEAD(self) -> None:
                owner.answer(self)

            def do_POST(self) -> None:
                owner.answer(self)

            def do_PUT(self) -> None:
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
            fitting = [
                fault
                for fault in self.faults
                if fault.method == handler.command and self.is_file(path) and fault.path in path
            ]
            fault = fitting[0] if fitting else Fault()
            if fitting and not fault.always:
                self.faults = [other for other in self.faults if other is not fault]
        if fault.status is not None:
            read_body(handler)
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


class WritableHub(HubServer):
    """The part of the Hub that takes models: create, preupload, LFS batch, upload and verify, commit.

    Attributes:
        owners: names under which the token may write.
        stored: what was uploaded by LFS, by sha256; part of no repository until a commit names it.
        commits: what each commit held: (repository, message, names of its files).
    """

    def __init__(self) -> None:
        super().__init__()
        self.owners = {"user"}
        self.stored: dict[str, bytes] = {}
        self.commits: list[tuple[str, str, list[str]]] = []

    def files_of(self, repo: str) -> dict[str, bytes]:
        return {name.removeprefix(f"{repo}/"): text for name, text in self.files.items() if name.startswith(f"{repo}/")}

    def serve(self, handler: BaseHTTPRequestHandler, path: str, fault: Fault) -> None:
        if handler.command in ("GET", "HEAD") and not path.startswith("/api/"):
            super().serve(handler, path, fault)
            return
        body = read_body(handler, fault.drop_after)
        if body is None:
            return
        if path.startswith("/lfs/"):  # a signed address of the storage, which knows no tokens
            status, answer = self._store(path.rpartition("/")[2], body)
        elif handler.headers.get("Authorization") != f"Bearer {self.token}":
            status, answer = 401, {"error": "Invalid credentials in Authorization header"}
        else:
            with self.lock:
                status, answer = self._api(handler, path, body)
        if fault.lost:
            hang_up(handler)
            return
        message = {"X-Error-Message": answer["error"]} if "error" in answer else {}
        message |= {"X-Error-Code": "RepoNotFound"} if status == 404 and "/api/models/" in path else {}
        self.reply(handler, status, {"Content-Type": "application/json", **message}, json.dumps(answer).encode())

    def _api(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---\n")
            fine = len(front) > 2 and "license: " in front[1]
            return (200, {"errors": [], "warnings": []}) if fine else (400, {"errors": [{"message": "no license"}]})
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git/info/lfs/objects)?(/.*)?", path)
        if found is None or not self.files_of(found[1]):
            return 404, {"error": "Repository not found"}
        repo, rest = found[1], found[2] or ""
        if repo.partition("/")[0] not in self.owners and handler.command == "POST":
            return 403, {"error": "You don't have the rights to write there"}
        if rest in ("", "/revision/main") and handler.command == "GET":
            return 200, {"id": repo, "sha": self.commit, "siblings": [{"rfilename": n} for n in self.files_of(repo)]}
        if rest == "/preupload/main":
            return 200, {"files": [self._mode(repo, one) for one in json.loads(body)["files"]]}
        if rest == "/batch":
            return self._batch(repo, json.loads(body))
        if rest == "/verify":
            asked = json.loads(body)
            fine = len(self.stored.get(asked["oid"], b"")) == asked["size"]
            return (200, {}) if fine else (404, {"error": "no such object"})
        if rest == "/commit/main":
            return self._commit(repo, [json.loads(line) for line in body.splitlines()])
        return 404, {"error": path}

    def _create(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        repo = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.owners:
            return 403, {"error": f"You don't have the rights to create a model under the namespace {repo}"}
        if self.files_of(repo):
            return 409, {"error": "You already created this model repo"}
        self.add(repo, ".gitattributes", b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        return 200, {"url": f"{self.url}/{repo}", "id": repo, "name": repo}

    def _mode(self, repo: str, asked: dict[str, Any]) -> dict[str, Any]:
        large = asked["path"].endswith(".safetensors") or b"\0" in base64.b64decode(asked["sample"])
        present = self.files_of(repo).get(asked["path"])
        oid = None
        if present is not None:
            blob = b"blob %d\0" % len(present) + present
            oid = hashlib.sha256(present).hexdigest() if large else hashlib.sha1(blob).hexdigest()
        mode = "lfs" if large else "regular"
        return {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _batch(self, repo: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        def told(one: dict[str, Any]) -> dict[str, Any]:
            if one["oid"] in self.stored:
                return one
            verify = f"{self.url}/{repo}.git/info/lfs/objects/verify"
            return one | {"actions": {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}, "verify": {"href": verify}}}

        assert asked["operation"] == "upload" and asked["hash_algo"] == "sha256" and "basic" in asked["transfers"]
        return 200, {"transfer": "basic", "objects": [told(one) for one in asked["objects"]]}

    def _store(self, oid: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "the content is not of that hash"}
        self.stored[oid] = body
        return 200, {}

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        new: dict[str, bytes] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and value["oid"] in self.stored:
                new[value["path"]] = self.stored[value["oid"]]
            else:
                return 400, {"error": f"{value['path']}: a pointer to an object that does not exist"}
        for name, content in new.items():
            self.add(repo, name, content)
        self.commits.append((repo, lines[0]["value"]["summary"], sorted(new)))
        self.commit = hashlib.sha1(str(self.commits).encode()).hexdigest()
        self.known.add(self.commit)
        return 200, {"commitUrl": f"{self.url}/{repo}/commit/{self.commit}", "commitOid": self.commit, "success": True}


def read_body(handler: BaseHTTPRequestHandler, drop_after: int | None = None) -> bytes | None:
    """What a request sends; None after a hang-up in the midst of it."""
    if handler.headers.get("Transfer-Encoding") == "chunked":
        pieces = []
        while size := int(handler.rfile.readline(), 16):
            pieces.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(pieces)
    length = int(handler.headers.get("Content-Length", 0))
    if drop_after is not None and handler.command in ("POST", "PUT"):
        handler.rfile.read(min(drop_after, length))
        hang_up(handler)
        return None
    return handler.rfile.read(length)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Reset the connection."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


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
