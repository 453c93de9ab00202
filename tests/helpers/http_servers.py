"""Real HTTP servers on loopback, in their bad moods."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

AnyServer = TypeVar("AnyServer", bound=ThreadingHTTPServer)


class Server(ThreadingHTTPServer):
    """Answers with the given codes, then 204; keeps what it was sent."""

    daemon_threads = True

    def __init__(self, *codes: int, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.codes = list(codes)
        self.retry_after: str | None = None
        self.before_answer: Callable[[], object] = lambda: None
        self.posts: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed: no server takes half a post
            return
        self.server.posts.append((self.path, dict(self.headers), body))
        self.server.before_answer()
        self.send_response(self.server.codes.pop(0) if self.server.codes else 204)
        self.send_header("Location", "/elsewhere")
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Serve in a thread while the block runs."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(*codes: int, port: int = 0) -> Iterator[Server]:
    with running(Server(*codes, port=port)) as server:
        yield server


@contextmanager
def talking(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that says to each connection what `talk` does; gives its URL."""

    def accept() -> None:
        while True:
            try:
                end = listening.accept()[0]
            except OSError:
                return
            with end:
                try:
                    end.recv(65536)
                    talk(end)
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


_reserved = list[socket.socket]()


def free_port() -> int:
    """A port where nobody listens, and nobody else will.

    It stays bound until the tests end: a port that is let go may become that of another test's
    server, or of a client, which may even be connected to itself. A server that sets SO_REUSEADDR
    can listen on it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _reserved.append(held)
    return int(held.getsockname()[1])
