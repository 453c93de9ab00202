"""What a request says, read strictly: its query and its JSON."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from typing import Any, TypeVar

from aiohttp import web

from edge_tsm.service.web.problems import Refusal

BODY_S = 10.0
Number = TypeVar("Number", int, float)


def number(
    request: web.Request, name: str, default: Number, *, least: Number, most: Number
) -> Number:
    """Return a number behind the `?`.

    Raises:
        Refusal: it is none, or out of range.
    """
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        raise Refusal("bad_request", f"{name}={text!r:.40}: a number is needed") from None
    if not least <= value <= most:
        raise Refusal("bad_request", f"{name}={text:.40}: {least} to {most} is possible")
    return value


def time_of_day(request: web.Request, name: str) -> datetime | None:
    """Return a time behind the `?`; without an offset it is UTC.

    Raises:
        Refusal: it is not ISO 8601.
    """
    text = request.query.get(name)
    if not text:
        return None
    try:
        # A `+` of an offset that was not escaped is a blank here; `Z` is read from Python 3.11 on.
        time = datetime.fromisoformat(text.replace(" ", "+").replace("Z", "+00:00"))
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise Refusal("bad_request", f"{name}={text!r:.60}: write it in ISO 8601") from None


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        Refusal: it is something else.
    """
    if request.content_type != "application/json":
        raise Refusal("bad_request", "send JSON, as application/json")
    try:
        value = json.loads(await asyncio.wait_for(request.text(), BODY_S))
    except asyncio.TimeoutError:
        raise Refusal("timeout", f"this did not come within {BODY_S:g} s") from None
    except (ValueError, RecursionError, LookupError):
        raise Refusal("bad_request", "this is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal("bad_request", "an object is needed")
    return value
