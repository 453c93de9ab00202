"""Where a broker is, who we are there, and what it is told."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tsm.errors import InputError
from edge_tsm.system.secrets import resolve

if TYPE_CHECKING:
    import ssl

PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class MqttOptions:
    """What else the sink `mqtt` is told, beside the broker's address.

    Args:
        user, password: of the login; they go before those of the address. The password may be
            `env:NAME` or `file:PATH`.
        ca: certificates in PEM that the broker's is checked against, instead of the system's.
        cert, key: a certificate of our own and its key, in PEM, not encrypted.
        device: what this run is called in topics and in Home Assistant; by default the host's name.
        discovery: first part of Home Assistant's topics; empty: it is told nothing.
        scores: publish every answer.
        snapshots: publish a picture at each start.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    device: str | None = None
    discovery: str = "homeassistant"
    scores: bool = False
    snapshots: bool = False


@dataclass(frozen=True)
class Broker:
    """A broker and the login there; `shown` is its address without it."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def shown(self) -> str:
        """The address for people, without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def broker_of(url: str, options: MqttOptions) -> Broker:
    """Read `mqtt[s]://[user:password@]host[:port]`.

    Raises:
        InputError: not such an address, a login without a user, or certificates that cannot be
            used; no message quotes what may be a password.

    >>> broker_of("mqtt://broker.local", MqttOptions()).shown
    'mqtt://broker.local:1883'
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whose message quotes what may be a password
        raise InputError("mqtt: not a URL; escape `/`, `@` and `:` in a password") from None
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in PORTS or not host or extra or not url.isascii() or " " in url:
        raise InputError(
            "mqtt: write mqtt://broker.local or mqtts://broker.local:8883, and nothing more"
        )
    user = options.user if options.user is not None else _plain(parts.username)
    password = resolve(options.password) if options.password else _plain(parts.password)
    if password and not user:
        raise InputError("mqtt: a password without a user; pass --mqtt-user")
    tls = _tls(options) if parts.scheme == "mqtts" else None
    if tls is None and (options.ca or options.cert or options.key):
        raise InputError("mqtt: certificates are for mqtts://; write that, or leave them out")
    return Broker(host, port or PORTS[parts.scheme], user, password, tls)


def _plain(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text)


def _tls(options: MqttOptions) -> ssl.SSLContext:
    import ssl  # slow to import, and every start reads the defaults here

    if (options.cert is None) != (options.key is None):
        raise InputError("mqtt: a certificate needs its key, and a key its certificate; pass both")
    file = options.ca
    try:
        context = ssl.create_default_context(cafile=file)
        if options.cert is not None:
            file = options.cert
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(options.cert, options.key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"mqtt: {file}: not a certificate that can be used ({reason})") from None
    return context
