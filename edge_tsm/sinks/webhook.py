"""Events posted to an HTTP server, as JSON."""

from __future__ import annotations

import base64
import json
import os
import random
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http.client import HTTPException, InvalidURL
from typing import IO, Any

from edge_tsm.datatypes import Prediction
from edge_tsm.errors import InputError, SinkError
from edge_tsm.sinks import SinkContext
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock

ATTEMPTS = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
TIMEOUT_S = 5.0
TOKEN_VARIABLE = "EDGE_TSM_WEBHOOK_TOKEN"
_BUSY = (408, 425, 429)  # with 5xx: worth another try


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Webhook:
    """POSTs `{"source", "address", "time", "events"}` where an answer starts or ends an action.

    A server that is away or busy is tried again, with pauses that double; one that refuses is not.
    Where it names a `Retry-After`, in seconds or as a date, the pause is at least that long, up to
    `LONGEST_PAUSE_S`: later events wait behind this one.
    Redirects are refused: they would turn the POST into a GET.

    Args:
        url: http or https; a `user:password@` in it becomes basic authorization.
        token: sent as a bearer token; neither it nor the path of the URL is ever shown.
        clock: what pauses are measured with.
        wall: the time of day that is sent.
        seed: of the pauses' jitter, which keeps many devices from coming back at once.

    Raises:
        InputError: not such a URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        wall: Callable[[], datetime] = _utc_now,
        seed: int | None = None,
    ) -> None:
        self._url, self._headers, self.shown = _split(url, token)
        self._changed, self._canceled = clock.condition(), False
        self._wall = wall
        self._random = random.Random(seed)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def write(self, prediction: Prediction, source: str) -> None:
        """Post the events of this answer, if it has any; returns when they are accepted.

        Raises:
            SinkError: the server refuses, or does not answer in the last attempt either.
        """
        if not prediction.events:
            return
        record = {
            "source": source,
            "address": prediction.address,
            "time": self._wall().isoformat(timespec="milliseconds"),
            "events": [event.to_json() for event in prediction.events],
        }
        self._deliver(json.dumps(record, ensure_ascii=False).encode())

    def cancel(self) -> None:
        """End the pause between two attempts; there are no further ones."""
        with self._changed:
            self._canceled = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is held between posts."""

    def _deliver(self, body: bytes) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self._post(body)
                return
            except (OSError, HTTPException) as error:
                if (
                    attempt + 1 == ATTEMPTS
                    or not _is_passing(error)
                    or not self._pause(attempt, error)
                ):
                    raise SinkError(f"webhook {self.shown}: {_reason(error)}") from None

    def _post(self, body: bytes) -> None:
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        with self._opener.open(request, timeout=TIMEOUT_S):
            pass

    def _pause(self, attempt: int, error: OSError | HTTPException) -> bool:
        """Wait before the next attempt; False when there is to be none."""
        pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S) * self._random.uniform(0.5, 1.0)
        pause_s = min(max(pause_s, self._retry_after_s(error)), LONGEST_PAUSE_S)
        with self._changed:
            if not self._canceled:
                self._changed.wait(pause_s)
            return not self._canceled

    def _retry_after_s(self, error: OSError | HTTPException) -> float:
        """Return how long a busy server asks to be left alone (RFC 9110, 10.2.3), or 0."""
        text = error.headers.get("Retry-After") if isinstance(error, urllib.error.HTTPError) else ""
        if not text or text.isdecimal():
            return float(text or 0)
        try:
            return (parsedate_to_datetime(text) - self._wall()).total_seconds()
        except (TypeError, ValueError):  # no date, or one without a zone
            return 0.0


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
    except ValueError as error:
        raise InputError(f"webhook: not a URL ({error})") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or " " in url:
        raise InputError("webhook: pass an http:// or https:// URL, in ASCII and without spaces")
    headers = {"Content-Type": "application/json", "User-Agent": "edge-tsm"}
    if parts.username is not None:
        pair = f"{_plain(parts.username)}:{_plain(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    bare = urllib.parse.urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    return bare, headers, f"{parts.scheme}://{place}"


def _plain(text: str) -> str:
    return urllib.parse.unquote(text)


def _is_passing(error: OSError | HTTPException) -> bool:
    """Return whether the same post may succeed later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in _BUSY
    return not isinstance(error, InvalidURL)


def _reason(error: OSError | HTTPException) -> str:
    """Return what happened, without the URL, whose path may be a secret."""
    if isinstance(error, urllib.error.HTTPError):
        hint = "; pass the address it redirects to" if 300 <= error.code < 400 else ""
        return f"the server says {error.code} {error.reason}{hint}"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def open_webhook(value: str, context: SinkContext) -> Webhook:
    """Open the sink `webhook` of a URL; EDGE_TSM_WEBHOOK_TOKEN is its bearer token."""
    return Webhook(value, token=os.environ.get(TOKEN_VARIABLE), clock=context.clock)
