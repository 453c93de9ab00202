"""Answers and events handed to functions of the application."""

from __future__ import annotations

from collections.abc import Callable

from edge_tsm.datatypes import Event, Prediction

OnAnswer = Callable[[Prediction, str], object]
OnEvent = Callable[[Event, str], object]


class Callback:
    """Calls `on_answer` with every answer and `on_event` with every event, each with its source.

    >>> import edge_tsm, edge_tsm.demo
    >>> from edge_tsm.demo.synthetic import generate
    >>> answer = edge_tsm.load(edge_tsm.demo.bundle())(list(generate(0)))
    >>> sink = Callback(lambda answer, source: print(source, answer.label))
    >>> sink.write(answer, "door")
    door zoom in
    """

    def __init__(
        self, on_answer: OnAnswer | None = None, *, on_event: OnEvent | None = None
    ) -> None:
        self._on_answer, self._on_event = on_answer, on_event

    def write(self, prediction: Prediction, source: str) -> None:
        """Call the functions, the events' first."""
        if self._on_event is not None:
            for event in prediction.events:
                self._on_event(event, source)
        if self._on_answer is not None:
            self._on_answer(prediction, source)

    def close(self) -> None:
        """Nothing is held."""
