"""Answers to `/metrics`, `/livez` and `/readyz`, for any server; and a small one of our own."""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from edge_tsm.errors import InputError, SinkError
from edge_tsm.service.monitor import Monitor
from edge_tsm.service.web.address import Address
from edge_tsm.system.jsontext import to_json

_HEALTH = {
    "/livez": "Whether the loop that answers turns.",
    "/readyz": "Whether every enabled source has answered in time.",
}
MOST_AT_ONCE = 8  # requests, each with a thread
REQUEST_S = 5.0
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What a server answers."""

    status: int
    content_type: str
    body: bytes


class Endpoints:
    """Answers by a path and what the client accepts; `/metrics` only with prometheus-client.

    Args:
        monitor: of the run.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._exposition = _exposition_of(monitor)

    @property
    def paths(self) -> Mapping[str, str]:
        """What there is, and what that says."""
        return _HEALTH if self._exposition is None else {"/metrics": "For Prometheus.", **_HEALTH}

    def reply(self, path: str, accept: str = "") -> Reply:
        """Return the answer; 404 for a path that is none of `paths`."""
        if path == "/metrics" and self._exposition is not None:
            body, content_type = self._exposition(accept)
            return Reply(200, content_type, body)
        maker = {"/livez": self.livez, "/readyz": self.readyz}.get(path)
        known = ", ".join(self.paths)
        return maker() if maker else Reply(404, _TEXT, f"there are {known}\n".encode())

    def livez(self) -> Reply:
        """Return 200 while the loop that answers turns."""
        alive = self._monitor.health().alive
        return _health(200 if alive else 503, {"alive": alive})

    def readyz(self) -> Reply:
        """Return 200 when every enabled source answered in time; 503 names those that did not."""
        health = self._monitor.health()
        status = 200 if health.ready else 503
        return _health(status, {"ready": health.ready, "troubles": dict(health.troubles)})


def _exposition_of(monitor: Monitor) -> Callable[[str], tuple[bytes, str]] | None:
    try:
        from edge_tsm.service.metrics import exposition, registry_of
    except ImportError:
        return None
    return functools.partial(exposition, registry_of(monitor))


def _health(status: int, record: dict[str, object]) -> Reply:
    return Reply(status, _JSON, (to_json(record) + "\n").encode())


class MetricsServer:
    """Serves `Endpoints` at an address, in threads of its own; use it in a `with` block.

    Args:
        endpoints: what to serve.
        address: `HOST:PORT`; `[::1]:9109` for IPv6.

    Raises:
        InputError: not an address, or prometheus-client is not installed.
        SinkError: it cannot be listened at.
    """

    def __init__(self, endpoints: Endpoints, address: str) -> None:
        host, port = _split(address)
        if "/metrics" not in endpoints.paths:
            raise InputError("--metrics needs prometheus-client: pip install 'edge-tsm[metrics]'")
        try:
            self._server = _Server(host, port, endpoints)
        except OSError as error:
            raise SinkError(f"--metrics {address}: {error.strerror or error}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="edge-tsm metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """The address, with the port that it really has."""
        host, port = self._server.server_address[:2]
        return f"http://{Address(str(host), port)}"

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        _log.info("metrics and health at %s", self.url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"--metrics {address!r}: write HOST:PORT, as 127.0.0.1:9109")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Answer in a thread, if one is free: clients that dawdle do not use up the machine."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Answer, and free the place."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""
        _log.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_S
    server_version, sys_version = "edge-tsm", ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._send(self.server.endpoints.reply(path, self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Requests are no news."""
