"""Answers for programs: JSON lines, as `edge_tsm.sinks.answer` describes them."""

from __future__ import annotations

import json
from typing import Any, TextIO

from edge_tsm.actions.decider import Decision
from edge_tsm.datatypes import Prediction


class JsonLines:
    """One JSON object per answer and line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, prediction: Prediction, source: str, decision: Decision | None = None) -> None:
        """Print one answer."""
        record = to_record(prediction, source, decision)
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held: whoever opened the stream closes it."""


def to_record(prediction: Prediction, source: str, decision: Decision | None) -> dict[str, Any]:
    """Return the JSON-ready record of one answer; the source stands first."""
    record = {**prediction.to_json(), "source": source}
    if decision is not None:
        record["decision"] = decision.to_json()
    return {"source": record.pop("source"), **record}
