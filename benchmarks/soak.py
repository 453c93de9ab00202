"""Does a live run keep its memory, threads and files over many frames and reconnects?

    python benchmarks/soak.py --out soak.json

Plays 200,000 synthetic frames through the whole pipeline in virtual time, as fast as the machine
goes, with an engine that only looks at its input; then a camera (a file, read as OpenCV reads a
camera) that is lost and opened again 500 times. Memory is sampled along the way: `slope_kib` is its
growth over the second half, per 10,000 frames, by least squares, with its standard error.
"""

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from environment import environment, report, resident_kib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes import FakeBackend, make_card
from tests.runtime.test_sources import write_video

from edge_tsm import Pipeline, Recognizer
from edge_tsm.live.capture import CaptureOptions, LiveCapture
from edge_tsm.live.worker import SourceInput
from edge_tsm.sources import Camera, Fault, FaultySource, TestPattern
from edge_tsm.system.clock import VirtualClock

SAMPLE_EVERY = 500


def handles() -> int:
    """Return the number of open file descriptors."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def soak(frames: int) -> dict[str, object]:
    """Play the frames, a few hundred faults among them."""
    clock, sizes = VirtualClock(), list[tuple[int, int]]()
    kinds = ("drop", "freeze", "resize", "corrupt", "bad_time", "unplug")
    faults = [
        Fault(kinds[n % len(kinds)], at=at, frames=3, seconds=2.0)  # type: ignore[arg-type]
        for n, at in enumerate(range(1000, frames, max(frames // 200, 1)))
    ]
    pattern = TestPattern(size=(64, 48), fps=30, clock=clock)
    source = FaultySource(pattern, faults, clock=clock)

    def look(frame: object) -> None:
        if pipeline.counts()[0].frames % SAMPLE_EVERY == 0:
            sizes.append((pipeline.counts()[0].frames, resident_kib()))
        if pipeline.counts()[0].frames >= frames:
            source.close()

    backend = FakeBackend()
    pipeline = Pipeline(
        SourceInput(source, look),
        Recognizer(make_card(), backend),
        every_s=2.0,
        capture=CaptureOptions(clock=clock),
    )
    started, threads = time.perf_counter(), threading.active_count()
    answers = 0
    for _ in pipeline:
        answers += 1
        backend.batches.clear()
    late = np.array(sizes[len(sizes) // 2 :], float)
    slope, error = _slope(late[:, 0] / 10_000, late[:, 1])
    return {
        "frames": pipeline.counts()[0].frames,
        "breaks": pipeline.counts()[0].breaks,
        "answers": answers,
        "seconds": round(time.perf_counter() - started, 1),
        "resident_mib": [round(sizes[i][1] / 1024, 1) for i in (0, len(sizes) // 2, -1)],
        "slope_kib": round(slope, 2),
        "slope_error_kib": round(error, 2),
        "threads_more": threading.active_count() - threads,
    }


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of y over x by least squares, and its standard error."""
    (slope, offset), centered = np.polyfit(x, y, 1), x - x.mean()
    rest = y - (slope * x + offset)
    return float(slope), float(np.sqrt((rest @ rest) / (len(x) - 2) / (centered @ centered)))


def reconnect(times: int) -> dict[str, object]:
    """Lose a camera that OpenCV reads, and open it again, so many times."""
    with tempfile.TemporaryDirectory() as folder:
        clock = VirtualClock()
        camera = Camera(str(write_video(Path(folder) / "x.avi", 3)), clock=clock)
        capture = LiveCapture(camera, CaptureOptions(clock=clock))
        before, memory = (threading.active_count(), handles()), list[int]()
        for frame in capture:
            if frame.gap:
                memory.append(resident_kib())
            if capture.tally.breaks >= times:
                capture.stop()
        return {
            "reconnects": capture.tally.breaks,
            "threads_more": threading.active_count() - before[0],
            "handles_more": handles() - before[1],
            "resident_mib": [round(memory[i] / 1024, 1) for i in (0, len(memory) // 2, -1)],
        }


def main() -> None:
    """Soak, then reconnect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--reconnects", type=int, default=500)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # of every loss
    before = environment()
    results = {"soak": soak(given.frames), "reconnect": reconnect(given.reconnects)}
    report(results, before, given.out)


if __name__ == "__main__":
    main()
