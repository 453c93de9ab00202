"""Where a server listens: `HOST:PORT`, with what may be left out."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from edge_tsm.errors import InputError

PORT = 8765
_HOST = r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9.-]*"
_ALONE = r"\[[0-9A-Fa-f:.%]+\]|localhost|[0-9]+(?:\.[0-9]+){3}"  # a name needs a port
_FORM = re.compile(rf"(?:({_HOST}):)?(\d{{1,5}})|({_ALONE})")


@dataclass(frozen=True)
class Address:
    """A host and a port; port 0 lets the system choose one.

    >>> Address.parse("8080"), Address.parse("[::1]:80").host
    (Address(host='127.0.0.1', port=8080), '::1')
    """

    host: str = "127.0.0.1"
    port: int = PORT

    @classmethod
    def parse(cls, text: str, *, port: int = PORT) -> Address:
        """Return what `HOST:PORT`, `PORT` or `HOST` says.

        Raises:
            InputError: it is none of these.
        """
        found = _FORM.fullmatch(text)
        number = int(found[2]) if found and found[2] else port
        if not found or number > 65535:
            raise InputError(f"{text!r} is no address; write HOST:PORT, as 127.0.0.1:{port}")
        host = (found[1] or found[3] or "127.0.0.1").strip("[]")
        return cls(host, number)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def listen(self) -> socket.socket:
        """Return a socket that listens there.

        Raises:
            InputError: the port is in use, or it is no address of this machine.
        """
        try:
            family, kind, _, _, where = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind)
        except OSError as error:
            raise InputError(f"{self}: cannot be listened on ({error.strerror})") from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise InputError(
                f"{self}: cannot be listened on ({error.strerror}); choose another port, "
                f"as {Address(self.host, self.port + 1 if self.port < 65535 else PORT)}"
            ) from error
        return listener

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
