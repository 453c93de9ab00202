"""The topics of a run, and names that are safe in them."""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass

ROOT = "edge-tsm"
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
_OTHER_BUT_DOTS = re.compile(r"[^A-Za-z0-9_.-]+")  # which ids of sources may have
_LONGEST = 64


def safe_id(name: str, *, dots: bool = False) -> str:
    """Return a name for topics and ids: only `A-Za-z0-9_-`; other names stay apart by a checksum.

    >>> safe_id("porch"), safe_id("a/b"), safe_id("a#b")
    ('porch', 'a_b-c14cdd', 'a_b-8187fc')
    """
    safe = (_OTHER_BUT_DOTS if dots else _OTHER).sub("_", name)[:_LONGEST]
    if safe == name and safe:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe or '_'}-{digest[:6]}"


@dataclass(frozen=True)
class Topics:
    """The topics of a device, by its name.

    >>> topics = Topics("hall")
    >>> topics.status, topics.of("porch", "action")
    ('edge-tsm/hall/status', 'edge-tsm/hall/porch/action')
    """

    name: str

    @classmethod
    def here(cls, name: str | None) -> Topics:
        """Return those of a name, or of this host's."""
        return cls(name or socket.gethostname().partition(".")[0] or "device")

    @property
    def device(self) -> str:
        """The device's id."""
        return safe_id(self.name)

    @property
    def status(self) -> str:
        """`online` or `offline`."""
        return self._own("status")

    @property
    def info(self) -> str:
        """What runs."""
        return self._own("info")

    @property
    def stats(self) -> str:
        """Rates and delays."""
        return self._own("stats")

    @property
    def commands(self) -> str:
        """The pattern of what the device is told."""
        return self._own("+/enabled/set")

    def of(self, source: str, what: str) -> str:
        """Return a topic of a source."""
        return self._own(f"{safe_id(source, dots=True)}/{what}")

    def _own(self, what: str) -> str:
        return f"{ROOT}/{self.device}/{what}"
