"""Secrets of a run: from the environment or a file, never shown."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edge_tsm import demo

pytestmark = pytest.mark.timeout(120)
CAMERA = ("--camera", "door=env:DOOR", "--window", "0.4", "--every", "0.2", "--max-answers", "2")
ALWAYS = ("--on", "0", "--off", "0")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tsm", "run", str(demo.bundle()), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "DOOR": "test://64x48/20\n", **environment},
        check=False,
    )


class Hook(HTTPServer):
    """Keeps the authorization of what is posted to it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), self._handler())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                seen.append(self.headers["Authorization"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_addresses_and_a_token_by_reference(hook: Hook, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    token.chmod(0o600)
    url = f"http://127.0.0.1:{hook.server_port}/s3cret-path"
    done = run(
        *CAMERA, *ALWAYS, "--webhook", "env:HOOK", HOOK=url, EDGE_TSM_WEBHOOK_TOKEN=f"file:{token}"
    )
    assert done.returncode == 0, done.stderr
    assert set(hook.seen) == {"Bearer s3cret-token"}
    assert "s3cret" not in done.stdout + done.stderr
    assert "warning" not in done.stderr
    assert "unencrypted" not in done.stderr


@pytest.mark.parametrize("token", ["s3c\nret", "s3cret ü", "s3c ret", " \n"])
def test_a_token_that_cannot_be_sent_is_refused_at_the_start(token: str) -> None:
    done = run(*CAMERA, "--webhook", "http://127.0.0.1:9/", EDGE_TSM_WEBHOOK_TOKEN=token)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "token" in line.lower()
    assert "s3c" not in done.stderr


def test_what_exposes_secrets_is_warned_of() -> None:
    done = run(
        *(*CAMERA, "--webhook", "http://u:s3cret@plant.invalid/hook"),
        http_proxy="http://proxy.invalid:3128",
        no_proxy="",
    )
    assert done.returncode == 0, done.stderr
    assert "credentials go to plant.invalid unencrypted; use https" in done.stderr
    assert "credentials go through the proxy proxy.invalid" in done.stderr
    assert "which `ps` shows to every user here" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_reference_to_nothing_is_one_line() -> None:
    done = run("--camera", "porch=env:NOT_SET_HERE")
    assert done.returncode == 2
    assert done.stderr == (
        "edge-tsm: error: env:NOT_SET_HERE: the environment variable is not set\n"
    )
