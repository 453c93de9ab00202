"""What an answer is in JSON: the types that `answer.schema.json` beside this file is made from."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from edge_tsm.bundle.schema import Note, json_schema
from edge_tsm.events.record import EventRecord

Index = Annotated[int, Note(minimum=0)]
Share = Annotated[float, Note(minimum=0, maximum=1)]
_CLOCK = ", in seconds: media time of a file, monotonic capture time of a live source"


class ClassRecord(TypedDict):
    """One of the best classes."""

    index: Index
    label: str
    probability: Share


class _RequiredDecision(TypedDict):
    action: Annotated[str | None, Note(description="label of the action that is on")]
    best: Annotated[str, Note(description="the action, or the best class when none is on")]
    score: Annotated[Share, Note(description="smoothed probability of `best`")]
    events: tuple[EventRecord, ...]


class DecisionRecord(_RequiredDecision, total=False):
    """What was made of an answer; only with decisions."""

    actions: Annotated[
        tuple[str, ...],
        Note(description="all that are on, where each class has a probability of its own"),
    ]


class _Required(TypedDict):
    source: Annotated[
        str, Note(description="id of the source: its name, or its index, unique within a run")
    ]
    address: Annotated[
        str | None, Note(description="URI of the source for people, without secrets; not unique")
    ]
    label: Annotated[str, Note(description="label of the largest logit")]
    top: Annotated[
        tuple[ClassRecord, ...],
        Note(description="the best classes of this answer alone, best first"),
    ]
    logits: Annotated[tuple[float, ...], Note(description="raw, one per class")]
    frames: Annotated[
        tuple[Index, ...] | None, Note(description="indices of the frames seen, one per segment")
    ]
    start_s: Annotated[float | None, Note(description=f"start of the window{_CLOCK}")]
    end_s: Annotated[float | None, Note(description=f"end of the window{_CLOCK}")]
    inference_ms: Annotated[float, Note(minimum=0, description="the engine call alone")]


class AnswerRecord(_Required, total=False):
    """One answer of edge-tsm: a line of `edge-tsm run --json`.

    Later versions may add keys; those described here keep their meaning.
    """

    ages_s: Annotated[
        tuple[float, ...] | None,
        Note(description="how much older than the window's end each frame is"),
    ]
    dropped: Annotated[
        Index | None,
        Note(description="frames within the window that nobody had time to look at"),
    ]
    latency_ms: Annotated[
        float | None,
        Note(description="from the capture of the newest frame to the answer; live sources only"),
    ]
    stale: Annotated[bool, Note(description="the next answer was due before this one was ready")]
    decision: DecisionRecord


def answer_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an answer; `answer.schema.json` holds it."""
    return json_schema(AnswerRecord, uri="https://edge-tsm/answer.schema.json")
