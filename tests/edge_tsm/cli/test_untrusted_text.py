"""Labels, names and servers' words on the terminal: escaped, whichever command prints them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.hostile import CONTROLS, hostile_text
from tests.helpers.videos import write_video

pytestmark = pytest.mark.timeout(120)
CAMERA = ("--camera", "test://64x48/20", "--window", "0.4", "--every", "0.2", "--max-answers", "2")
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_text(tmp_path_factory.mktemp("hostile") / "x.bundle")


def output(*arguments: object) -> tuple[str, str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_tsm", *map(str, arguments)],
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done.stdout.decode(), done.stderr.decode(), done.returncode


def check(*texts: str) -> None:
    for text in texts:
        assert not UNSAFE.search(text)
        assert not any(line.startswith("FORGED") for line in text.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--source", "VIDEO"),
        ("run", *CAMERA),
        ("run", *CAMERA, "--on", "0", "--off", "0", "--stats", "0.1"),
        ("run", *CAMERA, "--ignore", CONTROLS),
        ("info",),
    ],
)
def test_no_command_lets_it_through(
    arguments: tuple[str, ...], hostile: Path, tmp_path: Path
) -> None:
    command, *rest = arguments
    if "VIDEO" in rest:
        rest[rest.index("VIDEO")] = str(write_video(tmp_path / "\x1b[2J\nFORGED.avi", 20))
    out, err, _ = output(command, hostile, *rest)
    check(out, err)
    assert "\\u001b" in out + err


def test_json_carries_the_labels_and_the_terminal_no_controls(hostile: Path) -> None:
    out, err, code = output("run", hostile, *CAMERA, "--json")
    assert code == 0, err
    check(out, err)
    labels = json.loads((hostile / "card.json").read_text())["labels"]
    assert all(json.loads(line)["label"] in labels for line in out.splitlines())
    out, _, _ = output("info", hostile, "--json")
    check(out)
    assert json.loads(out)["labels"] == labels


def test_errors_of_arguments_and_files_are_one_line(tmp_path: Path) -> None:
    evil = "\x1b]0;OWNED\x07\nFORGED\u202e"
    for arguments in (["run", tmp_path / evil], ["run", "--source", evil], ["info", evil, evil]):
        out, err, code = output(*arguments)
        check(out, err)
        assert code != 0


@pytest.fixture
def rude_server() -> Iterator[str]:
    """Refuses every request with a reason phrase that would control a terminal."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(
                        b"HTTP/1.1 403 \x1b]0;OWNED\x07\x9bx\r\nContent-Length: 0\r\n\r\n"
                    )

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)


def test_what_a_server_says(hostile: Path, rude_server: str) -> None:
    out, err, code = output(
        "run", hostile, *CAMERA, "--on", "0", "--off", "0", "--webhook", rude_server
    )
    assert code == 0, err
    check(out, err)
    assert "403" in err
