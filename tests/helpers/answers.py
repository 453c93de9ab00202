"""Predictions and decisions for tests of what comes after the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Literal

import numpy as np

from edge_tsm.datatypes import Decision, Event, Prediction, Window
from edge_tsm.inference.postprocess import softmax

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
LABELS = ("wave", "clap", "nothing", "other")


def answer(
    logits: Sequence[float], time_s: float = 0.0, labels: tuple[str, ...] = LABELS
) -> Prediction:
    """A prediction whose window ends at `time_s`."""
    values = np.float32(logits)
    return Prediction(labels, values, softmax(values), 5.0, Window((0, 1), time_s - 1, time_s))


def says(label: str, time_s: float, probability: float = 0.9) -> Prediction:
    """A prediction that gives `label` this probability, the others equal shares of the rest."""
    rest = (1 - probability) / (len(LABELS) - 1)
    shares = [probability if name == label else rest for name in LABELS]
    return answer(np.log(shares), time_s)


def started(label: str = "wave", told_s: float = 1.0) -> Prediction:
    """An answer with the start of an action."""
    index = LABELS.index(label)
    event_id = f"{round(told_s * 1000):08x}-0000-7000-8000-{index:012x}"
    event = Event("start", index, label, told_s, told_s, 0.9, event_id, decided_utc=NOON)
    prediction = says(label, told_s)
    decision = Decision(LABELS, index, prediction.probabilities, (event,))
    return replace(prediction, decision=decision)


def stored(number: int, kind: Literal["start", "end"] = "start", label: str = "wave") -> Event:
    """An event as a tracker gives it: number n starts at n s, and lasts half a second."""
    start_utc = NOON + timedelta(seconds=number)
    end_utc = start_utc + timedelta(seconds=0.5) if kind == "end" else None
    told_s = number + 0.5 if kind == "end" else float(number)
    times = {"start_utc": start_utc, "end_utc": end_utc, "decided_utc": end_utc or start_utc}
    event_id = f"{number:08d}-0000-7000-8000-000000000000"
    index = LABELS.index(label)
    return Event(kind, index, label, float(number), told_s, 0.9, event_id, "porch", **times)


def answer_with(*events: Event) -> Prediction:
    """An answer that brings these events."""
    prediction = says("wave", 1.0)
    return replace(prediction, decision=Decision(LABELS, 0, prediction.probabilities, events))
