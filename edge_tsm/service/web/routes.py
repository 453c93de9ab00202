"""What a server answers: a table of routes, which its OpenAPI description is made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from edge_tsm.system.jsontext import to_json

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One thing that a server answers.

    Args:
        method, path: as aiohttp has them: `{name}` in the path is a part that varies.
        handler: answers it.
        summary: what it is, for the OpenAPI description.
        body: the `TypedDict` of what is sent, where JSON is.
        answer: the `TypedDict` of the answer, or its media type.
        query: what may stand behind the `?`, with what it means.
        open: nobody is asked for a token.
        changes: it changes something, and is refused where nothing may be changed.
        documented: it is part of the API.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: type | None = None
    answer: type | str | None = None
    query: dict[str, str] = field(default_factory=dict)
    open: bool = False
    changes: bool = False
    documented: bool = True


def json_response(value: Any, *, status: int = 200) -> web.Response:
    """Return an answer of JSON."""
    return web.Response(text=to_json(value), status=status, content_type="application/json")
