"""What systemd wants to hear from a service of `Type=notify` (sd_notify(3)).

The watchdog is fed as long as the run turns its loop, whether or not there are answers: a camera
that is lost for an hour is no reason to restart, an engine or a sink that hangs is one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class ServiceNotifier:
    """Notifies the service manager: ready, alive, stopping. Without a manager it does nothing.

    Args:
        address: path of the manager's datagram socket; `@name` is one in the abstract namespace.
        watchdog_s: seconds without a sign of life after which the manager restarts the service.
    """

    def __init__(self, address: str | None = None, *, watchdog_s: float | None = None) -> None:
        self._address = address
        # Half of the limit, as sd_watchdog_enabled(3) recommends.
        self._every_s = watchdog_s / 2 if watchdog_s else None
        self._is_ready, self._fed_s, self._failing = False, float("-inf"), False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceNotifier:
        """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID describe."""
        address = environment.get("NOTIFY_SOCKET")
        limit_us = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_s = int(limit_us) / 1e6 if limit_us.isdecimal() and for_us else 0.0
        return cls(address or None, watchdog_s=limit_s or None)

    @property
    def is_notified(self) -> bool:
        """Whether there is a manager at all."""
        return self._address is not None

    def alive(self, now_s: float) -> None:
        """The run turns at this monotonic time: READY at the first, WATCHDOG in time."""
        self._is_ready = self._is_ready or self._send("READY=1")
        due = self._every_s is not None and now_s - self._fed_s >= self._every_s
        if due and self._send("WATCHDOG=1"):  # where it fails, the next turn tries again
            self._fed_s = now_s

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Say that the end was asked for."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> bool:
        """Return whether it was sent; the first failure of a series is a warning."""
        if self._address is None:
            return False
        import socket  # slow to import, and most runs have no manager

        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.setblocking(False)  # a manager that is busy must not stall answers
                end.sendto(text.encode(), address)
        except OSError as error:
            if not self._failing:
                _log.warning("the service manager cannot be notified of %s: %s", text, error)
            self._failing = True
            return False
        self._failing = False
        return True
