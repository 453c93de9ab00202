"""What the page's API answers: as its schemas say, in pages, by id."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import jsonschema
import numpy as np
import pytest

from edge_tsm.datatypes import Media
from edge_tsm.events import EventStore
from edge_tsm.service.page_records import page_schema
from edge_tsm.service.web.static_files import FOLDER
from edge_tsm.service.web.viewers import MOST_TOP
from tests.helpers.answers import stored
from tests.helpers.pages import LABELS, PageRun, ask, asked, asking, layers_of, page_run
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.timeout(60)


def check(value: Any, name: str) -> None:
    """Hold an answer against the schema of that name."""
    schema = page_schema()
    jsonschema.validate(value, {**schema["properties"][name], "$defs": schema["$defs"]})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page over an event file with 30 events of the porch, of which one has files."""
    folder = tmp_path_factory.mktemp("run")
    with EventStore(folder / "events.db") as store:
        for number in range(30):
            store.add(stored(number, "start", "wave" if number % 3 else "clap"))
            store.add(stored(number, "end", "wave" if number % 3 else "clap"))
        event = store.event(stored(7).id)
        assert event is not None
        for kind, name, data in (
            (
                "snapshot",
                "porch 挥手.jpg",
                cv2.imencode(".jpg", np.zeros((480, 640, 3)))[1].tobytes(),
            ),
            ("clip", "porch.mp4", bytes(range(256)) * 8),
        ):
            with store.adding(event, Media(kind, str(folder / name))):  # type: ignore[arg-type]
                (folder / name).write_bytes(data)
    with page_run(layers=layers_of(folder), store=folder / "events.db") as found:
        yield found


OLD = "until=2026-11-25T00:00:00Z"  # the events that the fixture made; the run makes more


def test_every_answer_is_as_its_schema_says(page: PageRun) -> None:
    answers = {
        "version": "/api/v1/version",
        "cameras": "/api/v1/cameras",
        "scores": "/api/v1/cameras/porch/scores?classes=0,2&top=1",
        "events": "/api/v1/events",
        "rules": "/api/v1/rules",
        "stats": "/api/v1/stats",
        "error": "/api/v1/nothing",
    }
    for name, path in answers.items():
        check(ask(page, path).json, name)
    changes = {"camera": None, "changes": {"on": 0.5}, "labels": ["挥手"]}
    check(ask(page, "/api/v1/rules/preview", "POST", json=changes).json, "preview")
    dry = {"camera": None, "changes": {"on": 0.5}, "dry_run": True}
    check(ask(page, "/api/v1/rules/save", "POST", json=dry).json, "saved")


def test_cameras_say_what_they_are(page: PageRun) -> None:
    found = ask(page, "/api/v1/cameras").json
    porch, hall = found["cameras"]
    assert (porch["id"], porch["state"], porch["size"]) == ("porch", "live", [160, 120])
    assert hall["size"] == [64, 48]
    left, top, width, height = porch["sees"]
    assert width * 160 == pytest.approx(height * 120, abs=0.5)  # a square of the picture
    assert left + width / 2 == pytest.approx(0.5, abs=0.01)
    assert top + height / 2 == pytest.approx(0.5, abs=0.01)
    assert found["labels"] == list(LABELS)
    assert ask(page, "/api/v1/cameras/hall").json["id"] == "hall"
    assert ask(page, "/api/v1/cameras/nowhere").status == 404


def test_scores_are_of_the_classes_asked_for(page: PageRun) -> None:
    found = ask(page, "/api/v1/cameras/porch/scores?classes=2&top=0&seconds=1").json
    [series] = found["series"]
    assert (series["index"], series["label"]) == (2, "clap")
    assert len(series["scores"]) == len(found["utc"]) == len(found["time_s"]) <= 12
    assert found["time_s"] == sorted(found["time_s"])
    many = "classes=" + "0," * (MOST_TOP + 1)
    for bad in ("classes=3", "classes=-1", "classes=x", many, "seconds=0", "seconds=x", "top=-1"):
        assert ask(page, f"/api/v1/cameras/porch/scores?{bad}").status == 400


def test_events_come_in_pages_newest_first(run: PageRun) -> None:
    found, path = list[str](), f"/api/v1/events?{OLD}&limit=12"
    before = ""
    for most in (12, 12, 6):
        reply = ask(run, path + before).json
        assert len(reply["events"]) == most
        found += [event["id"] for event in reply["events"]]
        before = f"&before={reply['next']}"
    assert reply["next"] is None
    assert found == [stored(number).id for number in reversed(range(30))]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("camera=porch", 30),
        ("camera=hall", 0),
        ("label=clap", 10),
        ("label=wave&camera=porch", 20),
        ("since=2026-11-24T12:00:20Z", 10),
        ("since=2026-11-24T14:00:20%2B02:00", 10),
        ("since=2026-11-24T12:00:20", 10),
        ("verdict=none", 30),
        ("verdict=up", 0),
    ],
)
def test_events_are_chosen(run: PageRun, query: str, count: int) -> None:
    reply = ask(run, f"/api/v1/events?{OLD}&limit=200&{query}").json
    assert (len(reply["events"]), reply["total"]) == (count, count)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "since=yesterday",
        "since=0001-01-01T00:00%2B23:00",
        "verdict=maybe",
    ],
)
def test_what_cannot_be_asked_is_refused(run: PageRun, query: str) -> None:
    assert ask(run, f"/api/v1/events?{query}").status == 400


def test_files_of_an_event_come_by_its_id_and_in_parts(run: PageRun) -> None:
    event = ask(run, f"/api/v1/events/{stored(7).id}").json
    assert event["media"][0]["file"] == "porch 挥手.jpg"
    links = event["links"]
    clip = ask(run, links["clip"], headers={"Range": "bytes=256-511"})
    assert (clip.status, clip.body) == (206, bytes(range(256)))
    assert clip.headers["Content-Type"] == "video/mp4"
    assert ask(run, links["snapshot"]).headers["Content-Type"] == "image/jpeg"
    thumb = cv2.imdecode(np.frombuffer(ask(run, links["thumb"]).body, np.uint8), cv2.IMREAD_COLOR)
    assert thumb is not None
    assert thumb.shape == (240, 320, 3)
    for name in ("snapshot", "clip", "thumb.jpg"):
        assert ask(run, f"/api/v1/events/{stored(8).id}/{name}").status == 404


def test_what_is_said_of_an_event_stays_with_it(run: PageRun) -> None:
    path = f"/api/v1/events/{stored(3).id}/feedback"
    said = ask(run, path, "PUT", json={"verdict": "down", "label": "挥手"}).json
    assert (said["feedback"]["verdict"], said["feedback"]["label"]) == ("down", "挥手")
    assert ask(run, f"/api/v1/events?verdict=down&{OLD}").json["events"] == [said]
    assert ask(run, path, "PUT", json={"verdict": "up"}).json["feedback"]["label"] is None
    assert ask(run, path, "DELETE").json["feedback"] is None
    for body in ({"verdict": "x"}, {}, {"verdict": "up", "label": "no such"}):
        assert ask(run, path, "PUT", json=body).status == 400
    gone = f"/api/v1/events/{stored(99).id}/feedback"
    assert ask(run, gone, "PUT", json={"verdict": "up", "label": None}).status == 404


def test_events_states_and_rules_come_to_a_page_that_is_open(run: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        async with session.ws_connect(f"{run.url}/ws") as socket:
            await asked(session, run, "/api/v1/rules/revert", "POST", json={})
            async for message in socket:
                value = json.loads(message.data)
                found.setdefault(value["type"], value)
                if found.keys() >= {"hello", "answer", "event", "rules", "stats"}:
                    return found
        return found

    found = asking(work)
    assert next(iter(found)) == "hello"
    event = found["event"]["event"]
    assert event["source"] == "porch"
    assert event["label"] in LABELS
    assert datetime.fromisoformat(event["start_utc"])
    check({"events": [event], "next": None, "total": 1}, "events")
    check(found["stats"]["stats"], "stats")
    check(found["rules"]["rules"], "rules")


def test_the_description_names_every_route_and_nothing_that_is_missing(page: PageRun) -> None:
    described = ask(page, "/api/v1/openapi.json").json
    paths = {
        re.sub(r":[^{}]*(\{[^}]*\})?", "", r.path) for r in page.page.server.routes if r.documented
    }
    assert {re.sub(r"[{}]", "", path) for path in described["paths"]} == {
        re.sub(r"[{}]|\[[^\]]*\]", "", path) for path in paths
    }
    schemas = described["components"]["schemas"]
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)):
        assert reference in schemas
    for name in ("event", "state", "answer", "rules", "config", "page"):
        reply = ask(page, f"/api/v1/schemas/{name}.schema.json")
        assert reply.json["$schema"].endswith("2020-12/schema")
    assert ask(page, "/api/v1/schemas/x.schema.json").status == 404


def test_the_report_is_text_with_all_figures(page: PageRun) -> None:
    text = ask(page, "/api/v1/report").body.decode()
    assert "model: fake" in text
    assert json.loads(text[text.index("{") :])["sources"][0]["source"] == "porch"


def test_health_has_figures_of_all_parts(page: PageRun) -> None:
    found = ask(page, "/api/v1/stats").json
    assert {sink["name"] for sink in found["sinks"]} == {"events", "logits", "page"}
    assert found["machine"]["memory_mb"] > 10
    assert found["stages"]["latency"]["p95_ms"] >= found["stages"]["latency"]["p50_ms"] > 0
    assert all(source["frames"] > 0 for source in found["sources"])
    assert all(source["latency"]["p95_ms"] > 0 for source in found["sources"])


def test_a_camera_that_is_switched_off_stays_on_the_page_and_in_the_figures(page: PageRun) -> None:
    async def work(session: aiohttp.ClientSession) -> dict[str, Any]:
        async with session.ws_connect(f"{page.url}/ws") as connection:
            await asyncio.to_thread(page.running.monitor.enable, "hall", False)
            async for message in connection:
                said = json.loads(message.data)
                if said["type"] == "enabled":
                    return dict(said)
        raise AssertionError

    before = ask(page, "/api/v1/stats").json["sources"][1]
    try:
        assert asking(work) == {"type": "enabled", "camera": "hall", "enabled": False}
        hall = ask(page, "/api/v1/cameras/hall").json
        assert (hall["enabled"], hall["state"]) == (False, "ended")
    finally:
        page.running.monitor.enable("hall", True)
    after = ask(page, "/api/v1/stats").json["sources"][1]
    assert after["frames"] >= before["frames"]
    assert after["frames_per_s"] >= 0
    assert ask(page, "/api/v1/cameras/hall").json["enabled"] is True


def test_a_page_ends_with_its_connections(tmp_path: Path) -> None:
    async def work(session: aiohttp.ClientSession, run: PageRun) -> None:
        async with session.ws_connect(f"{run.url}/ws") as socket:
            await socket.receive()
            closing = asyncio.get_running_loop().run_in_executor(None, run.page.close)
            async for _ in socket:
                pass
            await closing

    with page_run(layers=layers_of(tmp_path)) as run:
        asking(lambda session: work(session, run))
        with pytest.raises(aiohttp.ClientConnectorError):
            ask(run, "/api/v1/version")


def test_a_wheel_has_the_pages_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="building needs setuptools 77")
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    copy = tmp_path / "copy"
    copy.mkdir()
    kept = ["pyproject.toml", "README.md", "LICENSE", "edge_tsm", "converters"]
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in kept), str(copy)], check=True)
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=copy, check=True, capture_output=True
    )
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*") if p.is_file()}
    assert {f"edge_tsm/service/web/static/{name}" for name in files} <= names
    assert "edge_tsm/service/page.schema.json" in names
