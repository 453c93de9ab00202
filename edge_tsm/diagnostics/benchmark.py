"""How fast one artifact answers on this machine, what memory it takes, whether it agrees."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_tsm.backends import RuntimeOptions
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import Golden
from edge_tsm.inference.recognizer import open_variant
from edge_tsm.inference.variants import Variant

_WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Measured:
    """One artifact on one engine and device.

    Times are those of the engine call on one batch; `clips_per_s` counts the clips in it.
    `peak_mib` is the highest memory of the process, so it means something in a fresh one only.
    """

    file: str
    engine: str
    device: str
    precision: str
    runs: int
    median_ms: float
    p95_ms: float
    clips_per_s: float
    load_s: float
    peak_mib: float
    agreement: Verification


def measure_variant(
    bundle: Path, card: Card, variant: Variant, options: RuntimeOptions, *, runs: int
) -> Measured:
    """Open an artifact, replay the golden clips, and time `runs` runs after a short warm-up.

    Raises:
        CardError: no golden clips in the bundle.
        BackendError: engine or device not there, or the file is refused.
    """
    golden, name = Golden.read(bundle), variant.file.path
    started = time.perf_counter()
    with open_variant(bundle, card, variant, options) as recognizer:
        load_s = time.perf_counter() - started
        tolerance = card.verification[name].tolerance
        agreement = golden.replay(recognizer, tolerance=tolerance, file=name)
        clip = list(golden.clips[0])
        times = [recognizer.predict(clip).inference_ms for _ in range(_WARM_UP_RUNS + runs)]
    median, p95 = np.percentile(times[_WARM_UP_RUNS:], (50, 95))
    return Measured(
        file=name,
        engine=variant.engine,
        device=options.device,
        precision=variant.file.precision,
        runs=runs,
        median_ms=float(median),
        p95_ms=float(p95),
        clips_per_s=1000 * card.input.shape[0] / float(median),
        load_s=load_s,
        peak_mib=_peak_mib(),
        agreement=agreement,
    )


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
