"""Cameras on the page: what they are, their last minutes, pictures, and the socket of it all."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web

import edge_tsm
from edge_tsm.datatypes import Counts, iso
from edge_tsm.errors import InputError
from edge_tsm.inference.preprocess import source_box
from edge_tsm.service.page_records import CameraRecord, CamerasRecord, ScoresRecord
from edge_tsm.service.running import Running
from edge_tsm.service.tuning import RuleBook
from edge_tsm.service.web.asking import number
from edge_tsm.service.web.hub import CameraView, Hub, Moment
from edge_tsm.service.web.pictures import PICTURE, SEEN, Key, Picture
from edge_tsm.service.web.problems import Refusal
from edge_tsm.service.web.routes import Route, json_response
from edge_tsm.service.web.sink import PageSink
from edge_tsm.service.web.viewers import MOST_TOP, View, Viewer

MOST_WATCHERS = 32
MOST_MESSAGE_BYTES = 16 * 1024
PICTURE_S = 2.0
STREAM_S = 10.0
CLOSE_S = 0.2  # to say farewell in: Ctrl-C ends everything within a second
SEND_BUFFER_BYTES = 128 * 1024
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_ID = "{id:[A-Za-z0-9_.-]{1,64}}"
_BOUNDARY = "edge-tsm-picture"
_SCORES = {
    "seconds": "1 to 600; 600",
    "classes": f"indices, {MOST_TOP} at most, with commas",
    "top": "best classes; 3",
}


class CamerasApi:
    """Answers what is asked of cameras, and holds the sockets of the pages that are open."""

    def __init__(self, running: Running, hub: Hub, sink: PageSink, book: RuleBook) -> None:
        self._running, self._hub, self._sink, self._book = running, hub, sink, book

    def routes(self) -> list[Route]:
        """Return what is answered."""
        one = f"/api/v1/cameras/{_ID}"
        return [
            Route(
                *("GET", "/api/v1/cameras", self._list, "All cameras, and the model"),
                answer=CamerasRecord,
            ),
            Route("GET", one, self._one, "One camera", answer=CameraRecord),
            Route(
                *("GET", f"{one}/scores", self._scores, "Its last minutes"),
                answer=ScoresRecord,
                query=_SCORES,
            ),
            Route("GET", f"{one}/picture.jpg", self._picture, "Its picture", answer="image/jpeg"),
            Route(
                *("GET", f"/cam/{_ID}.mjpg", self._stream, "Its pictures"),
                answer="multipart/x-mixed-replace",
            ),
            Route("GET", "/ws", self._socket, "Pictures, answers and events as they come"),
        ]

    def cameras(self) -> dict[str, Any]:
        """Return what the model and all cameras are."""
        card, recognizer = self._running.recognizer.card, self._running.recognizer
        variant = recognizer.variant
        return {
            "labels": list(card.labels),
            "activation": card.output.activation,
            "model": {
                "name": card.name,
                "file": variant.file.path if variant else None,
                "engine": recognizer.backend.engine,
                "device": recognizer.backend.device,
                "segments": card.sampling.segments,
                "window_s": self._running.pipeline.window_s,
                "every_s": card.sampling.every_s,
                "online": card.streaming is not None,
            },
            "cameras": [self._camera(counts) for counts in self._running.monitor.counts()],
        }

    def _camera(self, counts: Counts) -> dict[str, Any]:
        view = self._hub.views.get(counts.source, CameraView())
        size, pace = self._sink.sizes.get(counts.source), self._pace_of(counts.source)
        return {
            "id": counts.source,
            "address": counts.address,
            "live": True,
            "enabled": self._running.monitor.enabled().get(counts.source, True),
            "state": counts.state,
            "state_s": round(counts.state_s, 1),
            "reason": view.reason,
            "size": list(size) if size else None,
            "sees": self._sees(size) if size else None,
            "action": view.action,
            "actions": [self._running.labels[index] for index in view.on],
            **pace,
            "last_answer_utc": iso(view.last_utc),
        }

    def _pace_of(self, source: str) -> dict[str, float]:
        try:
            pace = self._running.pipeline.pace_of(source)
        except InputError:  # it was removed just now
            return {"window_s": self._running.pipeline.window_s, "every_s": 0.0}
        return {"window_s": pace.window_s, "every_s": pace.every_s}

    def _sees(self, size: tuple[int, int]) -> list[float]:
        """Return what the model's crop covers of a picture, as shares of it."""
        width, height = size
        left, top, right, bottom = source_box(
            width, height, self._running.recognizer.card.preprocess
        )
        box = (left / width, top / height, (right - left) / width, (bottom - top) / height)
        return [round(min(max(share, 0.0), 1.0), 5) for share in box]

    def _counts(self, request: web.Request) -> Counts:
        for counts in self._running.monitor.counts():
            if counts.source == request.match_info["id"]:
                return counts
        raise Refusal("not_found", "there is no such camera")

    async def _list(self, _: web.Request) -> web.StreamResponse:
        return json_response(self.cameras())

    async def _one(self, request: web.Request) -> web.StreamResponse:
        return json_response(self._camera(self._counts(request)))

    async def _scores(self, request: web.Request) -> web.StreamResponse:
        camera = self._counts(request).source
        span_s = number(request, "seconds", 600.0, least=1.0, most=600.0)
        top = number(request, "top", 3, least=0, most=MOST_TOP)
        moments = list(self._hub.view(camera).moments)
        newest_s = moments[-1].time_s if moments else 0.0
        moments = [m for m in moments if newest_s - m.time_s <= span_s]
        chosen = self._classes(request, top, [m.scores for m in moments])
        gaps = [gap.to_json() for gap in self._hub.view(camera).gaps]
        found = await asyncio.to_thread(self._history, camera, chosen, moments)
        return json_response(found | {"gaps": gaps})

    def _history(self, camera: str, chosen: list[int], moments: list[Moment]) -> dict[str, Any]:
        on, off = self._book.rules_of(camera).thresholds_of(self._running.labels)
        series = [
            {
                "index": index,
                "label": self._running.labels[index],
                "scores": [round(float(m.scores[index]), 4) for m in moments],
                "on": round(float(on[index]), 6),
                "off": round(float(off[index]), 6),
            }
            for index in chosen
        ]
        return {
            "camera": camera,
            "utc": [iso(m.utc) for m in moments],
            "time_s": [round(m.time_s, 4) for m in moments],
            "series": series,
        }

    def _classes(self, request: web.Request, top: int, scores: list[Any]) -> list[int]:
        """Return the classes that are asked for, and the best ones by their peaks."""
        most = len(self._running.labels)
        texts = [text for text in request.query.get("classes", "").split(",") if text]
        known = all(text.isdecimal() and len(text) < 7 and int(text) < most for text in texts)
        if not known or len(texts) > MOST_TOP:
            form = f"{MOST_TOP} indices of 0 to {most - 1} at most, with commas"
            raise Refusal("bad_request", f"classes: {form}")
        peaks = np.max(np.stack(scores), axis=0) if scores else None
        best = peaks.argsort()[::-1][:top].tolist() if peaks is not None else []
        return list(dict.fromkeys([*map(int, texts), *best]))

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        key = Key(PICTURE, self._counts(request).source)
        self._check_room()
        with self._hub.next_picture(key) as pictures:
            try:
                picture = await pictures.take(PICTURE_S)
            except asyncio.TimeoutError:
                raise Refusal("unavailable", "no picture comes from this camera now") from None
        return web.Response(body=picture.jpeg, content_type="image/jpeg")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send one picture after the other, as long as someone takes them."""
        key = Key(PICTURE, self._counts(request).source)
        self._check_room()
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        transport = _bound_buffers(request)
        with self._hub.next_picture(key) as pictures, suppress(ConnectionError):
            while True:
                try:
                    picture = await pictures.take(STREAM_S)
                except asyncio.TimeoutError:  # a camera that is lost may come back
                    continue
                try:
                    await asyncio.wait_for(response.write(_part(picture)), STREAM_S)
                except asyncio.TimeoutError:  # who takes nothing makes room for others
                    transport.abort()
                    return response
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._check_room()
        socket = web.WebSocketResponse(
            heartbeat=20.0, timeout=CLOSE_S, compress=False, max_msg_size=MOST_MESSAGE_BYTES
        )
        await socket.prepare(request)
        transport = _bound_buffers(request)

        async def send(message: str | bytes) -> None:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)

        viewer = Viewer(send, self._hub.want)
        viewer.tell({"type": "hello", **_hello()})
        sending = asyncio.ensure_future(viewer.run())
        try:
            with self._hub.viewing(viewer, sending):
                await self._listen(socket, viewer, sending=sending, transport=transport)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await sending
        return socket

    async def _listen(
        self,
        socket: web.WebSocketResponse,
        viewer: Viewer,
        *,
        sending: asyncio.Task[None],
        transport: asyncio.Transport,
    ) -> None:
        """Do what a viewer says until one of the two ends."""
        while True:
            receiving = asyncio.ensure_future(socket.receive())
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                receiving.cancel()
                await _leave(socket, viewer, transport)
                return
            message = receiving.result()
            if message.type is not WSMsgType.TEXT:
                return
            try:
                self._obey(viewer, json.loads(message.data))
            except _ODD:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                return

    def _obey(self, viewer: Viewer, said: dict[str, Any]) -> None:
        if said["type"] == "ack":
            viewer.acknowledge((int(said.get("kind", PICTURE)), said["camera"]), said["number"])
        elif said["type"] == "watch":
            known = {counts.source for counts in self._running.monitor.counts()}
            views: set[View] = {(PICTURE, camera) for camera in said.get("pictures", ())}
            views |= {(SEEN, camera) for camera in said.get("sees", ())}
            pinned = {
                str(camera): tuple(int(i) for i in indices[:50] if int(i) >= 0)
                for camera, indices in said.get("pinned", {}).items()
            }
            viewer.watch(
                {view for view in views if view[1] in known},
                top=max(int(said.get("top", 3)), 0),
                pinned=pinned,
            )
        elif said["type"] != "ping":
            raise ValueError(said["type"])

    def _check_room(self) -> None:
        if self._hub.watchers >= MOST_WATCHERS:
            raise Refusal("unavailable", f"{MOST_WATCHERS} watch already", retry_after_s=10)


def _hello() -> dict[str, str | None]:
    """Return what a page learns first."""
    return {"utc": iso(datetime.now(timezone.utc)), "version": edge_tsm.__version__}


def _part(picture: Picture) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n"
    return head.encode() + b"\r\n" + picture.jpeg + b"\r\n"


async def _leave(
    socket: web.WebSocketResponse, viewer: Viewer, transport: asyncio.Transport
) -> None:
    """End a connection: who takes nothing would not take a farewell either."""
    if viewer.is_stuck:
        transport.abort()
    await socket.close(code=WSCloseCode.GOING_AWAY)


def _bound_buffers(request: web.Request) -> asyncio.Transport:
    """Keep pictures that are late out of the system's buffers, which hold seconds of them."""
    transport = request.transport
    socket = transport.get_extra_info("socket") if transport else None
    if transport is None or socket is None:
        raise ConnectionResetError("the connection is gone")
    transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES)
    if socket.family in (sockets.AF_INET, sockets.AF_INET6):
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SEND_BUFFER_BYTES)
    return transport
