"""What other rules would have made of the last hours: events that go, and those that come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edge_tsm.actions.replay import Replay
from edge_tsm.datatypes import Activation, Event, iso
from edge_tsm.events import EventQuery, EventStore
from edge_tsm.events.logits import StoredTrack
from edge_tsm.events.query import Verdict
from edge_tsm.service.rule_layers import Ruling

MOST_GHOSTS = 500
MOST_JUDGED = 10_000
MOST_POINTS = 600
CACHE_S = 10.0
NEAR_S = 1.0  # an event and its ghost differ by what two clocks do
Ghosts = dict[str, list[dict[str, Any]]]  # by source


@dataclass(frozen=True, eq=False)
class _Read:
    """Stored answers, ready to be decided; kept while someone moves a slider."""

    tracks: list[tuple[StoredTrack, Replay]]
    hours: float
    read_s: float
    ghosts: dict[str, Ghosts] = field(default_factory=dict)  # by the rules that hold

    def ghosts_of(self, ruling: Ruling) -> Ghosts:
        """Return the events of each source."""
        found: Ghosts = {}
        for track, replay in self.tracks:
            utc_s = {answer.time_s: answer.utc_s for answer in track.answers}
            ghosts = [_ghost(event, utc_s) for event in replay.events(ruling.of(track.source))]
            found.setdefault(track.source, []).extend(ghosts)
        return found

    def known_ghosts_of(self, ruling: Ruling) -> Ghosts:
        """Return them for rules that are asked for again and again."""
        key = repr(ruling)
        if key not in self.ghosts:
            self.ghosts.clear()
            self.ghosts[key] = self.ghosts_of(ruling)
        return self.ghosts[key]


class Past:
    """The stored answers of a run's model, decided again.

    Args:
        store: has them, and what was said of events.
        labels, activation: of the model.
        now: monotonic seconds, by which what was read is read again.
    """

    def __init__(
        self,
        store: EventStore,
        labels: tuple[str, ...],
        activation: Activation,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._labels, self._activation, self._now = store, labels, activation, now
        self._last: _Read | None = None

    def compare(
        self, before: Ruling, after: Ruling, *, hours: float, watched: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Return the events by both rules, JSON-ready, and scores of some classes.

        Counts are of all events, lists of the newest.
        """
        started = time.perf_counter()
        read, rulings = self._read(hours), {"before": before, "after": after}
        sources = sorted({track.source for track, _ in read.tracks})
        ghosts = {"before": read.known_ghosts_of(before), "after": read.ghosts_of(after)}
        since = _since(read.tracks)
        lost = self._lost(ghosts["before"], ghosts["after"], since)
        return {
            **{role: sum(map(len, of.values())) for role, of in ghosts.items()},
            "answers": sum(len(track.answers) for track, _ in read.tracks),
            "since_utc": iso(since),
            "lost_up": lost["up"],
            "lost_down": lost["down"],
            "cameras": [
                {
                    "camera": source,
                    **{role: of.get(source, [])[-MOST_GHOSTS:] for role, of in ghosts.items()},
                    "scores": self._scores(read, rulings, source, watched),
                }
                for source in sources
            ],
            "took_ms": round((time.perf_counter() - started) * 1000, 1),
        }

    def _read(self, hours: float) -> _Read:
        last = self._last
        if last is None or last.hours != hours or self._now() - last.read_s > CACHE_S:
            found = self._store.logits.tracks(hours * 3600)
            last = _Read([(t, self._replay(t)) for t in found], hours, self._now())
            self._last = last
        return last

    def _replay(self, track: StoredTrack) -> Replay:
        pairs = [(answer.time_s, answer.logits) for answer in track.answers]
        return Replay(pairs, self._labels, self._activation)

    def _lost(self, before: Ghosts, after: Ghosts, since: datetime | None) -> dict[str, int]:
        """Return how many events with a thumb up, and down, would not be there any more."""
        lost = dict.fromkeys(get_args(Verdict), 0)
        for verdict in lost:
            query = EventQuery(since=since, verdict=verdict)
            for event in self._store.events(query, most=MOST_JUDGED):
                was, will = (
                    _overlaps(event, g.get(event.source or "", [])) for g in (before, after)
                )
                lost[verdict] += was and not will
        return lost

    def _scores(
        self, read: _Read, rulings: Mapping[str, Ruling], source: str, watched: Sequence[int]
    ) -> dict[str, Any]:
        """Return the smoothed scores of the watched classes, thinned to the highest of each bin."""
        own = [(track, replay) for track, replay in read.tracks if track.source == source]
        times = [answer.utc_s for track, _ in own for answer in track.answers]
        bins = np.array_split(np.arange(len(times)), min(len(times), MOST_POINTS) or 1)
        series = []
        for index in watched:
            of_roles = {
                role: np.array([s[index] for _, r in own for s in r.scores(ruling.of(source))])
                for role, ruling in rulings.items()
            }
            thinned = {role: _thinned(scores, bins) for role, scores in of_roles.items()}
            series.append({"index": index, "label": self._labels[index], **thinned})
        return {"utc": [_utc(times[part[0]]) for part in bins if len(part)], "series": series}


def _thinned(scores: NDArray[np.float32], bins: list[NDArray[np.int_]]) -> list[float]:
    return [round(float(scores[part].max()), 4) for part in bins if len(part)]


def _since(tracks: Sequence[tuple[StoredTrack, Replay]]) -> datetime | None:
    times = [track.answers[0].utc_s for track, _ in tracks if track.answers]
    known = [time_s for time_s in times if time_s is not None]
    return datetime.fromtimestamp(min(known), timezone.utc) if known else None


def _utc(time_s: float | None) -> str | None:
    return None if time_s is None else iso(datetime.fromtimestamp(time_s, timezone.utc))


def _ghost(event: Event, utc_s: Mapping[float, float | None]) -> dict[str, Any]:
    return {
        "index": event.index,
        "label": event.label,
        "score": round(event.score, 6),
        "start_s": round(event.start_s, 4),
        "end_s": round(event.told_s, 4),
        "start_utc": _utc(utc_s.get(event.start_s)),
        "end_utc": _utc(utc_s.get(event.told_s)),
    }


def _overlaps(event: Event, ghosts: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether one of the ghosts is the event: of its class, at its time of day."""
    if event.start_utc is None:
        return False
    near = timedelta(seconds=NEAR_S)
    first, last = event.start_utc - near, (event.end_utc or event.start_utc) + near
    return any(
        ghost["index"] == event.index
        and ghost["start_utc"] is not None
        and datetime.fromisoformat(ghost["start_utc"]) <= last
        and (ghost["end_utc"] is None or datetime.fromisoformat(ghost["end_utc"]) >= first)
        for ghost in ghosts
    )
