"""A camera that speaks MJPEG over HTTP, with faults by path, on 127.0.0.1."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

LEVELS = 250
LONG_S = 60.0


@cache
def jpeg(level: int, width: int, height: int) -> bytes:
    """A gray picture of one level with a brighter corner, for it not to be too small to damage."""
    image = np.full((height, width, 3), level, np.uint8)
    image[:8, :8] = 255
    return bytes(cv2.imencode(".jpg", image)[1])


@dataclass(frozen=True)
class Part:
    """One picture on its way, and how long the camera waits after it."""

    body: bytes
    pause_s: float


Fault = Callable[[int, Part], Part | None]  # number and part to what is sent; None: hang up


def sized(width: int, height: int, *, at: int) -> Fault:
    """Pictures of another size from one on."""

    def fault(number: int, part: Part) -> Part:
        changed = jpeg(number % LEVELS, width, height)
        return replace(part, body=changed) if number >= at else part

    return fault


def damaged(every: int) -> Fault:
    """One picture in so many is cut off in its header."""
    return lambda n, part: replace(part, body=part.body[:200]) if n % every == 1 else part


FAULTS: dict[str, Fault] = {
    "ok": lambda n, part: part,
    "bad80": damaged(80),
    "trunc": damaged(5),
    "garbage": lambda n, part: replace(part, body=b"\xff\xd8" + bytes(500)) if n >= 30 else part,
    "res": sized(96, 72, at=30),
    "turn": sized(48, 64, at=30),
    "burst": lambda n, part: replace(part, pause_s=60 * part.pause_s if n % 60 == 59 else 0),
    "stall": lambda n, part: replace(part, pause_s=LONG_S) if n == 30 else part,
    "dies": lambda n, part: part if n < 30 else None,
}


class FaultyCamera:
    """Serves `FAULTS` at `url(path)`, as many clients as come; `sent` is the newest number.

    While `hung` is set nothing comes, to nobody.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.opened = 0
        self.hung = threading.Event()
        self._closed = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                camera._serve(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def url(self, path: str, *, fps: int = 100) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path}?fps={fps}"

    def __enter__(self) -> FaultyCamera:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, client: BaseHTTPRequestHandler) -> None:
        address = urlsplit(client.path)
        fault, fps = FAULTS[address.path.strip("/")], int(parse_qs(address.query)["fps"][0])
        client.send_response(200)
        client.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        client.end_headers()
        self.opened += 1
        number = 0
        try:
            while part := fault(number, Part(jpeg(number % LEVELS, 64, 48), 1 / fps)):
                while self.hung.is_set():
                    if self._closed.wait(0.05):
                        return
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part.body)}"
                client.wfile.write(head.encode() + b"\r\n\r\n" + part.body + b"\r\n")
                self.sent = number
                if part.pause_s and self._closed.wait(part.pause_s):
                    return
                number += 1
        except OSError:
            return  # the client has gone
