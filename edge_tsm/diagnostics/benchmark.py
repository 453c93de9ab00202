"""How fast every artifact answers on this machine, what memory it takes, whether it agrees.

Run as a program it measures one job, in a process of its own: see `measure_apart`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_tsm.backends import ENGINES, RuntimeOptions, devices, installed
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.bundle.golden import Golden
from edge_tsm.errors import BackendError, CardError, EdgeTsmError
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.variants import Variant, named, variants

_WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Selection:
    """What to measure: by default every file of a bundle on every device of every engine here."""

    engine: str | None = None
    device: str | None = None
    variant: str | None = None


@dataclass(frozen=True)
class Job:
    """One artifact of a bundle on one engine and device, to be timed `runs` times."""

    bundle: Path
    variant: Variant
    device: str
    threads: int | None = None
    runs: int = 30


@dataclass(frozen=True)
class Measured:
    """One artifact on one engine and device.

    Times are those of the engine call on one batch; `clips_per_s` counts the clips in it.
    `peak_mib` is the highest memory of the process, so it means something in a fresh one only.
    `proven` is what the card says of the file.
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
    proven: bool


@dataclass(frozen=True)
class Failed:
    """One artifact that does not run on an engine and device, and why."""

    file: str
    engine: str
    device: str
    error: str


def select(
    bundle: Path, selection: Selection, *, threads: int | None = None, runs: int = 30
) -> list[Job]:
    """Return the jobs that a selection means for a bundle on this machine.

    Raises:
        CardError: not a bundle, no such variant, or no artifact serves a device of this machine.
        BackendError: the engine is unknown or not installed, or does not load.
    """
    card = Card.read(bundle)
    found = [
        Job(bundle, v, device, threads, runs) for v, device in _selected(card, bundle, selection)
    ]
    if not found:
        raise CardError(f"{bundle}: no artifact serves a device of this machine")
    return found


def _selected(card: Card, bundle: Path, selection: Selection) -> Iterator[tuple[Variant, str]]:
    for engine in [selection.engine] if selection.engine else filter(installed, ENGINES):
        for device in [selection.device] if selection.device else devices(engine):
            try:
                found = variants(card, bundle, (engine,), device)
            except CardError:
                continue  # this engine has no file for the device
            if selection.variant is not None:
                found = [named(found, selection.variant)]
            yield from ((variant, device) for variant in found)


def measure(job: Job) -> Measured | Failed:
    """Measure in this process.

    Raises:
        CardError: no golden clips in the bundle.
    """
    try:
        return _measured(job)
    except BackendError as error:
        return _failed(job, str(error))


def measure_apart(job: Job) -> Measured | Failed:
    """Measure in a fresh process, so that memory is this artifact's and a crash ends only it."""
    variant = job.variant
    given = [str(job.bundle), variant.file.path, variant.engine, job.device]
    command = [sys.executable, "-m", __name__, *given, json.dumps([job.threads, job.runs])]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        row: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines()
        return _failed(job, lines[-1] if lines else f"ended with code {done.returncode}")
    if "error" in row:
        return Failed(**row)
    return Measured(**{**row, "agreement": Verification(**row["agreement"])})


def _measured(job: Job) -> Measured:
    """Open an artifact, replay the golden clips, and time some runs after a short warm-up."""
    bundle, variant, options = job.bundle, job.variant, RuntimeOptions(job.device, job.threads)
    card, golden, name = Card.read(bundle), Golden.read(bundle), variant.file.path
    started = time.perf_counter()
    with open_variant(bundle, card, variant, options) as recognizer:
        load_s = time.perf_counter() - started
        tolerance = card.verification[name].tolerance
        agreement = golden.replay(recognizer, tolerance=tolerance, file=name)
        clip = list(golden.clips[0])
        times = [recognizer.predict(clip).inference_ms for _ in range(_WARM_UP_RUNS + job.runs)]
    median, p95 = np.percentile(times[_WARM_UP_RUNS:], (50, 95))
    return Measured(
        file=name,
        engine=variant.engine,
        device=job.device,
        precision=variant.file.precision,
        runs=job.runs,
        median_ms=float(median),
        p95_ms=float(p95),
        clips_per_s=1000 * card.input.shape[0] / float(median),
        load_s=load_s,
        peak_mib=_peak_mib(),
        agreement=agreement,
        proven=variant.file.proven,
    )


def _failed(job: Job, error: str) -> Failed:
    return Failed(job.variant.file.path, job.variant.engine, job.device, error)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _main(bundle: str, file: str, engine: str, device: str, rest: str) -> None:
    """Print the row of one job as JSON."""
    threads, runs = json.loads(rest)
    row: Measured | Failed
    try:
        variant = Variant(Card.read(Path(bundle)).files[file], engine)
        row = measure(Job(Path(bundle), variant, device, threads, runs))
    except EdgeTsmError as error:
        row = Failed(file, engine, device, str(error))
    print(json.dumps(asdict(row)))  # noqa: T201


if __name__ == "__main__":
    _main(*sys.argv[1:])
