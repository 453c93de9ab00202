"""Events posted to an HTTP server, as JSON."""

from __future__ import annotations

import base64
import logging
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPSConnection,
    InvalidURL,
    RemoteDisconnected,
    responses,
)
from typing import IO, Any

from edge_tsm.errors import InputError
from edge_tsm.events import EventStore, Message
from edge_tsm.sinks import SinkContext
from edge_tsm.sinks.exposure import exposures
from edge_tsm.sinks.outbox import Outbox, Refused, Unavailable
from edge_tsm.system.secrets import clean_secret, resolve

TIMEOUT_S = 10.0
TOKEN_VARIABLE = "EDGE_TSM_WEBHOOK_TOKEN"
_log = logging.getLogger(__name__)
_BUSY = (408, 425, 429)  # with 5xx: worth another try


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Webhook:
    """POSTs each message, an `edge_tsm.events.record.EventRecord`, to one URL.

    `Idempotency-Key` and `X-Edge-TSM-Event` are the same for every attempt: the event's id and the
    kind. A status of 2xx accepts it; 5xx, 408, 425 and 429 ask for another attempt, after
    `Retry-After` where it is given, in seconds or as a date; any other refuses it. Redirects are
    refused: they would turn the POST into a GET.

    Args:
        url: http or https; a `user:password@` in it becomes basic authorization.
        token: sent as a bearer token; neither it nor the path of the URL is ever shown.
        timeout_s: for all of one attempt, however slowly the server drips.
        wall: the time of day, which dates of `Retry-After` are compared with.

    Raises:
        InputError: not such a URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wall: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._url, self._headers, self.shown = _split(url, token)
        self.authorizes = "Authorization" in self._headers
        self._timeout_s, self._wall = timeout_s, wall
        self._limit: _Limit | None = None

    def send(self, message: Message) -> None:
        """Make one attempt; return when the server has accepted the message.

        Raises:
            Refused: the server will not take it.
            Unavailable: it may, later.
        """
        with _limited(self._timeout_s) as limit:
            self._limit = limit
            try:
                self._post(message, limit)
            except (OSError, HTTPException) as error:
                raise self._translated(error) from None
            if limit.was_cut:  # what looks like an accepting answer is the start of one
                raise self._translated(TimeoutError())

    def cancel(self) -> None:
        """End an attempt that is under way."""
        if self._limit is not None:
            self._limit.cut()

    def _post(self, message: Message, limit: _Limit) -> None:
        headers = {"Idempotency-Key": message.key, "X-Edge-TSM-Event": message.key}
        request = urllib.request.Request(
            self._url, message.body.encode(), {**self._headers, **headers}, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirect, _Handler(limit), _SecureHandler(limit))
        with opener.open(request, timeout=self._timeout_s):
            pass

    def _translated(self, error: OSError | HTTPException) -> Refused | Unavailable:
        late = self._limit is not None and self._limit.was_cut
        late = late or isinstance(getattr(error, "reason", error), TimeoutError)
        reason = f"no answer within {self._timeout_s:g} s" if late else _reason(error)
        text, retry_after_s = f"{self.shown}: {reason}", self._retry_after_s(error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        if late or _is_passing(error):
            return Unavailable(text, retry_after_s=retry_after_s)
        return Refused(text)

    def _retry_after_s(self, error: OSError | HTTPException) -> float:
        """Return how long a busy server asks to be left alone (RFC 9110, 10.2.3), or 0."""
        text = error.headers.get("Retry-After") if isinstance(error, urllib.error.HTTPError) else ""
        if not text or (text.isascii() and text.isdecimal()):
            return float(text or 0)
        try:
            return (parsedate_to_datetime(text) - self._wall()).total_seconds()
        except (TypeError, ValueError, OverflowError):  # no date, or one without a zone
            return 0.0


class _Limit:
    """Ends an exchange in time: a server that sends a byte now and then meets every read's limit.

    It holds a second handle of the connection, as TLS takes the first one away.
    """

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s
        self._twin: socket.socket | None = None
        self._lock, self.was_cut = threading.Lock(), False

    def connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        """Connect as `socket.create_connection` does, in what is left of the time."""
        left_s = max(self._until_s - time.monotonic(), 0.001)
        end = socket.create_connection(address, left_s)
        with self._lock:
            self._twin = end.dup()
        if self.was_cut:
            self.cut()
        return end

    def cut(self) -> None:
        """End the connection, from any thread."""
        with self._lock:
            self.was_cut = True
            if self._twin is not None:
                with suppress(OSError):
                    self._twin.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close what is held."""
        with self._lock:
            if self._twin is not None:
                self._twin.close()
                self._twin = None


@contextmanager
def _limited(timeout_s: float) -> Iterator[_Limit]:
    limit = _Limit(timeout_s)
    timer = threading.Timer(timeout_s, limit.cut)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
        limit.release()


def _opened(kind: type[HTTPConnection], limit: _Limit) -> Callable[..., HTTPConnection]:
    """Return what makes connections of a kind within the limit."""

    def make(*arguments: Any, **options: Any) -> HTTPConnection:
        connection = kind(*arguments, **options)
        connection._create_connection = limit.connect  # type: ignore[attr-defined]
        return connection

    return make


class _Handler(urllib.request.HTTPHandler):
    def __init__(self, limit: _Limit) -> None:
        super().__init__()
        self._open = _opened(HTTPConnection, limit)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._open, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, limit: _Limit) -> None:
        super().__init__()
        self._open = _opened(HTTPSConnection, limit)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._open, req)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], *_: Any, **__: Any
    ) -> None:
        """Follow none; the opener then raises HTTPError."""


def _split(url: str, token: str | None) -> tuple[str, Mapping[str, str], str]:
    """Return the URL without credentials, the headers, and what may be shown of the URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whose message quotes what may be a password
        raise InputError("webhook: not a URL; escape `/`, `@` and `:` in a password") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or " " in url:
        raise InputError("webhook: pass an http:// or https:// URL, in ASCII and without spaces")
    headers = {"Content-Type": "application/json", "User-Agent": "edge-tsm"}
    if parts.username is not None:
        pair = f"{_plain(parts.username)}:{_plain(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    if token:
        headers["Authorization"] = f"Bearer {_header_text(token)}"
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    bare = urllib.parse.urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    return bare, headers, f"{parts.scheme}://{place}"


def _header_text(token: str) -> str:
    cleaned = clean_secret(token, "webhook token")
    if not cleaned.isascii() or " " in cleaned:
        raise InputError("webhook token: holds a space or a character outside ASCII")
    return cleaned


def _plain(text: str) -> str:
    return urllib.parse.unquote(text)


def _is_passing(error: OSError | HTTPException) -> bool:
    """Return whether the same post may succeed later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in _BUSY
    return not isinstance(error, InvalidURL)


def _reason(error: OSError | HTTPException) -> str:
    """Return what happened, without the URL, whose path may be a secret, or the server's words."""
    if isinstance(error, urllib.error.HTTPError):
        hint = "; pass the address it redirects to" if 300 <= error.code < 400 else ""
        return f"the server says {error.code} {responses.get(error.code, '')}".rstrip() + hint
    if isinstance(error, RemoteDisconnected):
        return "the server closed the connection without an answer"
    if isinstance(error, HTTPException):
        return f"the server does not speak HTTP ({type(error).__name__})"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or type(reason).__name__)


def open_webhook(value: str, context: SinkContext) -> Outbox:
    """Open the sink `webhook` of a URL; EDGE_TSM_WEBHOOK_TOKEN is its bearer token, or names it.

    Raises:
        InputError: no URL, or a token that cannot be sent or found.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    hook = Webhook(value, token=clean_secret(resolve(token), TOKEN_VARIABLE) if token else None)
    for exposure in exposures(value) if hook.authorizes else ():
        _log.warning("webhook %s: %s", hook.shown, exposure)
    store = context.store or EventStore(clock=context.clock)
    return Outbox(hook, store, name=context.name, clock=context.clock, owned=context.store is None)
