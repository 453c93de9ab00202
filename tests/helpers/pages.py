"""A page of a real run: a camera of generated pictures, and a model that alternates."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import numpy as np

from edge_tsm.datatypes import Prediction, Tensor
from edge_tsm.events import EventStore
from edge_tsm.events.logits import LogitLimits
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.live.worker import SourceInput
from edge_tsm.service.monitor import Monitor
from edge_tsm.service.rule_layers import RuleLayers
from edge_tsm.service.running import Running
from edge_tsm.service.web.address import Address
from edge_tsm.service.web.page import Page
from edge_tsm.service.web.security import Access
from edge_tsm.service.web.server import WebServer
from edge_tsm.sinks import Dispatcher, Route
from edge_tsm.sinks.keeper import EventKeeper, LogitKeeper
from edge_tsm.sinks.run import RunFacts
from edge_tsm.sources import open_source
from edge_tsm.system.clock import SYSTEM_CLOCK
from tests.helpers.fakes import make_card

LABELS = ("nothing", "挥手", "clap")
TIMEOUT_S = 20.0
Result = TypeVar("Result")


class Alternating:
    """A model that says its classes one after the other, each for three answers."""

    engine, device, card_text = "onnxruntime", "cpu", None

    def __init__(self) -> None:
        self.answers = 0

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.answers += 1
        logits = np.full((1, len(LABELS)), -2.0, np.float32)
        logits[0, self.answers // 3 % len(LABELS)] = 2.0
        return {"logits": logits}

    def close(self) -> None:
        pass


@dataclass(frozen=True, eq=False)
class PageRun:
    """A run and its page."""

    page: Page
    running: Running
    answers: list[Prediction]

    @property
    def url(self) -> str:
        return self.page.server.url.rstrip("/")


@contextmanager
def page_run(
    *,
    layers: RuleLayers,
    token: str = "",
    read_only: bool = False,
    store: Path | None = None,
    cameras: Mapping[str, str] | None = None,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[PageRun]:
    """Run cameras beside a page on 127.0.0.1, until the block ends."""
    named = cameras or {"porch": "test://160x120/30"}
    card = dataclasses.replace(make_card(), labels=LABELS)
    answers = list[Prediction]()
    with ExitStack() as stack:
        access = Access(Address(port=0), token, (), read_only, secure=tls is not None)
        server = WebServer(access, tls=tls)
        page = Page(server)
        stack.callback(page.close)
        events = stack.enter_context(EventStore(store))
        routes = [
            Route("events", EventKeeper(events), events_only=True),
            Route("logits", LogitKeeper(events.logits, LogitLimits())),
            Route("page", page),
        ]
        dispatcher = stack.enter_context(Dispatcher(routes))
        rules = layers.read()
        inputs = [
            SourceInput(
                stack.enter_context(_closing(open_source(uri))),
                name=name,
                on_frame=partial(dispatcher.frame, source=name),
                on_state=dispatcher.state,
                on_clip=partial(page.clip, source=name),
                rules=rules.singles().get(name),
            )
            for name, uri in named.items()
        ]
        facts = RunFacts(tuple(named), LABELS)
        monitor = Monitor(facts, inputs, SYSTEM_CLOCK, lambda name: open_source(named[name]))
        pipeline = stack.enter_context(
            Pipeline(
                [monitor.wired(given) for given in inputs],
                Recognizer(card, Alternating()),
                window_s=0.2,
                every_s=0.1,
                rules=rules.shared,
            )
        )
        monitor.watch(pipeline, dispatcher)
        running = Running(pipeline, monitor, pipeline.recognizer, events, SYSTEM_CLOCK)
        page.attach(running, layers)

        def answered(prediction: Prediction) -> None:
            answers.append(prediction)
            dispatcher.write(prediction)
            monitor.answered(prediction)

        pipeline.start(answered)
        yield PageRun(page, running, answers)


@contextmanager
def _closing(source: Any) -> Iterator[Any]:
    try:
        yield source
    finally:
        source.close()


def layers_of(folder: Path, rules: str = "") -> RuleLayers:
    """Rules of a bundle that is this folder."""
    (folder / "rules.toml").write_text(rules, encoding="utf-8")
    return RuleLayers(folder)


def asking(work: Callable[[aiohttp.ClientSession], Awaitable[Result]]) -> Result:
    """Do something with a client, within a time."""

    async def do() -> Result:
        jar = aiohttp.CookieJar(unsafe=True)  # of an address, not a name
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            return await asyncio.wait_for(work(session), TIMEOUT_S)

    return asyncio.run(do())


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(run: PageRun, path: str, method: str = "GET", **options: Any) -> Reply:
    """Ask a page for one thing."""

    async def work(session: aiohttp.ClientSession) -> Reply:
        return await asked(session, run, path, method, **options)

    return asking(work)


async def asked(
    session: aiohttp.ClientSession, run: PageRun, path: str, method: str = "GET", **options: Any
) -> Reply:
    async with session.request(method, run.url + path, **options) as response:
        return Reply(response.status, dict(response.headers), await response.read())


@dataclass(frozen=True)
class Shown:
    """A message with a picture."""

    kind: int
    camera: str
    number: int
    utc_s: float
    facts: dict[str, Any]
    jpeg: bytes

    @classmethod
    def parse(cls, data: bytes) -> Shown:
        kind, of_name, of_facts, number, utc_s = struct.unpack("!BBHId", data[:16])
        name, rest = data[16 : 16 + of_name], data[16 + of_name :]
        facts = json.loads(rest[:of_facts]) if of_facts else {}
        return cls(kind, name.decode(), number, utc_s, facts, rest[of_facts:])

    @property
    def ack(self) -> dict[str, Any]:
        return {"type": "ack", "camera": self.camera, "kind": self.kind, "number": self.number}
