"""Runs compared in turns, so that all of them meet the same machine.

Each round visits every run once, every second round backwards. A visit first lets the run settle,
untimed: threads of the one before stop spinning (engines' pools and OpenMP's do so for a while),
caches fill; then it is called again and again for a moment. A ratio is taken within each round; its
median over the rounds is what is told, so that a slow spell of the machine harms neither side.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Run = Callable[[], object]


@dataclass(frozen=True)
class Turns:
    """Median milliseconds per run and round."""

    rounds: Mapping[str, list[float]]

    def ms(self) -> dict[str, float]:
        """Return the median over rounds of each run."""
        return {name: round(statistics.median(times), 3) for name, times in self.rounds.items()}

    def ratios(self, name: str, over: str) -> list[float]:
        """Return how many times longer `name` takes than `over`, by round."""
        pairs = zip(self.rounds[name], self.rounds[over], strict=True)
        return [one / other for one, other in pairs]

    def ratio(self, name: str, over: str) -> float:
        """Return the median of `ratios`."""
        return round(statistics.median(self.ratios(name, over)), 3)

    def fastest(self, *prefixes: str) -> str:
        """Return the fastest of the runs whose name begins with one of `prefixes`."""
        ms = self.ms()
        return min((name for name in ms if name.startswith(prefixes)), key=ms.__getitem__)


def told(figure: str, rounds: Mapping[Any, Sequence[float]]) -> dict[str, dict[Any, float | None]]:
    """Return the medians of a figure by run, and beside them their spread over the rounds.

    The spread is the median absolute deviation, under the figure's name with `_mad`: what
    `python -m benchmarks compare` takes for noise.
    """
    return {
        figure: {name: round(statistics.median(values), 3) for name, values in rounds.items()},
        f"{figure}_mad": {name: spread(values) for name, values in rounds.items()},
    }


def spread(values: Sequence[float]) -> float | None:
    """Return the median absolute deviation, which a few odd rounds do not change.

    None of fewer than three rounds, which tell nothing of it.
    """
    if len(values) < 3:
        return None
    middle = statistics.median(values)
    return round(statistics.median(abs(value - middle) for value in values), 3)


def in_turns(
    runs: Mapping[str, Run],
    *,
    rounds: int = 7,
    settle_s: float = 0.3,
    visit_s: float = 0.7,
) -> Turns:
    """Visit every run in every round; the first round is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in list(runs.items())[:: -1 if turn % 2 else 1]:
            calls(run, settle_s, least=1)
            times = calls(run, visit_s, least=3)
            if turn:
                found[name].append(statistics.median(times))
    return Turns(found)


def calls(run: Run, seconds: float, *, least: int) -> list[float]:
    """Call `run` for so many seconds, at least so many times; return milliseconds per call."""
    times = list[float]()
    while len(times) < least or sum(times) < seconds * 1000:
        started = time.perf_counter()
        run()
        times.append((time.perf_counter() - started) * 1000)
    return times
