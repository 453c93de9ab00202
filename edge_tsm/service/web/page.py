"""The page of a run: its server, what it answers, and the sink that brings it what happens."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from aiohttp import web

import edge_tsm
from edge_tsm.datatypes import Event, Frame, Prediction, StateChange, iso
from edge_tsm.errors import EdgeTsmError
from edge_tsm.live.assembler import AssembledClip
from edge_tsm.service.figures import Figures
from edge_tsm.service.page_records import SessionRecord, StatsRecord, VersionRecord
from edge_tsm.service.rule_layers import RuleLayers
from edge_tsm.service.running import Running
from edge_tsm.service.tuning import RuleBook
from edge_tsm.service.web.asking import body_of
from edge_tsm.service.web.cameras_api import CamerasApi
from edge_tsm.service.web.events_api import EventsApi
from edge_tsm.service.web.hub import Hub
from edge_tsm.service.web.openapi import openapi
from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.routes import Route, json_response
from edge_tsm.service.web.rules_api import RulesApi
from edge_tsm.service.web.security import COOKIE, SESSION_S
from edge_tsm.service.web.server import WebServer
from edge_tsm.service.web.sink import PageSink
from edge_tsm.service.web.static_files import StaticFiles

TICK_S, STATS_S = 0.25, 2.0
MOST_RECENT = 50  # events whose files may be on their way
PACKAGE = Path(edge_tsm.__file__).parent
SCHEMAS = {
    "event": "events/event.schema.json",
    "state": "events/state.schema.json",
    "answer": "sinks/answer.schema.json",
    "rules": "actions/rules.schema.json",
    "config": "service/config.schema.json",
    "page": "service/page.schema.json",
}
_log = logging.getLogger(__name__)


class Page:
    """Shows a run from `attach` on; before, it is a sink that drops what it is given.

    Args:
        server: answers; it belongs to the page, which starts and closes it.
    """

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self._shown: _Shown | None = None

    def attach(self, running: Running, layers: RuleLayers) -> None:
        """Show a run, whose rules come from these layers; the server begins to answer."""
        shown = _Shown(self.server, running, layers)
        self.server.add(shown.routes())
        self.server.start(on_stop=shown.stop)
        self.server.call(shown.begin)
        self._shown = shown

    def frame(self, frame: Frame, source: str) -> None:
        """Take a picture."""
        if self._shown:
            self._shown.sink.frame(frame, source)

    def clip(self, clip: AssembledClip, source: str) -> None:
        """Take what the model is about to see."""
        if self._shown:
            self._shown.sink.clip(clip, source)

    def write(self, prediction: Prediction, source: str) -> None:
        """Take an answer."""
        if self._shown:
            self._shown.sink.write(prediction, source)

    def state(self, change: StateChange) -> None:
        """Take a change of a source's state."""
        if self._shown:
            self._shown.sink.state(change)

    def close(self) -> None:
        """Close the server, and every connection."""
        self.server.close()


class _Shown:
    """All that is made for a run: routes, the hub, and the task that looks after them."""

    def __init__(self, server: WebServer, running: Running, layers: RuleLayers) -> None:
        card = running.recognizer.card
        self._server, self._running = server, running
        self._figures = Figures(running)
        self._events = EventsApi(running.store, running.labels)
        self._hub = Hub(self._described, lambda key: self.sink.studio.want(key))
        self.sink = PageSink(
            server.call,
            self._hub,
            running.clock,
            steps=card.streaming.horizon if card.streaming else 1,
            color=card.preprocess.color,
        )
        self._book = RuleBook(layers, running)
        self._rules = RulesApi(self._book, self._hub.tell)
        self._cameras = CamerasApi(running, self._hub, self.sink, self._book)
        self._recent = OrderedDict[str, Event]()
        self._store_version = running.store.version
        self._task: asyncio.Task[None] | None = None
        running.monitor.listen(lambda *switched: server.call(self._tell_enabled, *switched))

    def routes(self) -> list[Route]:
        """Return all that is answered."""
        schema = "/api/v1/schemas/{name:[a-z]{1,20}}.schema.json"
        session = "/api/v1/session"
        return [
            Route(
                *("GET", "/api/v1/version", self._version, "What answers"),
                answer=VersionRecord,
                open=True,
            ),
            Route("POST", session, self._sign_in, "Sign in", body=SessionRecord, open=True),
            Route("DELETE", session, self._sign_out, "Sign out", open=True),
            *self._cameras.routes(),
            *self._events.routes(),
            *self._rules.routes(),
            Route("GET", "/api/v1/stats", self._stats, "Health, in figures", answer=StatsRecord),
            Route(
                *("GET", "/api/v1/report", self._report, "Health, as text without secrets"),
                answer="text/plain",
            ),
            Route(
                *("GET", "/api/v1/openapi.json", self._openapi, "This description"),
                answer="application/json",
            ),
            Route("GET", schema, self._schema, "A JSON Schema", answer="application/schema+json"),
            *StaticFiles().routes(),
        ]

    def begin(self) -> None:
        """Begin to look after what is shown; in the loop."""
        self._task = asyncio.ensure_future(self._look_after())

    async def stop(self) -> None:
        """End it, and what waits for pictures."""
        self._hub.stop()
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _look_after(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._hub.let_go()
            try:
                if self._book.expire():
                    self._rules.tell()
                await self._tell_files()
                if self._hub.viewers and ticks % round(STATS_S / TICK_S) == 0:
                    self._hub.newest("stats", {"type": "stats", "stats": await self._figured()})
            except EdgeTsmError as error:  # an event file on a disk that is full, or gone
                _log.debug("page: %s", error)

    def _tell_enabled(self, camera: str, on: bool) -> None:
        self._hub.tell({"type": "enabled", "camera": camera, "enabled": on})

    async def _tell_files(self) -> None:
        """Show events again that have a file by now."""
        version = self._running.store.version
        if version == self._store_version:
            return
        self._store_version = version
        for event_id, before in list(self._recent.items()):
            event = await asyncio.to_thread(self._running.store.event, event_id)
            if event is not None and event.media != before.media:
                self._hub.event(event)

    def _described(self, event: Event) -> dict[str, Any]:
        """Return an event as the API tells of it, and remember that files may follow."""
        self._recent[event.id] = event
        self._recent.move_to_end(event.id)
        while len(self._recent) > MOST_RECENT:
            self._recent.popitem(last=False)
        return self._events.describe(event)

    async def _figured(self) -> dict[str, Any]:
        studio, viewers = self.sink.studio, self._hub.viewers
        page = {
            "viewers": self._hub.watchers,
            "encodes": studio.encodes,
            "pictures_sent": sum(viewer.sent for viewer in viewers),
            "pictures_skipped": sum(viewer.skipped for viewer in viewers),
            "encode_ms": round(studio.encode_ms, 2),
        }
        return {**await asyncio.to_thread(self._figures.report), "page": page}

    async def _version(self, request: web.Request) -> web.StreamResponse:
        guard = self._server.guard
        return json_response(
            {
                "version": edge_tsm.__version__,
                "api": 1,
                "auth": "token" if guard.access.token else "none",
                "signed_in": guard.is_known(request),
                "read_only": guard.access.read_only,
                "utc": iso(datetime.now(timezone.utc)),
                "started_utc": iso(self._running.started_utc),
            }
        )

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        guard, token = self._server.guard, (await body_of(request)).get("token")
        if not guard.access.token:
            raise Refusal("conflict", "nobody has to sign in here")
        guard.check_token(token if isinstance(token, str) else "", request.remote or "")
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            guard.session(),
            max_age=SESSION_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=guard.access.secure,
        )
        return response

    async def _sign_out(self, _: web.Request) -> web.StreamResponse:
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response

    async def _stats(self, _: web.Request) -> web.StreamResponse:
        return json_response(await self._figured())

    async def _report(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=await asyncio.to_thread(self._figures.text))

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        return json_response(openapi(self._server.routes))

    async def _schema(self, request: web.Request) -> web.StreamResponse:
        name = SCHEMAS.get(request.match_info["name"])
        if name is None:
            raise Refusal("not_found", f"there is {', '.join(SCHEMAS)}")
        return web.FileResponse(PACKAGE / name, headers={"Content-Type": "application/json"})
