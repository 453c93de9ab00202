"""The parts of a run that the page shows and operates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.live.pipeline import Pipeline
from edge_tsm.service.monitor import Monitor
from edge_tsm.system.clock import Clock

if TYPE_CHECKING:
    from edge_tsm.events import EventStore


@dataclass(frozen=True, eq=False)
class Running:
    """The parts of a run, from any thread.

    Args:
        pipeline: decides by rules that can be changed.
        monitor: counts, and knows the state of every source.
        recognizer: the model.
        store: events; in memory where no file was asked for.
        clock: of times and deadlines.
        folders: where files go, by what they are: their disks may fill.
        started_utc: when it began.
    """

    pipeline: Pipeline
    monitor: Monitor
    recognizer: Recognizer
    store: EventStore
    clock: Clock
    folders: Mapping[str, Path] = field(default_factory=dict)
    started_utc: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the model."""
        return self.recognizer.card.labels
