"""Answers for programs: JSON lines, as `edge_tsm.sinks.answer` describes them."""

from __future__ import annotations

from typing import Any, TextIO

from edge_tsm.datatypes import Prediction
from edge_tsm.sinks import SinkContext
from edge_tsm.system.jsontext import to_json


class JsonLines:
    """One JSON object per answer and line.

    >>> import io, json, edge_tsm, edge_tsm.demo
    >>> from edge_tsm.demo.synthetic import generate
    >>> answer = edge_tsm.load(edge_tsm.demo.bundle())(list(generate(0)))
    >>> stream = io.StringIO()
    >>> JsonLines(stream).write(answer, "door")
    >>> record = json.loads(stream.getvalue())
    >>> record["source"], record["label"]
    ('door', 'zoom in')
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction, source: str) -> None:
        """Print one answer."""
        record = to_record(prediction, source)
        self._stream.write(to_json(record) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held: whoever opened the stream closes it."""


def to_record(prediction: Prediction, source: str) -> dict[str, Any]:
    """Return the JSON-ready record of one answer; the source comes first."""
    record = {"source": source, "address": prediction.address, **prediction.to_json()}
    if prediction.decision is not None:
        record["decision"] = prediction.decision.to_json()
    return record


def open_json_lines(_value: str, context: SinkContext) -> JsonLines:
    """Open the sink `json`."""
    return JsonLines(context.text)
