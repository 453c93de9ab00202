"""A real datagram socket stands in for systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_tsm.service.systemd import ServiceNotifier

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@edge-tsm-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name.replace("@", "\0"))
        end.setblocking(False)
        yield end, name


def heard(end: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_ready_comes_with_the_first_turn_and_the_watchdog_with_turns(
    manager: tuple[socket.socket, str],
) -> None:
    end, address = manager
    service = ServiceNotifier(address, watchdog_s=10)
    assert heard(end) == []
    for now_s in (0.0, 1.0, 4.9, 5.1, 6.0, 300.0):
        service.alive(now_s)
    assert heard(end) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
    service.status("2 answers/s\nall well")
    service.stopping()
    assert heard(end) == ["STATUS=2 answers/s all well", "STOPPING=1"]


def test_the_environment_says_whom_to_notify(manager: tuple[socket.socket, str]) -> None:
    end, address = manager
    given = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    ServiceNotifier.from_environment(given).alive(0.0)
    assert heard(end) == ["READY=1", "WATCHDOG=1"]
    ServiceNotifier.from_environment({**given, "WATCHDOG_PID": "1"}).alive(0.0)
    ServiceNotifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "x"}).alive(0.0)
    assert heard(end) == ["READY=1", "READY=1"]


def test_without_a_manager_nobody_is_notified() -> None:
    service = ServiceNotifier.from_environment({})
    service.alive(0.0)
    service.stopping()


def test_a_manager_that_is_gone_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ServiceNotifier("/nowhere/notify").stopping()
    assert "cannot be notified of STOPPING=1" in caplog.text
