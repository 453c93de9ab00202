"""How many clips at a time an engine is best given, where clips a second count: by measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Literal

import numpy as np

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card
from edge_tsm.datatypes import Image
from edge_tsm.errors import BackendError
from edge_tsm.inference.recognizer import Recognizer
from edge_tsm.inference.variants import Remembered, Variant
from edge_tsm.system.machine import physical_cores

Aim = Literal["latency", "throughput"]
Open = Callable[[RuntimeOptions], Recognizer]
WORTH = 1.05  # times the clips a second of one at a time, below which it stays at that
_LEAST_S, _LEAST_ROUNDS = 0.5, 3
_log = logging.getLogger("edge_tsm")


@dataclass(frozen=True)
class Rate:
    """Clips a second with so many at a time, and the 95th percentile of what a run takes."""

    streams: int
    clips_per_s: float
    p95_ms: float

    def __str__(self) -> str:
        return f"{self.streams} at a time: {self.clips_per_s:.1f} clips/s, p95 {self.p95_ms:.0f} ms"


def with_best_streams(
    card: Card, variant: Variant, options: RuntimeOptions, open_with: Open
) -> RuntimeOptions:
    """Return the options with as many streams as give the most clips a second.

    Measured once per bundle, machine and options, and remembered in the user's cache.

    Raises:
        BackendError: the variant does not open.
    """
    remembered = Remembered("streams", card, options, [variant])
    streams = remembered.read()
    if not isinstance(streams, int) or streams not in _candidates(options):
        rates = _rates(options, open_with)
        streams = _best(rates).streams
        remembered.write(streams)
        _log.info("%s, %s", variant, "; ".join(map(str, rates)))
    return replace(options, streams=streams)


def _candidates(options: RuntimeOptions) -> list[int]:
    """Return the numbers of streams that are tried: 1, 2, half of the threads, and all."""
    threads = options.threads or physical_cores()
    return sorted({1, min(2, threads), max(threads // 2, 1), threads})


def _rates(options: RuntimeOptions, open_with: Open) -> list[Rate]:
    """Measure every number of streams; those that the engine or device refuses are left out."""
    rates = list[Rate]()
    for streams in _candidates(options):
        try:
            with open_with(replace(options, streams=streams)) as recognizer:
                rates.append(measured(recognizer))
        except BackendError:
            if not rates:
                raise
    return rates


def _best(rates: Sequence[Rate]) -> Rate:
    alone, fastest = rates[0], max(rates, key=lambda rate: rate.clips_per_s)
    return fastest if fastest.clips_per_s >= WORTH * alone.clips_per_s else alone


def measured(recognizer: Recognizer, *, least_s: float = _LEAST_S) -> Rate:
    """Return how fast a recognizer answers clips, one after the other handed to `predict_many`."""
    card = recognizer.card
    size_px, segments = card.preprocess.crop_px, card.sampling.segments
    crop: Image = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), np.uint8)
    clips = list(repeat([crop] * segments, card.input.most * recognizer.streams * _LEAST_ROUNDS))
    list(recognizer.predict_many(clips))  # engines settle, caches fill
    count, times_ms, started = 0, list[float](), time.perf_counter()
    while (elapsed_s := time.perf_counter() - started) < least_s or not count:
        answers = list(recognizer.predict_many(clips))
        count += len(answers)
        times_ms += [answer.inference_ms for answer in answers]
    return Rate(recognizer.streams, count / elapsed_s, float(np.percentile(times_ms, 95)))
