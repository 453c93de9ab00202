"""Answers to the windows of recordings, kept in a file from which an interrupted scan goes on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_tsm.evaluation.journal import JournalFile, written
from edge_tsm.scanning.feeds import Answer

FORMAT = "edge-tsm scan 1"
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Facts:
    """What is known of a recording that was scanned to its end."""

    duration_s: float
    fps: float
    damage: str = ""
    note: str = ""


@dataclass
class Known:
    """What earlier runs answered to the first windows; `facts` if they came to the end."""

    answers: list[Answer] = field(default_factory=list)
    facts: Facts | None = None

    def take(self, number: int, answer: Answer) -> None:
        """Note the answer to a window, the next one or one that was answered before."""
        self.answers[number : number + 1] = [answer]


class ScanJournal(JournalFile):
    """What was answered of which recording; may be used by several threads.

    A recording counts as known while its path, size and time of change are the same. Rules are no
    part of it: a second scan by other rules decides on the answers that are there.

    Args:
        path: the file, made if missing.
        run: JSON-ready facts that decide the answers: model, windows.

    Raises:
        InputError, SinkError: see `JournalFile`.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        super().__init__(path, {"format": FORMAT, **run})
        self._lock = threading.Lock()
        self._known: dict[Key, Known] = {}
        for line in self.lines:
            known = self._known.setdefault(_key(line), Known())
            if "logits" in line:
                logits = np.asarray(line["logits"], np.float32)
                known.take(int(line["window"]), (float(line["end_s"]), logits))
            else:
                known.facts = Facts(**line["whole"])

    def known(self, recording: Path) -> Known:
        """Return what earlier runs found."""
        return self._known.get(_key(_identity(recording)), Known())

    def add(self, recording: Path, number: int, answer: Answer) -> None:
        """Append the answer to one window, which are numbered from 0.

        Raises:
            SinkError: it cannot be written.
        """
        end_s, logits = answer
        window = {"window": number, "end_s": end_s, "logits": written(logits)}
        self._append({**_identity(recording), **window})

    def end(self, recording: Path, facts: Facts) -> None:
        """Note that a recording was scanned to its end.

        Raises:
            SinkError: it cannot be written.
        """
        self._append({**_identity(recording), "whole": vars(facts)})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self.write(line)


def _identity(recording: Path) -> dict[str, Any]:
    path = recording.absolute()
    status = path.stat()
    return {"path": str(path), "mtime_ns": status.st_mtime_ns, "bytes": status.st_size}


def _key(line: Mapping[str, Any]) -> Key:
    return str(line.get("path")), int(line.get("mtime_ns", 0)), int(line.get("bytes", 0))
