"""Where answers go: terminals, JSON lines, windows, videos, functions, servers, brokers, folders.

`SINKS` lists the kinds that are asked for by name. Another package brings a kind of its own as an
entry point of the group `edge_tsm.sinks` that refers to a `SinkKind`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from edge_tsm.errors import InputError
from edge_tsm.sinks.base import Cancellable, FrameSink, Sink, StateSink
from edge_tsm.sinks.dispatcher import Dispatcher, Route
from edge_tsm.sinks.mqtt.options import MqttOptions
from edge_tsm.sinks.run import Run, UnknownRun
from edge_tsm.sinks.segments import SegmentLimits
from edge_tsm.system.clock import SYSTEM_CLOCK, Clock
from edge_tsm.system.plugins import plugin

if TYPE_CHECKING:
    from edge_tsm.events import EventStore

__all__ = [
    "SINKS",
    "Cancellable",
    "Dispatcher",
    "FrameSink",
    "Route",
    "Sink",
    "SinkContext",
    "SinkKind",
    "SinkRequest",
    "StateSink",
    "find_sink",
    "open_routes",
]


@dataclass(frozen=True)
class SinkContext:
    """What a sink may need to know of the run that it belongs to.

    Args:
        live: whether pictures come, and answers are dropped rather than waited for.
        sources: how many there are; `fps` is the rate of the first one.
        most_files, most_bytes: limits of a folder of pictures or clips.
        on_close: called when someone closes a window.
        stream: where text goes; standard output if None.
        clock: of deadlines and pauses.
        store: keeps events; without one a sink that needs it has its own, in memory.
        segments: when a recording or a saved video goes on in a new piece, and what all may take.
        mqtt: what the sink of that name is told beside an address.
        run: what it may know of the run, and ask of it.
        name: of the sink that is opened, unique within the run.
        essential: its errors are to end the run.
    """

    live: bool = False
    sources: int = 1
    fps: float = 25.0
    most_files: int = 200
    most_bytes: int = 500_000_000
    on_close: Callable[[], object] = lambda: None
    stream: TextIO | None = None
    clock: Clock = SYSTEM_CLOCK
    store: EventStore | None = None
    segments: SegmentLimits = field(default_factory=SegmentLimits)
    mqtt: MqttOptions = field(default_factory=MqttOptions)
    run: Run = field(default_factory=UnknownRun)
    name: str = ""
    essential: bool = False

    @property
    def text(self) -> TextIO:
        """The stream that text is written to."""
        return self.stream or sys.stdout


Opener = Callable[[str, SinkContext], Sink]


@dataclass(frozen=True)
class SinkKind:
    """A kind of sink.

    Args:
        name: what it is asked for by.
        open: makes one of a value (a path, a URL, or "") and the context.
        value: what the value is, as `FOLDER`; empty for a sink that takes none, in brackets where
            it may be left out.
        live_only: it wants pictures, which recordings do not hand over.
        needs_actions: it takes starts and ends of actions, and is of no use without rules.
        events_only: answers without a start or an end are not for it.
        last: it is closed after the others, whose last events and files it tells of.
        one_source: it cannot tell the pictures of several sources apart.
        essential: its errors end the run.
        lossless: it is waited for, even in a live run.
    """

    name: str
    open: Opener
    value: str = ""
    live_only: bool = False
    needs_actions: bool = False
    events_only: bool = False
    last: bool = False
    one_source: bool = False
    essential: bool = False
    lossless: bool = False


@dataclass(frozen=True)
class SinkRequest:
    """A sink that is asked for: its kind, its value, and what errors call it.

    With `essential` its errors end the run, whatever the kind says.
    """

    kind: SinkKind
    value: str = ""
    shown: str = ""
    essential: bool = False

    def check(self, context: SinkContext) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: a value too many or too few, a recording, or several sources.
        """
        kind, shown = self.kind, self.shown or self.kind.name
        if self.value and not kind.value:
            raise InputError(f"{shown} takes no value, got {self.value!r}")
        if not self.value and kind.value and not kind.value.startswith("["):
            raise InputError(f"{shown} needs a value: {kind.name}={kind.value}")
        if kind.live_only and not context.live:
            raise InputError(f"{shown} is for live sources")
        if kind.one_source and context.sources > 1:
            raise InputError(f"{shown} takes one source, got {context.sources}")


def _kind(name: str, opener: str, value: str = "", **flags: bool) -> SinkKind:
    """Return a kind of this room, whose module is imported when the sink is opened."""
    module, _, function = opener.rpartition(".")

    def open_sink(value: str, context: SinkContext) -> Sink:
        open_one: Opener = getattr(import_module(f"edge_tsm.sinks.{module}"), function)
        return open_one(value, context)

    return SinkKind(name, open_sink, value, **flags)


_EVENTS = {"needs_actions": True, "events_only": True}
_PICTURES = {"live_only": True, "one_source": True}
_KINDS = (
    _kind("terminal", "terminal.open_terminal", essential=True),
    _kind("live", "terminal.open_live_terminal", essential=True),
    _kind("json", "jsonlines.open_json_lines", essential=True),
    _kind("events", "keeper.open_keeper", "FILE", **_EVENTS),
    _kind("logits", "keeper.open_logits", "[HOURS]", needs_actions=True, live_only=True),
    _kind("webhook", "webhook.open_webhook", "URL", last=True, **_EVENTS),
    _kind("mqtt", "mqtt.sink.open_mqtt", "URL", needs_actions=True, last=True),
    _kind("snapshots", "snapshots.open_snapshots", "FOLDER", live_only=True, **_EVENTS),
    _kind("clips", "snapshots.open_clips", "FOLDER", live_only=True, **_EVENTS),
    _kind("window", "window.open_window", live_only=True),
    _kind("video", "video.open_video", "FILE", **_PICTURES),
    _kind("recorder", "recorder.open_recorder", "FOLDER", lossless=True, **_PICTURES),
)
SINKS: dict[str, SinkKind] = {kind.name: kind for kind in _KINDS}


def find_sink(name: str) -> SinkKind:
    """Return a kind by its name: one of `SINKS`, or what another package brings.

    Raises:
        InputError: there is none of that name.
    """
    kind = SINKS.get(name) or plugin("sinks", name)
    if not isinstance(kind, SinkKind):
        raise InputError(f"no sink {name!r}; there are {', '.join(sorted(SINKS))}")
    return kind


def open_routes(requests: Iterable[SinkRequest], context: SinkContext) -> list[Route]:
    """Open what is asked for, ready for a `Dispatcher`, if all of it can be.

    Raises:
        InputError: see `SinkRequest.check`.
        SinkError: a folder, window or file that cannot be had.
    """
    requests, routes = list(requests), list[Route]()
    for request in requests:
        request.check(context)
    with ExitStack() as opened:
        for index, request in enumerate(requests):
            kind = request.kind
            before = sum(earlier.kind is kind for earlier in requests[:index])
            name = f"{kind.name} {before + 1}" if before else kind.name
            essential = kind.essential or request.essential
            sink = kind.open(request.value, replace(context, name=name, essential=essential))
            opened.callback(sink.close)
            routes.append(Route(name, sink, essential, kind.lossless, kind.events_only, kind.last))
        opened.pop_all()
    return routes
