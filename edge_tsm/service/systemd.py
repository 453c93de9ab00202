"""What systemd wants to hear from a service of `Type=notify` (sd_notify(3)).

The watchdog is fed by answers: a process that runs but no longer answers is restarted.
"""

from __future__ import annotations

import logging
import os
import socket
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
        self._is_ready, self._fed_s = False, float("-inf")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceNotifier:
        """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID describe."""
        address = environment.get("NOTIFY_SOCKET")
        limit_us = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_s = int(limit_us) / 1e6 if limit_us.isdecimal() and for_us else 0.0
        return cls(address or None, watchdog_s=limit_s or None)

    def answered(self, now_s: float) -> None:
        """An answer was given at this monotonic time: READY at the first, WATCHDOG in time."""
        if not self._is_ready:
            self._is_ready = True
            self._send("READY=1")
        if self._every_s is not None and now_s - self._fed_s >= self._every_s:
            self._fed_s = now_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """Say that the end was asked for."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
                end.setblocking(False)  # a manager that is busy must not stall answers
                end.sendto(text.encode(), address)
        except OSError as error:
            _log.warning("the service manager cannot be notified of %s: %s", text, error)
