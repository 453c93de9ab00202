"""Who may ask a server for what: host, origin, token, and how often one may be wrong."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from edge_tsm.errors import InputError
from edge_tsm.service.web.address import Address
from edge_tsm.service.web.problems import Refusal
from edge_tsm.system.cache import state_folder
from edge_tsm.system.files import private_file, private_folder
from edge_tsm.system.secrets import clean_secret, resolve

COOKIE = "edge_tsm"
SESSION_S = 30 * 86_400
SHORTEST_TOKEN = 16
MOST_FAILURES, FAILURES_S = 5, 60.0  # of one address; ten times as many of all together
MOST_ADDRESSES = 1024
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "style-src 'self'; script-src 'self'; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


class FailureLimit:
    """Counts wrong tokens by address, in bounded memory.

    >>> limit = FailureLimit(now=lambda: 0.0)
    >>> for _ in range(MOST_FAILURES):
    ...     limit.failed("192.0.2.1")
    >>> limit.wait_s("192.0.2.1") > 0, limit.wait_s("192.0.2.2")
    (True, 0.0)
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def failed(self, address: str) -> None:
        """Note a failure of an address."""
        for key, most in (("", 10 * MOST_FAILURES), (address, MOST_FAILURES)):
            times = self._failures.pop(key, [])
            self._failures[key] = [*times, self._now()][-most:]
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def wait_s(self, address: str) -> float:
        """Return how long an address has to wait before it may try again."""
        waits = [self._left_s("", 10 * MOST_FAILURES), self._left_s(address, MOST_FAILURES)]
        return max(waits)

    def _left_s(self, key: str, most: int) -> float:
        times = self._failures.get(key, [])
        return max(times[0] + FAILURES_S - self._now(), 0.0) if len(times) >= most else 0.0


@dataclass(frozen=True)
class Access:
    """Who may ask, as the options of a server say.

    Args:
        address: where it listens.
        token: what everyone has to know; empty: nobody has to.
        names: further names that it is called by.
        read_only: nothing may be changed.
        secure: it speaks TLS.
    """

    address: Address
    token: str = ""
    names: tuple[str, ...] = ()
    read_only: bool = False
    secure: bool = False

    def __post_init__(self) -> None:
        if not self.token and not self.address.is_loopback:
            raise InputError(f"{self.address} is reached from other machines; it needs a token")
        if self.token and len(self.token) < SHORTEST_TOKEN:
            raise InputError(f"the page's token is shorter than {SHORTEST_TOKEN} characters")


class Guard:
    """Lets requests pass, or raises a `Refusal`."""

    def __init__(self, access: Access, *, now: Callable[[], float] = time.monotonic) -> None:
        self.access = access
        self._failures = FailureLimit(now=now)
        self._names = {"localhost", *map(str.lower, access.names), *_own_names(access.address)}
        # Cookies outlast a restart and are worth nothing elsewhere: they are signed, not stored.
        self._key = hashlib.sha256(f"edge-tsm session {access.token}".encode()).digest()

    def check_place(self, request: web.Request) -> None:
        """Refuse a request that was made by, or by way of, a page of someone else.

        A name that is not ours and leads here is DNS rebinding; browsers say in `Origin` and
        `Sec-Fetch-Site` whose page asks.

        Raises:
            Refusal: forbidden.
        """
        host = request.headers.get("Host", "")
        if not self._is_own(host):
            raise Refusal("forbidden", "this name is not one of the page's; see --page-host")
        origin = request.headers.get("Origin")
        if origin is not None and (
            urlsplit(origin).scheme not in ("http", "https") or urlsplit(origin).netloc != host
        ):
            raise Refusal("forbidden", "a page of another origin asks")
        visits = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in ("same-origin", "none") and not visits:
            raise Refusal("forbidden", "a page of another site asks")

    def is_known(self, request: web.Request) -> bool:
        """Return whether the request comes from someone who knows the token.

        Raises:
            Refusal: it brings a wrong one, or too many have been wrong.
        """
        if not self.access.token or self._is_session(request.cookies.get(COOKIE, "")):
            return True
        given = _given_token(request.headers.get("Authorization", ""))
        if given is None:
            return False
        self.check_token(given, request.remote or "")
        return True

    def check_token(self, given: str, address: str) -> None:
        """Refuse a wrong token.

        Raises:
            Refusal: forbidden, or too many requests.
        """
        wait_s = self._failures.wait_s(address)
        if wait_s:
            message = f"too many wrong tokens; try again in {wait_s:.0f} s"
            raise Refusal("too_many_requests", message, retry_after_s=int(wait_s) + 1)
        if not hmac.compare_digest(_digest(given), _digest(self.access.token)):
            self._failures.failed(address)
            raise Refusal("forbidden", "the token is wrong")

    def session(self) -> str:
        """Return the value of a new cookie."""
        until = str(int(time.time()) + SESSION_S)
        return f"{until}.{self._signature(until)}"

    def _is_session(self, value: str) -> bool:
        until, _, signature = value[:256].partition(".")
        genuine = hmac.compare_digest(_digest(signature), _digest(self._signature(until)))
        return genuine and until.isdecimal() and time.time() < int(until)

    def _signature(self, until: str) -> str:
        return hmac.new(self._key, until.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            is_loopback = ipaddress.ip_address(name).is_loopback
        except ValueError:
            return (
                bool(host)
                and _NAME.fullmatch(host.split(":")[0]) is not None
                and (host.split(":")[0].lower() in self._names)
            )
        # An address that is no name cannot be rebound.
        return is_loopback or not self.access.address.is_loopback


def find_token(text: str | None) -> tuple[str, Path | None]:
    """Return the token that `env:NAME` or `file:PATH` names, or the machine's own.

    The own one is made once and kept in a file for its owner alone, which is returned where it was
    made just now.

    Raises:
        InputError: it is not there, or the file cannot be written.
    """
    if text is not None:
        if resolve(text) == text:
            raise InputError("--page-token: write env:NAME or file:PATH; `ps` shows arguments")
        return resolve(text), None
    path = token_path()
    try:
        private_folder(path.parent)
        with private_file(path, "x") as stream:
            stream.write(secrets.token_urlsafe(24) + "\n")
        made: Path | None = path
    except FileExistsError:
        made = None
    except OSError as error:
        raise InputError(
            f"{path}: the page's token cannot be kept there ({error.strerror}); "
            "name one with --page-token file:PATH or env:NAME"
        ) from error
    return clean_secret(resolve(f"file:{path}"), str(path)), made


def token_path() -> Path:
    """Return where the machine's own token is kept: the service manager's folder, or the user's."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    folder = Path(given) if given else state_folder()
    return folder / "page-token"


def _own_names(address: Address) -> Iterable[str]:
    if address.is_loopback:
        return ()
    name = socket.gethostname().lower()
    return (name, f"{name}.local", f"{name}.lan", address.host.lower())


def _given_token(header: str) -> str | None:
    """Return the token of `Bearer TOKEN`, or the password of `Basic …`, as cameras are given."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _digest(text: str) -> bytes:
    """Return as many bytes whatever the text: a comparison then takes the same time always."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
