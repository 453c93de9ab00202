"""A Hugging Face Hub on loopback: models by name, each with one commit; what is pushed is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.http_servers import running

_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Model:
    """Files of a model; `sizes` are what is announced, where that is not the truth."""

    files: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    private: bool = False


class Hub(ThreadingHTTPServer):
    """Answers as much of the hub's API as downloading and committing takes."""

    daemon_threads = True

    def __init__(self, models: dict[str, Model]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.requests: list[str] = []
        self.tokens: set[str] = set()
        self.branches: list[str] = []
        self.down = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note()
        if self.server.down:
            self._answer(503, {"error": "later"})
        elif found := _INFO.fullmatch(self.path.partition("?")[0]):
            self._info(found[1])
        elif found := _FILE.fullmatch(self.path.partition("?")[0]):
            self._file(found[1], found[2])
        else:
            self._answer(404, {"error": "not found"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.server.models.setdefault(name, Model(private=private))
            self._answer(200, {"url": f"{self.server.url}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self._answer(200, {"files": modes})
        elif "/branch/" in self.path:
            self.server.branches.append(self.path.rpartition("/")[2])
            self._answer(200, {})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._answer(404, {"error": "not found"})

    def _note(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        if token := self.headers.get("Authorization"):
            self.server.tokens.add(token)

    def _info(self, name: str) -> None:
        model = self.server.models.get(name)
        if model is None:
            headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such model"}
            self._answer(404, {"error": "Repository not found"}, headers)
            return
        sizes = {n: len(data) for n, data in model.files.items()} | model.sizes
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        self._answer(200, {"id": name, "sha": COMMIT, "siblings": siblings, "private": False})

    def _file(self, name: str, file: str) -> None:
        data = self.server.models[name].files[file]
        etag = hashlib.sha256(data).hexdigest()
        self._answer(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})

    def _commit(self, body: bytes) -> None:
        found = re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path)
        assert found
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                data = base64.b64decode(value["content"])
                self.server.models[found[1]].files[value["path"]] = data
        url = f"{self.server.url}/{found[1]}/commit/{COMMIT}"
        self._answer(200, {"commitUrl": url, "commitOid": COMMIT, "success": True})

    def _answer(self, code: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def hub(models: dict[str, Model]) -> Iterator[Hub]:
    with running(Hub(models)) as server:
        yield server
