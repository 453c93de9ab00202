"""A page is for those who may see it, and for nobody else's pages."""

from __future__ import annotations

import base64
import shutil
import socket
import stat
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp
import pytest

from edge_tsm.errors import InputError
from edge_tsm.service.web.address import Address
from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.security import COOKIE, MOST_FAILURES, Access, Guard, find_token
from tests.edge_tsm.service.web.conftest import TOKEN
from tests.helpers.pages import PageRun, ask, asked, asking, layers_of, page_run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8765"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.7"},
        {"Host": ""},
        {"Host": "[::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/version", "/ws", "/cam/porch.mjpg"])
def test_a_page_of_someone_else_gets_nothing(
    page: PageRun, path: str, headers: dict[str, str]
) -> None:
    reply = ask(page, path, headers=headers)
    assert reply.status == 403
    assert reply.json["error"]["code"] == "forbidden"


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:8765"])
def test_names_of_this_machine_are_the_page_also_behind_a_tunnel(page: PageRun, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert ask(page, "/api/v1/version", headers=headers).status == 200


def test_a_link_from_elsewhere_leads_to_the_page(page: PageRun) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(page, "/api/v1/version", headers=headers).status == 200


def test_who_brings_no_token_gets_nothing(closed_page: PageRun) -> None:
    routes = [route for route in closed_page.page.server.routes if not route.open]
    assert len(routes) > 20
    for route in routes:
        path = route.path.partition("{")[0] + "x" if "{" in route.path else route.path
        path = path.replace("/cam/x", "/cam/porch.mjpg")
        status = ask(closed_page, path, route.method, json={}).status
        assert status in (401, 404, 405), route.path  # 404: the made-up id is none
    assert ask(closed_page, "/api/v1/cameras").status == 401
    assert ask(closed_page, "/ws").status == 401
    assert ask(closed_page, "/cam/porch.mjpg").status == 401


def test_a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(closed_page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        signed = await asked(session, closed_page, "/api/v1/session", "POST", json={"token": TOKEN})
        assert signed.status == 204
        cookie = signed.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert (await asked(session, closed_page, "/api/v1/cameras")).status == 200
        assert (await asked(session, closed_page, "/api/v1/version")).json["signed_in"] is True
        await asked(session, closed_page, "/api/v1/session", "DELETE")
        assert (await asked(session, closed_page, "/api/v1/cameras")).status == 401

    asking(work)


@pytest.mark.parametrize("value", ["", "x", "99999999999.00", "挥", "9" * 300, ".", "1.2.3"])
def test_a_cookie_of_ones_own_is_worth_nothing(closed_page: PageRun, value: str) -> None:
    headers = {"Cookie": f"{COOKIE}={value}"}
    assert ask(closed_page, "/api/v1/cameras", headers=headers).status == 401


def test_programs_bring_the_token_in_a_header(closed_page: PageRun) -> None:
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    for value in (f"Bearer {TOKEN}", f"Basic {basic}"):
        assert ask(closed_page, "/api/v1/cameras", headers={"Authorization": value}).status == 200


def test_wrong_tokens_are_refused_and_then_not_even_compared(tmp_path: Path) -> None:
    with page_run(layers=layers_of(tmp_path), token=TOKEN) as run:
        tries = [
            ask(run, "/api/v1/session", "POST", json={"token": f"wrong {i}"})
            for i in range(MOST_FAILURES + 1)
        ]
        assert [reply.status for reply in tries] == [403] * MOST_FAILURES + [429]
        assert int(tries[-1].headers["Retry-After"]) > 0
        again = ask(run, "/api/v1/session", "POST", json={"token": TOKEN})
        assert again.json["error"]["code"] == "too_many_requests"


def test_who_waits_may_try_again() -> None:
    now_s = [0.0]
    guard = Guard(Access(Address(), TOKEN), now=lambda: now_s[0])
    for _ in range(MOST_FAILURES):
        with pytest.raises(Refusal, match="wrong"):
            guard.check_token("x", "192.0.2.1")
    with pytest.raises(Refusal, match="too many"):
        guard.check_token(TOKEN, "192.0.2.1")
    guard.check_token(TOKEN, "192.0.2.2")
    now_s[0] = 61.0
    guard.check_token(TOKEN, "192.0.2.1")


def test_a_page_for_reading_changes_nothing(tmp_path: Path) -> None:
    layers = layers_of(tmp_path)
    with page_run(layers=layers, read_only=True) as run:
        changes = {"camera": None, "changes": {"on": 0.5}}
        assert ask(run, "/api/v1/rules/preview", "POST", json=changes).status == 200
        for route in run.page.server.routes:
            if route.changes and "{" not in route.path:
                reply = ask(run, route.path, route.method, json=changes)
                assert (reply.status, reply.json["error"]["code"]) == (403, "read_only")
    assert (tmp_path / "rules.toml").read_text() == ""


def test_every_answer_says_what_a_browser_may_do_with_it(page: PageRun) -> None:
    for path in ("/", "/api/v1/version", "/nothing", "/static/nothing.js", "/api/v1/openapi.json"):
        headers = ask(page, path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/api/v1/schemas/../config.schema.json",
        "/api/v1/events/%2e%2e%2f%2e%2e/snapshot",
        "/api/v1/events/0192/snapshot",
    ],
)
def test_files_are_had_by_id_and_never_by_path(page: PageRun, path: str) -> None:
    import yarl

    async def work(session: aiohttp.ClientSession) -> int:
        async with session.get(yarl.URL(page.url + path, encoded=True)) as response:
            return response.status

    assert asking(work) == 404


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": b"x" * 70_000, "headers": {"Content-Type": "application/json"}}, 413),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": b"[" * 50_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
        ({"json": [1]}, 400),
        ({"json": {}}, 400),
        ({"data": {"camera": "form"}}, 400),
        ({"json": {"camera": 1, "changes": {}}}, 400),
        ({"json": {"camera": "nowhere", "changes": {"on": 0.5}}}, 400),
        ({"json": {"changes": {"on": 2}}}, 400),
        ({"json": {"changes": {"on": "x"}}}, 400),
        ({"json": {"changes": {"onn": 0.5}}}, 400),
        ({"json": {"changes": {"thresholds": {"no such": {"on": 0.5, "off": 0.4}}}}}, 400),
        ({"json": {"changes": {"thresholds": []}}}, 400),
        ({"json": {"changes": {"on": 0.5}, "hours": "1"}}, 400),
        ({"json": {"changes": {"on": 0.5}, "hours": 1e300}}, 400),
        ({"json": {"changes": {"on": 0.5}, "labels": ["no such"]}}, 400),
        ({"json": {"changes": {"on": 0.5}, "labels": [["x"]]}}, 400),
    ],
)
def test_what_is_sent_is_bounded_and_understood_or_refused(
    page: PageRun, options: dict[str, object], status: int
) -> None:
    reply = ask(page, "/api/v1/rules/preview", "POST", **options)
    assert reply.status == status, reply.body
    assert reply.json["error"]["message"]


def connect(page: PageRun, said: str = "", *, room_bytes: int | None = None) -> socket.socket:
    """A client without manners: it says this, and reads when it likes."""
    end = socket.socket()
    if room_bytes:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
    end.settimeout(20)
    end.connect(("127.0.0.1", page.page.server.port))
    end.sendall(said.replace("\n", "\r\n").encode())
    return end


def test_a_body_that_does_not_come_is_not_waited_for(
    page: PageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tsm.service.web.asking.BODY_S", 0.05)
    head = "POST /api/v1/rules/preview HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
    with connect(page, f"{head}Content-Length: 9\n\n{{") as slow:
        assert b"408" in slow.recv(100)


def test_previews_do_not_take_all_threads(page: PageRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tsm.service.web.rules_api.MOST_PREVIEWS", 0)
    reply = ask(page, "/api/v1/rules/preview", "POST", json={"changes": {"on": 0.5}})
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1")


def test_many_connections_leave_room_for_cameras_and_files(
    page: PageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tsm.service.web.server.MOST_CONNECTIONS", 2)
    with ExitStack() as stack, suppress(ConnectionError):
        ends = [stack.enter_context(connect(page)) for _ in range(10)]
        assert not ends[-1].recv(1)
    monkeypatch.undo()
    assert ask(page, "/api/v1/version").status == 200


def test_who_takes_no_pictures_makes_room_for_others(
    page: PageRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tsm.service.web.cameras_api.STREAM_S", 0.2)
    monkeypatch.setattr("edge_tsm.service.web.cameras_api.SEND_BUFFER_BYTES", 2048)

    async def work(session: aiohttp.ClientSession) -> None:
        while (await asked(session, page, "/api/v1/stats")).json["page"]["viewers"]:
            pass

    with connect(page, "GET /cam/porch.mjpg HTTP/1.1\nHost: localhost\n\n", room_bytes=2048) as end:
        assert end.recv(1)
        asking(work)


def test_what_is_no_http_is_refused_and_not_logged(
    page: PageRun, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(page, "\x16\x03\x01\x02 by TLS\n\n") as end:
        assert b" 400 " in end.recv(100)
    assert not caplog.records


def test_a_token_in_an_address_is_none(closed_page: PageRun) -> None:
    assert ask(closed_page, f"/api/v1/cameras?token={TOKEN}").status == 401


def test_no_answer_holds_a_secret(tmp_path: Path) -> None:
    with page_run(layers=layers_of(tmp_path), token=TOKEN) as run:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for route in run.page.server.routes:
            if route.method == "GET" and "{" not in route.path and route.path != "/ws":
                reply = ask(run, route.path, headers=headers)
                assert TOKEN.encode() not in reply.body + repr(reply.headers).encode(), route.path


def test_other_machines_need_a_token() -> None:
    with pytest.raises(InputError, match="needs a token"):
        Access(Address("0.0.0.0"))
    with pytest.raises(InputError, match="shorter than 16"):
        Access(Address(), "short")


def test_the_machines_token_is_made_once_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    token, made = find_token(None)
    assert made is not None
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert find_token(None) == (token, None)
    assert find_token(f"file:{made}") == (token, None)
    with pytest.raises(InputError, match="env:NAME or file:PATH"):
        find_token("written out")


def test_a_port_in_use_is_told_with_another_one() -> None:
    with (
        Address(port=0).listen() as listener,
        pytest.raises(InputError, match=r"cannot be listened on \(Address already in use\)"),
    ):
        Address(port=listener.getsockname()[1]).listen()


@pytest.mark.parametrize(
    "text", ["", "x", "host", "1.2.3.4:99999", "[::1", "a b:1", "gestures.bundle"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        Address.parse(text)


def test_a_certificate_makes_it_https_and_the_cookie_for_https_alone(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", *made, *files], check=True, capture_output=True)
    with page_run(layers=layers_of(tmp_path), token=TOKEN, tls=(certificate, key)) as run:
        assert run.url.startswith("https://127.0.0.1:")
        signed = ask(run, "/api/v1/session", "POST", json={"token": TOKEN}, ssl=False)
        assert "Secure" in signed.headers["Set-Cookie"]
