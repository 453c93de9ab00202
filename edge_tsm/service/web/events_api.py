"""Events on the page: pages of them, their files by id, and what people say of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from edge_tsm.datatypes import Event
from edge_tsm.errors import SinkError
from edge_tsm.events import EventQuery, EventStore, Feedback
from edge_tsm.service.page_records import EventsRecord, FeedbackBody, PageEventRecord
from edge_tsm.service.web.asking import body_of, number, time_of_day
from edge_tsm.service.web.pictures import encode
from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.routes import Route, json_response
from edge_tsm.system.opencv import opencv

MOST_A_PAGE = 200
THUMB_PX = 320
_TYPES = {".mp4": "video/mp4", ".avi": "video/x-msvideo", ".jpg": "image/jpeg"}
_ID = "{id:[0-9A-Za-z-]{1,64}}"
_QUERY = {
    "camera": "id of a source",
    "label": "label of a class",
    "since": "ISO 8601: decided then or later",
    "until": "ISO 8601: decided before",
    "verdict": "up, down, or none",
    "before": "id of an event: older ones",
    "limit": f"1 to {MOST_A_PAGE}; 50",
}


class EventsApi:
    """Answers from an event store; its file is read in threads, not in the loop.

    Args:
        store: the events.
        labels: of the model.
    """

    def __init__(self, store: EventStore, labels: tuple[str, ...]) -> None:
        self._store, self._labels = store, labels

    def routes(self) -> list[Route]:
        """Return what is answered."""
        one = f"/api/v1/events/{_ID}"
        said = f"{one}/feedback"
        record = PageEventRecord
        return [
            Route(
                *("GET", "/api/v1/events", self._list, "Events, newest first"),
                answer=EventsRecord,
                query=_QUERY,
            ),
            Route("GET", one, self._one, "One event", answer=record),
            Route("GET", f"{one}/snapshot", self._snapshot, "Its picture", answer="image/jpeg"),
            Route("GET", f"{one}/clip", self._clip, "Its clip", answer="video/mp4"),
            Route(
                "GET", f"{one}/thumb.jpg", self._thumb, "Its picture, small", answer="image/jpeg"
            ),
            Route(
                *("PUT", said, self._judge, "Say whether it is right, and what it was"),
                body=FeedbackBody,
                answer=record,
                changes=True,
            ),
            Route("DELETE", said, self._unjudge, "Say nothing", answer=record, changes=True),
        ]

    def describe(self, event: Event) -> dict[str, Any]:
        """Return an event as the API tells of it; without what was said, where nobody can read."""
        said = None
        with suppress(SinkError):
            said = self._store.feedback(event.id)
        kinds = {media.kind for media in event.media}
        files = {"snapshot": "snapshot", "clip": "clip", "thumb": "snapshot"}
        paths = {"snapshot": "snapshot", "clip": "clip", "thumb": "thumb.jpg"}
        links = {
            name: f"/api/v1/events/{event.id}/{paths[name]}" if kind in kinds else None
            for name, kind in files.items()
        }
        return event.to_json() | {"feedback": said.to_json() if said else None, "links": links}

    async def _list(self, request: web.Request) -> web.StreamResponse:
        query = _query(request)
        most = number(request, "limit", 50, least=1, most=MOST_A_PAGE)
        return json_response(await asyncio.to_thread(self._page, query, most))

    def _page(self, query: EventQuery, most: int) -> dict[str, Any]:
        found = self._store.events(query, most=most + 1)
        events = found[:most]
        return {
            "events": [self.describe(event) for event in events],
            "next": events[-1].id if len(found) > most else None,
            "total": self._store.count(query),
        }

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return json_response(await asyncio.to_thread(self._described, request.match_info["id"]))

    def _described(self, event_id: str) -> dict[str, Any]:
        return self.describe(self._event(event_id))

    def _event(self, event_id: str) -> Event:
        event = self._store.event(event_id)
        if event is None:
            raise Refusal("not_found", "there is no such event")
        return event

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        return await self._media(request, "snapshot")

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        return await self._media(request, "clip")

    async def _media(self, request: web.Request, kind: str) -> web.StreamResponse:
        path = await asyncio.to_thread(self._path, request.match_info["id"], kind)
        headers = {
            "Content-Type": _TYPES.get(path.suffix, "application/octet-stream"),
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.name)}",
            "Cache-Control": "private, max-age=86400, immutable",
        }
        return web.FileResponse(path, headers=headers)

    def _path(self, event_id: str, kind: str) -> Path:
        """Return the file of an event: what the event file says, never what a request does."""
        paths = [Path(media.path) for media in self._event(event_id).media if media.kind == kind]
        for path in paths:
            if path.is_file():
                return path
        raise Refusal("not_found", f"there is no {kind} of this event")

    async def _thumb(self, request: web.Request) -> web.StreamResponse:
        jpeg = await asyncio.to_thread(self._small, request.match_info["id"])
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return web.Response(body=jpeg, content_type="image/jpeg", headers=headers)

    def _small(self, event_id: str) -> bytes:
        cv2 = opencv()
        image = cv2.imread(str(self._path(event_id, "snapshot")), cv2.IMREAD_COLOR)
        if image is None:
            raise Refusal("not_found", "the picture of this event cannot be read")
        return encode(image, longest_px=THUMB_PX)

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        verdict, label = body.get("verdict"), body.get("label")
        if verdict not in ("up", "down"):
            raise Refusal("bad_request", "verdict: up or down is needed")
        if label is not None and label not in self._labels:
            raise Refusal("bad_request", f"label: the model has no label {label!r:.80}")
        said = Feedback(verdict, label, datetime.now(timezone.utc))
        return await self._keep(request.match_info["id"], said)

    async def _unjudge(self, request: web.Request) -> web.StreamResponse:
        return await self._keep(request.match_info["id"], None)

    async def _keep(self, event_id: str, said: Feedback | None) -> web.StreamResponse:
        await asyncio.to_thread(self._event, event_id)
        try:
            await asyncio.to_thread(self._store.judge, event_id, said)
        except SinkError as error:
            raise Refusal("unavailable", str(error)) from error
        return json_response(await asyncio.to_thread(self._described, event_id))


def _query(request: web.Request) -> EventQuery:
    given, verdict = request.query, request.query.get("verdict")
    if verdict not in (None, "up", "down", "none"):
        raise Refusal("bad_request", "verdict: up, down or none is possible")
    return EventQuery(
        source=given.get("camera"),
        label=given.get("label"),
        since=time_of_day(request, "since"),
        until=time_of_day(request, "until"),
        verdict=verdict,  # type: ignore[arg-type]
        before=given.get("before"),
    )
