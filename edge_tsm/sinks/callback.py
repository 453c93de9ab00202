"""Answers and events handed to functions of the application."""

from __future__ import annotations

from collections.abc import Callable

from edge_tsm.actions.decider import Decision, Event
from edge_tsm.datatypes import Prediction

OnAnswer = Callable[[Prediction, str, "Decision | None"], object]
OnEvent = Callable[[Event, str], object]


class Callback:
    """Calls `on_answer` with every answer and `on_event` with every event, each with its source."""

    def __init__(
        self, on_answer: OnAnswer | None = None, *, on_event: OnEvent | None = None
    ) -> None:
        self._on_answer, self._on_event = on_answer, on_event

    def write(self, prediction: Prediction, source: str, decision: Decision | None = None) -> None:
        """Call the functions, the events' first."""
        if self._on_event is not None:
            for event in decision.events if decision else ():
                self._on_event(event, source)
        if self._on_answer is not None:
            self._on_answer(prediction, source, decision)

    def close(self) -> None:
        """Nothing is held."""
