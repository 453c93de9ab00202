"""Answers for people, on a terminal or in a log."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from typing import TextIO

from edge_tsm.datatypes import Event, Prediction
from edge_tsm.sinks import SinkContext
from edge_tsm.sources.names import describe_source
from edge_tsm.system.printable import printable, write_control
from edge_tsm.system.width import fit

BAR_CHARS = 24


class Terminal:
    """Top-5 with bars, one block per answer; with `several` sources it names their ids too."""

    def __init__(self, stream: TextIO, *, several: bool = False) -> None:
        self._stream, self._several = stream, several

    def write(self, prediction: Prediction, source: str) -> None:
        """Print one answer."""
        window = prediction.window
        span = f"  {window.start_s:.2f} to {window.end_s:.2f} s" if window else ""
        address = prediction.address
        name = describe_source(source, address) if self._several else address or source
        self._stream.write(f"{printable(name)}{span}  ({prediction.inference_ms:.0f} ms)\n")
        columns = shutil.get_terminal_size().columns
        longest = min(BAR_CHARS, columns // 3)
        for score in prediction.top(5):
            bar = "█" * round(score.probability * longest)
            label = fit(printable(score.label), max(columns - longest - 12, 8))
            self._stream.write(f"  {score.probability:6.1%}  {bar:<{longest}}  {label}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held."""


class LiveTerminal:
    """One calm line per source that the next answer replaces; starts and ends of actions stay.

    Into a pipe or a log no line is replaced: with decisions only starts and ends are written,
    without them every answer.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        several: bool = False,
        wall: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self._stream, self._several, self._wall = stream, several, wall
        self._is_terminal = stream.isatty()
        self._lines: dict[str, str] = {}
        self._drawn, self._lock = 0, threading.Lock()

    def write(self, prediction: Prediction, source: str) -> None:
        """Print the events, and replace the line."""
        with self._lock:
            self._erase()
            self._write(prediction, source)
            self._stream.flush()

    def lift(self) -> None:
        """Make room for someone else's message; the lines come again with the next answer."""
        with self._lock:
            self._erase()
            self._stream.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()

    def _write(self, prediction: Prediction, source: str) -> None:
        name = time.strftime("%H:%M:%S", self._wall())
        if self._several:
            name += f"  {describe_source(source, prediction.address)}"
        for event in prediction.events:
            self._stream.write(printable(f"{name}  {_describe(event)}") + "\n")
        line = printable(f"{name}  " + _line(prediction))
        if self._is_terminal:
            self._lines[source] = line
            self._draw()
        elif prediction.decision is None:
            self._stream.write(line + "\n")

    def _erase(self) -> None:
        """Remove the lines of all sources, from the last one up."""
        if self._drawn:
            write_control(self._stream, "\r\033[K" + "\033[A\033[K" * (self._drawn - 1))
        self._drawn = 0

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        self._stream.write("\n".join(fit(line, columns - 1) for line in self._lines.values()))
        self._drawn = len(self._lines)


def _line(prediction: Prediction) -> str:
    shown, decision = prediction.answered[:3] or prediction.top(1), prediction.decision
    on = ", ".join(decision.labels[i] for i in decision.on) if decision else ""
    state = "" if decision is None else f"▶ {on} · " if on else "- · "
    best = ", ".join(f"{score.probability:4.0%} {score.label}" for score in shown)
    return f"{state}{best}  ({prediction.inference_ms:.0f} ms)"


def _describe(event: Event) -> str:
    if event.kind == "start":
        return f"start  {event.label}  ({event.score:.0%})"
    return f"end    {event.label}  ({event.score:.0%}, {event.told_s - event.start_s:.1f} s)"


def open_terminal(_value: str, context: SinkContext) -> Terminal:
    """Open the sink `terminal`."""
    return Terminal(context.text, several=context.sources > 1)


def open_live_terminal(_value: str, context: SinkContext) -> LiveTerminal:
    """Open the sink `live`."""
    return LiveTerminal(context.text, several=context.sources > 1)
