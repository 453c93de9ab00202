"""Which events are asked for, and what people say of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from edge_tsm.datatypes import iso

Verdict = Literal["up", "down"]


@dataclass(frozen=True)
class Feedback:
    """What someone says of an event: right or wrong, and what it really was.

    >>> Feedback("down", "clap").to_json()["label"]
    'clap'
    """

    verdict: Verdict
    label: str | None = None
    utc: datetime | None = None

    def to_json(self) -> dict[str, str | None]:
        """Return a JSON-ready mapping."""
        return {"verdict": self.verdict, "label": self.label, "utc": iso(self.utc)}


@dataclass(frozen=True)
class EventQuery:
    """Which events are meant; what is None, or empty, does not matter.

    Args:
        source, label: those of it.
        since, until: times of day between which they were decided.
        verdict: what was said of them; "none": nothing.
        before: the id of an event that they are older than.

    >>> EventQuery(source="porch").where()
    ('WHERE source = ?', ['porch'])
    """

    source: str | None = None
    label: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    verdict: Verdict | Literal["none"] | None = None
    before: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition in SQL, and its values."""
        said = "SELECT event_id FROM feedback"
        found = [
            ("source = ?", self.source),
            ("label = ?", self.label),
            ("decided_utc >= ?", _utc(self.since)),
            ("decided_utc < ?", _utc(self.until)),
            ("number < (SELECT number FROM events WHERE id = ?)", self.before),
        ]
        conditions = [text for text, value in found if value is not None]
        values = [value for _, value in found if value is not None]
        if self.verdict == "none":
            conditions.append(f"id NOT IN ({said})")
        elif self.verdict is not None:
            conditions.append(f"id IN ({said} WHERE verdict = ?)")
            values.append(self.verdict)
        return f"WHERE {' AND '.join(conditions)}" if conditions else "", values


def _utc(time: datetime | None) -> str | None:
    return None if time is None else iso(time.astimezone(timezone.utc))
