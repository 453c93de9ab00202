"""Pictures on the page: made when someone watches, once for all, and never in the answers' way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from edge_tsm.datatypes import Frame
from edge_tsm.service.web.hub import Hub
from edge_tsm.service.web.pictures import PERIOD_S, PICTURE, SEEN, SIDES_PX, Key, Picture, Studio
from edge_tsm.service.web.sink import PageSink
from edge_tsm.service.web.viewers import ACKNOWLEDGED_S, MOST_WAITING, QUICK, Viewer
from edge_tsm.system.clock import SYSTEM_CLOCK
from tests.helpers.pages import PageRun, Shown, ask, asking, layers_of, page_run

pytestmark = pytest.mark.timeout(60)
SHOWS = ("porch", "hall")


async def messages(
    session: aiohttp.ClientSession, run: PageRun, acknowledges: bool = True, **watch: Any
) -> AsyncIterator[Shown | dict[str, Any]]:
    """What a page gets that watches this."""
    async with session.ws_connect(f"{run.url}/ws") as connection:
        await connection.send_json({"type": "watch", **watch})
        async for message in connection:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield json.loads(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                shown = Shown.parse(message.data)
                if acknowledges:
                    await connection.send_json(shown.ack)
                yield shown


def received(run: PageRun, most: int, **watch: Any) -> list[Shown | dict[str, Any]]:
    """The first messages of a page that watches this, until there are so many pictures."""

    async def work(session: aiohttp.ClientSession) -> list[Shown | dict[str, Any]]:
        found = list[Shown | dict[str, Any]]()
        async for message in messages(session, run, **watch):
            found.append(message)
            if sum(isinstance(one, Shown) for one in found) >= most:
                return found
        return found

    return asking(work)


def figures(run: PageRun) -> dict[str, Any]:
    found: dict[str, Any] = ask(run, "/api/v1/stats").json["page"]
    return found


def test_nobody_watches_and_nothing_is_encoded(page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> None:
        answers = 0
        async for message in messages(session, page):
            answers += isinstance(message, dict) and message["type"] == "answer"
            if answers == 10:
                return

    before = figures(page)["encodes"]
    asking(work)
    assert figures(page)["encodes"] == before


def test_a_picture_comes_with_its_camera_time_and_number(page: PageRun) -> None:
    shown = [one for one in received(page, 6, pictures=SHOWS) if isinstance(one, Shown)]
    assert {one.camera for one in shown} == set(SHOWS)
    assert len({one.number for one in shown}) == len(shown)
    assert all(one.jpeg[:2] == b"\xff\xd8" and one.utc_s > 1.7e9 for one in shown)


def test_what_the_model_sees_comes_with_the_ages_of_its_frames(page: PageRun) -> None:
    [shown] = [one for one in received(page, 1, sees=["porch"]) if isinstance(one, Shown)]
    assert (shown.kind, shown.facts["count"], shown.facts["columns"]) == (SEEN, 8, 8)
    ages_s = shown.facts["ages_s"]
    assert ages_s == sorted(ages_s, reverse=True)
    assert ages_s[0] <= 0.25
    assert abs(ages_s[-1]) < 0.04


def test_answers_hold_the_best_classes_and_those_that_are_pinned(page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, Any]:
        async for message in messages(session, page, pinned={"porch": [0, 99]}, top=1):
            if not isinstance(message, dict) or message["type"] != "answer":
                continue
            if message["camera"] == "porch" and message["scores"][0][0] != 0:
                return message
        raise AssertionError

    answer = asking(work)
    assert [index for index, _ in answer["scores"]][1:] == [0]
    assert answer["utc"]
    assert answer["latency_ms"] > 0


def test_a_picture_in_flight_is_waited_for_and_answers_go_on(page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> list[Shown | dict[str, Any]]:
        found = list[Shown | dict[str, Any]]()
        async for message in messages(session, page, acknowledges=False, pictures=["porch"]):
            found.append(message)
            if sum(isinstance(m, dict) and m["type"] == "answer" for m in found) == 12:
                break
        return found

    assert sum(isinstance(one, Shown) for one in asking(work)) == 1


def test_two_pages_share_what_is_encoded(page: PageRun) -> None:
    async def one(session: aiohttp.ClientSession) -> list[bytes]:
        found = list[bytes]()
        async for message in messages(session, page, pictures=["hall"]):
            if isinstance(message, Shown):
                found.append(message.jpeg)
            if len(found) == 12:
                return found
        return found

    async def work(session: aiohttp.ClientSession) -> list[list[bytes]]:
        return await asyncio.gather(one(session), one(session))

    before = figures(page)["encodes"]
    first, second = asking(work)
    assert len(set(first) & set(second)) >= 8
    assert figures(page)["encodes"] - before <= 16


def test_a_page_that_reads_nothing_costs_no_answer(tmp_path: Any) -> None:
    with page_run(layers=layers_of(tmp_path)) as run:

        async def work(session: aiohttp.ClientSession) -> int:
            async with session.ws_connect(f"{run.url}/ws") as deaf:
                await deaf.send_json({"type": "watch", "pictures": ["porch"], "sees": ["porch"]})
                answers = 0
                async for message in messages(session, run, pictures=["porch"]):
                    answers += isinstance(message, dict) and message["type"] == "answer"
                    if answers == 15:
                        break
                return answers

        asking(work)
        counts = run.running.monitor.counted().sinks
    assert counts["page"].failed == counts["events"].dropped == counts["logits"].dropped == 0
    assert counts["events"].failed == 0


def test_pictures_for_programs_come_one_after_the_other(page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> bytes:
        async with session.get(f"{page.url}/cam/porch.mjpg") as response:
            assert response.content_type == "multipart/x-mixed-replace"
            data = b""
            while data.count(b"Content-Type: image/jpeg") < 4:
                data += await response.content.readany()
            return data

    parts = asking(work).split(b"--edge-tsm-picture\r\n")[1:]
    head, _, jpeg = parts[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(jpeg) - 2}".encode() in head
    assert jpeg.startswith(b"\xff\xd8")


def test_one_picture_can_be_had(page: PageRun) -> None:
    reply = ask(page, "/api/v1/cameras/hall/picture.jpg")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert ask(page, "/api/v1/cameras/nowhere/picture.jpg").status == 404
    assert ask(page, "/cam/nowhere.mjpg").status == 404


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[]",
        "1",
        '{"type": "x"}',
        '{"type": "ack"}',
        '{"type": "ack", "camera": "porch", "kind": 1e999, "number": 1}',
        '{"type": "watch", "pictures": 1}',
        "[" * 9000,
        "x" * 20_000,
    ],
)
def test_what_is_no_message_ends_the_connection(
    page: PageRun, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(session: aiohttp.ClientSession) -> int | None:
        async with session.ws_connect(f"{page.url}/ws") as connection:
            await connection.send_str(said)
            async for _ in connection:
                pass
            return connection.close_code

    assert asking(work) in (1003, 1009)
    assert not caplog.records


def test_the_studio_makes_ten_a_second_at_most_of_each_size_and_only_what_is_wanted() -> None:
    now_s, made = [0.0], list[Picture]()
    studio, image = Studio(made.append, now=lambda: now_s[0]), np.zeros((48, 1280, 3), np.uint8)
    large, small = (Key(PICTURE, "porch", side_px) for side_px in SIDES_PX[::2])
    assert not studio.due(PICTURE, "porch")
    for frame in range(61):
        now_s[0] = frame / 30
        studio.want(large)
        if frame > 30:
            studio.want(small)
        for key in studio.due(PICTURE, "porch"):
            studio.show(key, image, 0.0)
    assert Counter(picture.key for picture in made) == {large: 21, small: 10}
    widths = {cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), 1).shape[1] for one in made}
    assert widths == {640, 320}
    assert PERIOD_S < 0.1
    assert not studio.due(PICTURE, "hall")


def test_what_was_asked_for_by_someone_who_left_is_not_encoded() -> None:
    hub = Hub(lambda event: {}, lambda key: None)
    sink = PageSink(lambda function, *given: function(*given), hub, SYSTEM_CLOCK)
    frame, key = Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0), Key(PICTURE, "porch")
    sink.studio.want(key)
    sink.frame(frame, "porch")
    assert sink.studio.encodes == 0
    with hub.next_picture(key):
        sink.frame(frame, "porch")
        assert sink.studio.encodes == 0
        sink.studio.want(key)
        sink.frame(frame, "porch")
    assert sink.studio.encodes == 1


def test_who_is_slow_gets_smaller_pictures_then_fewer_and_who_is_quick_larger_ones() -> None:
    async def work() -> None:
        now_s, wanted = [0.0], list[Key]()

        async def send(message: str | bytes) -> None:
            raise AssertionError(message)

        viewer, view = Viewer(send, wanted.append, now=lambda: now_s[0]), (PICTURE, "porch")

        def take(took_s: float) -> int:
            """Have the picture that is wanted acknowledged after so long; return its side."""
            viewer.show(Picture(wanted[-1], 0.0, b"jpeg"))
            now_s[0] += took_s
            viewer.acknowledge(view, viewer._number)
            return wanted[-1].side_px

        viewer.watch({view})
        assert [take(took_s) for took_s in (0.1, 0.35, 0.5)] == [640, 480, 320]
        viewer.show(Picture(Key(PICTURE, "porch", 640), 0.0, b"jpeg"))  # of another viewer
        assert (viewer.watches(wanted[-1]), viewer.skipped) == (True, 0)
        before = len(wanted)
        take(0.31)  # there is nothing smaller
        viewer.show(Picture(wanted[-1], 0.0, b"jpeg"))
        assert (len(wanted), viewer.skipped) == (before, 1)
        await asyncio.wait_for(_until(lambda: len(wanted) > before), 5.0)
        assert {take(0.2) for _ in range(2 * QUICK)} == {320}  # 0.45 s for one of 480
        assert [take(0.1) for _ in range(QUICK)] == [320] * (QUICK - 1) + [480]
        assert [take(0.1) for _ in range(2 * QUICK)][QUICK - 1 :] == [640] * (QUICK + 1)
        assert not viewer.is_stuck

    asyncio.run(work())


async def _until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0)


def test_who_takes_nothing_is_let_go() -> None:
    now_s = [0.0]

    async def work() -> None:
        async def send(message: str | bytes) -> None:
            raise AssertionError(message)

        viewer = Viewer(send, lambda key: None, now=lambda: now_s[0])
        viewer.watch({(PICTURE, "porch")})
        viewer.show(Picture(Key(PICTURE, "porch"), 0.0, b"jpeg"))
        assert not viewer.is_stuck
        now_s[0] = ACKNOWLEDGED_S + 1
        assert viewer.is_stuck
        viewer.watch(set())
        assert not viewer.is_stuck
        for number in range(MOST_WAITING + 1):
            viewer.tell(number)
        assert viewer.is_stuck

    asyncio.run(work())


def test_who_never_acknowledges_is_let_go(page: PageRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_tsm.service.web.viewers.ACKNOWLEDGED_S", 0.3)
    watch = b'{"type": "watch", "pictures": ["porch"]}'
    mask = b"\0\0\0\0"
    with socket.create_connection(("127.0.0.1", page.page.server.port), timeout=10) as deaf:
        deaf.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        deaf.sendall(bytes([0x81, 0x80 | len(watch)]) + mask + watch)
        data = deaf.recv(65536)
        with suppress(ConnectionError):  # it ends, in whatever way
            while data:
                data = deaf.recv(65536)
    assert figures(page)["viewers"] == 0
