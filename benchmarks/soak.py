"""Does a live run keep its memory, threads and files, and lose no event, over many frames?

    python benchmarks/soak.py --out soak.json

Plays 200,000 synthetic frames of two cameras, with hundreds of faults, through the whole pipeline
and every sink in virtual time, as fast as the machine goes, with an engine that only counts; a real
HTTP server in a process of its own refuses every seventh event for now. Then a camera (a file, read
as OpenCV reads a camera) is lost and opened again 500 times. Memory is sampled along the way,
resident (with what the allocator keeps free between) and in use (what is held, by every thread);
slopes are growth over the second half in KiB per 10,000 frames, by least squares, with their
standard error. Python's own allocator is off, so that what is in use can be told.
"""

import argparse
import io
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from environment import environment, report, resident_kib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_tsm import EventStore, Pipeline, Recognizer, Rules
from edge_tsm.datatypes import Frame, Prediction, Tensor
from edge_tsm.events import Limits
from edge_tsm.live.capture import CaptureOptions, LiveCapture
from edge_tsm.live.worker import SourceInput
from edge_tsm.sinks import Dispatcher, Route
from edge_tsm.sinks.film import clip_suffix
from edge_tsm.sinks.jsonlines import JsonLines
from edge_tsm.sinks.keeper import EventKeeper
from edge_tsm.sinks.outbox import Outbox
from edge_tsm.sinks.recorder import Recorder
from edge_tsm.sinks.retention import RetainedFolder
from edge_tsm.sinks.segments import SegmentLimits
from edge_tsm.sinks.snapshots import EventClips, Snapshots
from edge_tsm.sinks.video import SavedVideo
from edge_tsm.sinks.webhook import Webhook
from edge_tsm.sources import Camera, Fault, FaultySource, TestPattern
from edge_tsm.system.clock import VirtualClock
from tests.helpers.fakes import make_card
from tests.helpers.memory import in_use_kib
from tests.helpers.videos import write_video

SAMPLES, SHOWN = 400, 40
CAMERAS = ("porch", "hall")
KEPT_FILES = 50


class Turning:
    """An engine that sees each class for three answers in turn."""

    engine, device, card_text = "onnxruntime", "cpu", None

    def __init__(self) -> None:
        self._calls = 0

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Answer with the class whose turn it is."""
        logits = np.zeros((len(inputs["clip"]), 3), np.float32)
        logits[:, self._calls // 3 % 3] = 5.0
        self._calls += 1
        return {"logits": logits}

    def close(self) -> None:
        """Nothing is held."""


class Server(ThreadingHTTPServer):
    """Takes events, but every seventh in the second attempt only; writes their keys to a file."""

    daemon_threads = True

    def __init__(self, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.log, self.posts = log.open("w"), 0


class Handler(BaseHTTPRequestHandler):
    """One post."""

    server: Server

    def do_POST(self) -> None:
        """Take it, or not yet."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts += 1
        taken = self.server.posts % 7 != 0
        if taken:
            self.server.log.write(self.headers["Idempotency-Key"] + "\n")
        self.send_response(204 if taken else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


class Decided:
    """Writes the key of every event to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def write(self, prediction: Prediction, source: str) -> None:
        """Write those of an answer."""
        self._file.writelines(f"{event.id}:{event.kind}\n" for event in prediction.events)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class Nowhere(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        """Say that it was written."""
        return len(text)


class First:
    """The pictures of the first camera, for a sink that cannot tell several apart."""

    def __init__(self, sink: Recorder | SavedVideo) -> None:
        self._sink = sink
        self.write, self.close = sink.write, sink.close

    def frame(self, frame: Frame, source: str) -> object:
        """Hand on what is of the first camera."""
        return self._sink.frame(frame, source) if source == CAMERAS[0] else False


def handles() -> int:
    """Return the number of open file descriptors."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def camera(number: int, frames: int, clock: VirtualClock) -> FaultySource:
    """Return a source of so many frames, a hundred faults among them."""
    kinds = ("drop", "freeze", "resize", "corrupt", "bad_time", "unplug")
    faults = [
        Fault(kinds[n % len(kinds)], at=at, frames=3, seconds=2.0)  # type: ignore[arg-type]
        for n, at in enumerate(range(200 + 50 * number, frames, max(frames // 100, 400)))
    ]
    pattern = TestPattern(size=(64, 48), fps=30, clock=clock)
    return FaultySource(pattern, faults, clock=clock)


def serve(log: Path) -> None:
    """Serve until stdin ends; print the port first."""
    with Server(log) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()
        server.log.close()


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """Run the server in a process of its own, whose memory is not measured; yield its URL."""
    command = [sys.executable, __file__, "--serve", str(log)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


def routes(folder: Path, store: EventStore, url: str, clock: VirtualClock) -> list[Route]:
    """Return every sink that works without a screen; decided events go to a file too."""
    few = {"store": store, "most_files": KEPT_FILES}
    pieces = SegmentLimits(most_s=300.0, quota_bytes=8_000_000)

    starts = RetainedFolder(folder / "starts", ".jpg", **few)  # type: ignore[arg-type]
    clips = RetainedFolder(folder / "clips", clip_suffix(), **few)  # type: ignore[arg-type]
    events = {"events_only": True}
    hook = Outbox(Webhook(url), store, name="webhook", clock=clock)
    return [
        Route("decided", Decided(folder / "decided")),
        Route("json", JsonLines(Nowhere())),
        Route("events", EventKeeper(store), **events),
        Route("webhook", hook, last=True, **events),
        Route("snapshots", Snapshots(starts), **events),
        Route("clips", EventClips(clips, before_s=0.5, after_s=0.5), **events),
        Route("recorder", First(Recorder(folder / "recording", limits=pieces)), lossless=True),
        Route("video", First(SavedVideo(folder / "x.mp4", fps=30, limits=pieces))),
    ]


def soak(frames: int, folder: Path) -> dict[str, object]:
    """Play so many frames of both cameras together; see that no event is missing anywhere."""
    clock, sizes = VirtualClock(), list[tuple[int, int, int]]()
    sources = {name: camera(n, frames // 2, clock) for n, name in enumerate(CAMERAS)}
    sample_every = max(frames // 2 // SAMPLES, 1)
    before = threading.active_count(), handles(), time.perf_counter()

    def look(name: str, frame: Frame) -> None:
        dispatcher.frame(frame, name)
        seen = {counts.source: counts.frames for counts in pipeline.counts()}
        if name == CAMERAS[0] and seen[name] % sample_every == 0:
            sizes.append((2 * seen[name], resident_kib(), in_use_kib()))
        if seen[name] >= frames // 2:
            sources[name].close()

    with (
        serving(folder / "taken") as url,
        EventStore(folder / "events.db", limits=Limits(10**6), clock=clock) as store,
    ):
        pipeline = Pipeline(
            [SourceInput(s, partial(look, name), name=name) for name, s in sources.items()],
            Recognizer(make_card(), Turning()),
            every_s=2.0,
            capture=CaptureOptions(clock=clock),
            rules=Rules(),
        )
        with Dispatcher(routes(folder, store, url, clock), clock=clock) as dispatcher:
            for prediction in pipeline:
                dispatcher.write(prediction)
            lost = {k: c.dropped + c.failed for k, c in dispatcher.counts().items()}
            dispatcher.close(timeout_s=3600.0)
    late = np.array(sizes[len(sizes) // 2 :], float)
    return {
        "frames": sum(counts.frames for counts in pipeline.counts()),
        "breaks": sum(counts.breaks for counts in pipeline.counts()),
        "seconds": round(time.perf_counter() - before[2], 1),
        "lost_by_sink": {name: count for name, count in lost.items() if count},
        **missing(folder),
        **{
            name: {
                "mib_at": {
                    row[0]: round(row[column] / 1024, 2) for row in sizes[:: SAMPLES // SHOWN]
                },
                "slope_kib": _slope(late[:, 0] / 10_000, late[:, column]),
            }
            for column, name in enumerate(("resident", "in_use"), 1)
        },
        "threads_more": threading.active_count() - before[0],
        "handles_more": handles() - before[1],
    }


def missing(folder: Path) -> dict[str, int]:
    """Compare what was decided with what the event file, the server and the folders have."""
    decided = set((folder / "decided").read_text().splitlines())
    taken = set((folder / "taken").read_text().splitlines())
    database = sqlite3.connect(folder / "events.db")
    told = {":".join(row) for row in database.execute("SELECT event_id, kind FROM messages")}
    rows = {row[0] for row in database.execute("SELECT path FROM media")}
    open_events = database.execute("SELECT count(*) FROM events WHERE NOT ended").fetchone()[0]
    database.close()
    files = {str(p) for name in ("starts", "clips") for p in (folder / name).iterdir()}
    return {
        "events": len(decided),
        "messages": len(told),
        "missing_in_file": len(decided - told),
        "missing_at_server": len(told - taken),
        "files": len(files),
        "files_without_row": len(files - rows),
        "rows_without_file": len(rows - files),
        "without_end": open_events,
    }


def _slope(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the slope of y over x by least squares, and its standard error."""
    (slope, offset), centered = np.polyfit(x, y, 1), x - x.mean()
    rest = y - (slope * x + offset)
    error = float(np.sqrt((rest @ rest) / (len(x) - 2) / (centered @ centered)))
    return [round(float(slope), 2), round(error, 2)]


def reconnect(times: int) -> dict[str, object]:
    """Lose a camera that OpenCV reads, and open it again, so many times."""
    with tempfile.TemporaryDirectory() as folder:
        clock = VirtualClock()
        lost = Camera(str(write_video(Path(folder) / "x.avi", 3)), clock=clock)
        capture = LiveCapture(lost, CaptureOptions(clock=clock))
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


def draw(mib_at: Mapping[str, Mapping[int, float]], out: Path) -> None:
    """Draw the memory over the frames."""
    from plots import lines  # loads matplotlib, whose memory is not to be measured

    title = "two cameras, every sink"
    curves = {
        name.replace("_", " "): {frames // 1000: mib for frames, mib in list(at.items())[::4]}
        for name, at in mib_at.items()
    }
    lines({title: curves}, out, unit="MiB", across={title: "thousand frames"})


def main() -> None:
    """Soak, then reconnect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--reconnects", type=int, default=500)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    if os.environ.get("PYTHONMALLOC") != "malloc":
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONMALLOC": "malloc"}
        )
    logging.disable(logging.WARNING)  # of every loss
    before = environment()
    with tempfile.TemporaryDirectory() as folder:
        results = {"soak": soak(given.frames, Path(folder))}
    results["reconnect"] = reconnect(given.reconnects)
    report(results, before, given.out)
    if given.out:
        measured = {name: results["soak"][name]["mib_at"] for name in ("resident", "in_use")}
        draw(measured, given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
