"""What an event is in JSON: the types that `event.schema.json` beside this file is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, cast

from edge_tsm.bundle.schema import Note, json_schema
from edge_tsm.datatypes import SourceState, StateChange
from edge_tsm.system.ids import derived_id

MessageKind = Literal["start", "end", "snapshot", "clip"]
_Time = Annotated[
    str | None, Note(description="ISO 8601, UTC; null where only media time is known")
]


class MediaRecord(TypedDict):
    """A file that shows an event."""

    kind: Literal["snapshot", "clip"]
    file: Annotated[str, Note(description="its name, without the folder")]


class EventRecord(TypedDict):
    """The start or the end of an action, or a file of it; webhooks post these.

    What one action sends has one `id`, and is complete each time: a consumer keeps one record per
    id and replaces it. Later versions may add keys; those described here keep their meaning.
    """

    id: Annotated[str, Note(description="unique, the same for all of one action; sorts by time")]
    kind: Annotated[MessageKind, Note(description="what happened; snapshot, clip: a file is there")]
    source: Annotated[str | None, Note(description="the source that it was seen in")]
    index: Annotated[int, Note(minimum=0, description="class")]
    label: str
    score: Annotated[
        float, Note(minimum=0, maximum=1, description="highest smoothed probability so far")
    ]
    start_s: Annotated[float, Note(description="when the action began, by the source's clock")]
    told_s: Annotated[float, Note(description="end of the window that settled it")]
    duration_s: Annotated[float | None, Note(description="null while the action is on")]
    start_utc: _Time
    end_utc: _Time
    decided_utc: _Time
    media: tuple[MediaRecord, ...]


class StateRecord(TypedDict):
    """A live source was lost, is back, silent, frozen or black; webhooks post these too."""

    id: Annotated[str, Note(description="unique; sorts by time")]
    kind: Literal["state"]
    source: Annotated[str, Note(description="id of the source")]
    state: SourceState
    before: SourceState
    time_s: Annotated[float, Note(description="by the clock of the run")]
    utc: _Time
    reason: Annotated[str, Note(description="for people")]


def state_record(change: StateChange) -> StateRecord:
    """Return what destinations are told of a change.

    >>> state_record(StateChange("porch", "lost", "live", 41.5, reason="no route to host"))["state"]
    'lost'
    """
    wall_s = change.utc.timestamp() if change.utc else 0.0
    text = f"{change.source} {change.before} {change.state} {change.time_s!r} {change.utc}"
    told = {"id": derived_id(wall_s, text), "kind": "state", **change.to_json()}
    return cast("StateRecord", told)


@dataclass(frozen=True)
class Message:
    """One thing that destinations are told, in the order of `number`; `body` is JSON.

    `event_id` is that of the event, or of the change of a source's state.

    >>> Message(1, "0192-7", "start", "{}").key
    '0192-7:start'
    """

    number: int
    event_id: str
    kind: str
    body: str

    @property
    def key(self) -> str:
        """The same for every attempt to deliver it."""
        return f"{self.event_id}:{self.kind}"


def state_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a change of state; `state.schema.json` holds it."""
    return json_schema(StateRecord, uri="https://edge-tsm/state.schema.json")


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event; `event.schema.json` holds it."""
    return json_schema(EventRecord, uri="https://edge-tsm/event.schema.json")
