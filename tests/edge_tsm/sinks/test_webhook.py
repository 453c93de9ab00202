"""Events reach a real server on loopback, through its bad moods, and secrets reach nobody else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from edge_tsm.errors import InputError, SinkError
from edge_tsm.sinks.webhook import LONGEST_PAUSE_S, Webhook
from edge_tsm.system.clock import VirtualClock
from tests.helpers.answers import says, started

pytestmark = pytest.mark.timeout(20)
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


class Server(HTTPServer):
    """Answers with the given codes, then 204; keeps what it was sent."""

    def __init__(self, *codes: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes = list(codes)
        self.retry_after: str | None = None
        self.posts: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers), body))
        self.send_response(self.server.codes.pop(0) if self.server.codes else 204)
        self.send_header("Location", "/elsewhere")
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def post(url: str, clock: VirtualClock, **options: str) -> None:
    hook = Webhook(url, clock=clock, wall=lambda: NOON, seed=1, **options)
    hook.write(started(), "rtsp://***@cam")


def test_events_are_posted_with_the_time_of_day(server: Server) -> None:
    clock = VirtualClock()
    post(server.url + "/hooks/x?y=1", clock)
    [(path, headers, body)] = server.posts
    assert path == "/hooks/x?y=1"
    assert headers["Content-Type"] == "application/json"
    record = json.loads(body)
    assert record["source"] == "rtsp://***@cam"
    assert record["time"] == "2026-11-24T12:00:00.000+00:00"
    assert [e["label"] for e in record["events"]] == ["wave"]
    assert clock.now() == 0


def test_answers_without_an_event_are_not_posted(server: Server) -> None:
    Webhook(server.url).write(says("wave", 1.0), "cam")
    assert server.posts == []


def test_a_busy_server_is_tried_again_with_growing_pauses(server: Server) -> None:
    server.codes = [503, 429, 500]
    clock = VirtualClock()
    post(server.url, clock)
    assert len(server.posts) == 4
    assert 0.5 * 3.5 <= clock.now() <= 3.5  # 0.5 + 1 + 2, each times 0.5 to 1


@pytest.mark.parametrize(
    ("asked", "paused_s"),
    [
        ("7", 7.0),
        ("Tue, 24 Nov 2026 12:00:09 GMT", 9.0),
        ("3600", LONGEST_PAUSE_S),
        ("Tue, 24 Nov 2026 23:00:00 GMT", LONGEST_PAUSE_S),
    ],
)
def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    asked: str, paused_s: float, server: Server
) -> None:
    server.codes, server.retry_after = [503], asked
    clock = VirtualClock()
    post(server.url, clock)
    assert len(server.posts) == 2
    assert clock.now() == paused_s


@pytest.mark.parametrize("asked", ["0", "soon", "-3", "Tue, 24 Nov 2026 11:00:00 GMT"])
def test_a_time_that_is_past_or_none_changes_nothing(asked: str, server: Server) -> None:
    server.codes, server.retry_after = [429], asked
    clock = VirtualClock()
    post(server.url, clock)
    assert 0.25 <= clock.now() <= 0.5


@pytest.mark.parametrize(("code", "message"), [(403, "403"), (307, "the address it redirects to")])
def test_a_server_that_refuses_is_not(code: int, message: str, server: Server) -> None:
    server.codes = [code]
    with pytest.raises(SinkError, match=message):
        post(server.url, VirtualClock())
    assert len(server.posts) == 1


def test_a_server_that_is_away_is_given_up_at_last() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clock = VirtualClock()
    with pytest.raises(SinkError, match="Connection refused") as caught:
        post(f"http://me:secret@127.0.0.1:{port}/T0KEN?key=K3Y", clock)
    assert str(caught.value) == f"webhook http://127.0.0.1:{port}: Connection refused"
    assert clock.now() > 7


def test_a_server_that_talks_nonsense_is_one_error() -> None:
    def answer(listening: socket.socket) -> None:
        for _ in range(6):
            with listening.accept()[0] as end:
                end.recv(65536)
                end.sendall(b"nonsense\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,))
        thread.start()
        with pytest.raises(SinkError, match="webhook http://127"):
            post(f"http://127.0.0.1:{listening.getsockname()[1]}", VirtualClock())
        thread.join()


def test_canceling_ends_the_attempts(server: Server) -> None:
    server.codes = [503] * 9
    hook = Webhook(server.url)
    hook.cancel()
    with pytest.raises(SinkError, match="503"):
        hook.write(started(), "cam")
    assert len(server.posts) == 1


def test_credentials_become_headers(server: Server) -> None:
    post(server.url.replace("//", "//me:p%40ss@"), VirtualClock())
    post(server.url, VirtualClock(), token="abc")
    first, second = (headers["Authorization"] for _, headers, _ in server.posts)
    assert first == "Basic bWU6cEBzcw=="
    assert second == "Bearer abc"


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "http://", "http://a b", "http://h:99999", "http://ü"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="webhook: "):
        Webhook(url)
