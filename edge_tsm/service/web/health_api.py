"""Metrics and health on the page's server."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edge_tsm.service.endpoints import Endpoints
from edge_tsm.service.web.routes import Route


def health_routes(endpoints: Endpoints) -> list[Route]:
    """Return the routes of what there is; who asks needs no token, as nothing there is a secret."""

    async def answer(request: web.Request) -> web.StreamResponse:
        accept = request.headers.get("Accept", "")
        reply = await asyncio.to_thread(endpoints.reply, request.path, accept)
        headers = {"Content-Type": reply.content_type, "Cache-Control": "no-store"}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    return [
        Route("GET", path, answer, summary, open=True, documented=False)
        for path, summary in endpoints.paths.items()
    ]
