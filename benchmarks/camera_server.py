"""Cameras for benchmarks of live runs: MJPEG over HTTP on this machine, of any picture by time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from numpy.typing import NDArray

Painter = Callable[[float], NDArray[np.uint8]]  # time of day to (H, W, 3) uint8 BGR


@contextmanager
def serving(cameras: Mapping[str, Painter], *, fps: float = 15.0) -> Iterator[str]:
    """Serve each camera at `address/NAME`; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for jpeg in _paced(cameras[self.path.strip("/")], fps):
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
            except OSError:
                return  # the run has ended

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _paced(paint: Painter, fps: float) -> Iterator[bytes]:
    started = time.monotonic()
    for number in range(10**9):
        time.sleep(max(0.0, started + number / fps - time.monotonic()))
        yield cv2.imencode(".jpg", paint(time.time()))[1].tobytes()
