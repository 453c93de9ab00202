"""One attempt at a real server on loopback, through its bad moods; secrets reach nobody else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pytest

from edge_tsm.errors import InputError
from edge_tsm.events import Message
from edge_tsm.sinks.outbox import Refused, Unavailable
from edge_tsm.sinks.webhook import Webhook
from tests.helpers.http_servers import Server, free_port, serving, talking

pytestmark = pytest.mark.timeout(20)
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
MESSAGE = Message(1, "0192", "start", json.dumps({"label": "wave"}))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def post(url: str, **options: str) -> None:
    Webhook(url, wall=lambda: NOON, **options).send(MESSAGE)


def test_a_message_is_posted_with_a_key_that_stays(server: Server) -> None:
    post(server.url + "/hooks/x?y=1")
    [(path, headers, body)] = server.posts
    assert path == "/hooks/x?y=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == headers["X-Edge-Tsm-Event"] == "0192:start"
    assert json.loads(body) == {"label": "wave"}


@pytest.mark.parametrize("code", [500, 503, 408, 425, 429])
def test_a_busy_server_may_take_it_later(code: int, server: Server) -> None:
    server.codes = [code]
    with pytest.raises(Unavailable, match=str(code)):
        post(server.url)


@pytest.mark.parametrize(
    ("asked", "paused_s"),
    [
        ("7", 7.0),
        ("Tue, 24 Nov 2026 12:00:09 GMT", 9.0),
        ("3600", 3600.0),
        ("Tue, 24 Nov 2026 23:00:00 GMT", 39_600.0),
        ("0", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("٣", 0.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", -3600.0),
        ("Tue, 99 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_a_busy_server_says_how_long_it_asks_to_be_left_alone(
    asked: str, paused_s: float, server: Server
) -> None:
    server.codes, server.retry_after = [503], asked.encode().decode("latin-1")
    with pytest.raises(Unavailable) as caught:
        post(server.url)
    assert caught.value.retry_after_s == paused_s


@pytest.mark.parametrize(
    ("code", "message"),
    [(400, "400 Bad Request"), (403, "403"), (307, "the address it redirects to"), (299, None)],
)
def test_a_server_refuses_or_accepts(code: int, message: str | None, server: Server) -> None:
    server.codes = [code]
    if message is None:
        post(server.url)
    else:
        with pytest.raises(Refused, match=message):
            post(server.url)
    assert len(server.posts) == 1


def test_a_server_that_is_away_is_named_without_its_secrets() -> None:
    port = free_port()
    with pytest.raises(Unavailable) as caught:
        post(f"http://me:secret@127.0.0.1:{port}/T0KEN?key=K3Y")
    assert str(caught.value) == f"http://127.0.0.1:{port}: Connection refused"


def drip(end: socket.socket, ended: threading.Event) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200:
        end.sendall(bytes([byte]))
        if ended.wait(0.05):
            return


def drip_after_the_headers(end: socket.socket, ended: threading.Event) -> None:
    end.sendall(b"HTTP/1.1 200 OK\r\n")
    while not ended.wait(0.05):
        end.sendall(b"X: y\r\n")


def say_nothing(end: socket.socket, ended: threading.Event) -> None:
    ended.wait(5)


@pytest.mark.parametrize("talk", [drip, drip_after_the_headers, say_nothing])
def test_an_attempt_takes_no_longer_than_it_may(
    talk: Callable[[socket.socket, threading.Event], object],
) -> None:
    started_s, ended = time.monotonic(), threading.Event()
    with talking(lambda end: talk(end, ended)) as url:
        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            Webhook(url, timeout_s=0.3).send(MESSAGE)
        ended.set()
    assert time.monotonic() - started_s < 3


def test_canceling_ends_an_attempt_that_is_under_way() -> None:
    hanging = threading.Event()
    with talking(lambda end: (hanging.set(), end.recv(1))) as url:
        hook = Webhook(url)
        canceler = threading.Thread(target=lambda: (hanging.wait(5), hook.cancel()))
        canceler.start()
        with pytest.raises(Unavailable):
            hook.send(MESSAGE)
        canceler.join()


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"",
        b"\x00\xff garbage\r\n" * 10,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    ],
)
def test_a_server_that_talks_nonsense_is_one_line(said: bytes) -> None:
    with talking(lambda end: end.sendall(said)) as url, pytest.raises(Unavailable) as caught:
        post(url)
    assert str(caught.value).startswith(url)
    assert str(caught.value).isprintable()


def test_what_a_server_calls_its_status_is_not_repeated() -> None:
    said = b"HTTP/1.1 400 \x1b]0;OWN\x07bad\r\n\r\n"
    with talking(lambda end: end.sendall(said)) as url, pytest.raises(Refused) as caught:
        post(url)
    assert str(caught.value) == f"{url}: the server says 400 Bad Request"


def test_credentials_become_headers(server: Server) -> None:
    post(server.url.replace("//", "//me:p%40ss@"))
    post(server.url, token="abc")
    first, second = (headers["Authorization"] for _, headers, _ in server.posts)
    assert first == "Basic bWU6cEBzcw=="
    assert second == "Bearer abc"


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "http://", "http://a b", "http://h:99999", "http://ü"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="webhook: "):
        Webhook(url)
