"""How long does it take to get eight frames of a video, by us and by other readers?

    python benchmarks/decode.py [CLIPS ...] --out results/decode.json

Eight frames as the TSM rule takes them, of long films made by ffmpeg (kept in --films, where they
are found again) and of short clips: generated ones, and each folder CLIPS as one. OpenCV (every
frame read or only grabbed, or set to each wanted frame), edge-tsm, PyAV, torchcodec and decord,
each in a process of its own, in turns. Told are milliseconds for all files of a line, how many
times longer than edge-tsm a reader takes, and how far its frames are from those of OpenCV that
reads every frame; a reader that cannot be had, or fails at a file, is named with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, report
from plots import bars
from readers import READERS
from turns import Run, Turns, calls, told

HERE = Path(__file__).resolve().parent
OURS, EXACT = "edge-tsm", "OpenCV, every frame read"


@dataclass(frozen=True)
class Film:
    """What ffmpeg is to make: its generated picture, how it is coded, and how many such files."""

    stem: str
    size: str
    seconds: int
    fps: int
    coding: str
    suffix: str = "mp4"
    files: int = 1


H264 = "-c:v libx264 -preset veryfast"
H265 = "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=none:frame-threads=1"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M"
FILMS = {
    "60 s of 720p, H.264, a keyframe every 2 s": Film("h264", "1280x720", 60, 25, f"{H264} -g 50"),
    "10 s of 1080p, H.264": Film("h264-1080p", "1920x1080", 10, 30, H264),
    "10 min of 320x240, H.264": Film("h264-10min", "320x240", 600, 25, H264),
    "30 s of 720p, H.265, a keyframe every 2 s": Film(
        "hevc", "1280x720", 30, 25, f"{H265}:keyint=50"
    ),
    "60 s of 720p, MPEG-4": Film("mpeg4", "1280x720", 60, 25, "-c:v mpeg4 -q:v 4"),
    "30 s of 720p, VP9": Film("vp9", "1280x720", 30, 25, VP9, "webm"),
    "12 clips of 2 s, 320x240, H.264": Film("short", "320x240", 2, 25, H264, files=12),
}
VISIT_S = 0.2  # reading again and again, where once takes less
VIDEOS = (".mp4", ".avi", ".mkv", ".webm")


def made(film: Film, folder: Path) -> list[Path]:
    """Return the files of a film, made where they are not there yet."""
    paths = [folder / f"{film.stem}{number}.{film.suffix}" for number in range(film.files)]
    for number, path in enumerate(paths):
        if not path.exists():
            part = path.with_name(f"part-{path.name}")
            noise = f"noise=alls=6:allf=t:all_seed={number}"
            picture = f"testsrc2=s={film.size}:d={film.seconds}:r={film.fps},{noise}"
            command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", picture]
            command += [*film.coding.split(), "-pix_fmt", "yuv420p", str(part)]
            subprocess.run(command, check=True)
            part.rename(path)
    return paths


class Peer:
    """A reader in a process of its own; `error` says why it cannot be had."""

    def __init__(self, name: str) -> None:
        environ = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "readers.py"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environ,
        )  # fmt: skip
        self.error = str(self._answer().get("error", ""))

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def read(self, paths: Sequence[Path], save: Path | None = None) -> dict[str, Any]:
        """Have the reader read, and wait for it."""
        asked = {"paths": list(map(str, paths)), "save": save and str(save)}
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": f"it ended by {self._process.wait()}"}


def measure(peers: Mapping[str, Peer], paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Compare frames, then time all readers that give any."""
    frames, errors = dict[str, list[np.ndarray]](), dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, peer) in enumerate(peers.items()):
            save = Path(folder) / f"{number}.npz"
            if error := peer.read(paths, save).get("error"):
                errors[name] = error
                continue
            with np.load(save) as saved:
                frames[name] = list(saved.values())
    turns = visited({name: partial(peers[name].read, paths) for name in frames}, rounds)
    return {
        "files": len(paths),
        **told("ms", turns.rounds),
        **told("times_ours", ratios(turns)),
        "off_by": {n: off_by(f, frames[EXACT]) for n, f in frames.items() if EXACT in frames},
        "failed": errors,
    }


def visited(runs: Mapping[str, Run], rounds: int) -> Turns:
    """Read by all in turns: all have read the files once, and each rests while others work."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            found[name].append(statistics.median(calls(runs[name], VISIT_S, least=1)))
    return Turns(found)


def ratios(turns: Turns) -> dict[str, list[float]]:
    """Return how many times longer than ours each reader took, by round."""
    return {name: turns.ratios(name, OURS) for name in turns.rounds if name != OURS}


def off_by(frames: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> dict[str, float] | str:
    """Return the largest and the mean difference of values from 0 to 255, or that there is none."""
    if [f.shape for f in frames] != [f.shape for f in exact]:
        return "other sizes"
    pairs = zip(frames, exact, strict=True)
    differences = [np.abs(one.astype(np.int16) - other) for one, other in pairs]
    if not any(d.any() for d in differences):
        return "equal to the bit"
    means = [float(d.mean()) for d in differences]
    return {
        "largest": max(int(d.max()) for d in differences),
        "mean": round(float(np.mean(means)), 3),
        "mean_of_worst_frame": round(max(means), 3),  # above some ten: another frame
    }


def clips_in(folder: Path) -> list[Path]:
    """Return the videos of a folder."""
    return sorted(p for p in folder.rglob("*") if p.suffix in VIDEOS)


def main() -> None:
    """Measure each line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path, help="folders")
    parser.add_argument("--most", type=int, default=24, help="clips of each folder")
    parser.add_argument("--only", nargs="+", default=[""], help="films with this in their names")
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "films")
    parser.add_argument("--make", action="store_true", help="only make the films")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.films.mkdir(exist_ok=True, parents=True)
    chosen = {n: film for n, film in FILMS.items() if any(part in n for part in given.only)}
    lines = {name: made(film, given.films) for name, film in chosen.items()}
    lines |= {f"clips of {folder.name}": clips_in(folder)[: given.most] for folder in given.clips}
    if given.make:
        return
    before, results = environment(), dict[str, Any]()
    with ExitStack() as stack:
        every = {name: stack.enter_context(Peer(name)) for name in READERS}
        absent = {name: peer.error for name, peer in every.items() if peer.error}
        peers = {name: peer for name, peer in every.items() if not peer.error}
        for name, paths in lines.items():
            results[name] = measure(peers, paths, given.rounds)
            report({"absent": absent, **results}, before, given.out)
    if given.out:
        panels = {name: found["ms"] for name, found in results.items()}
        bars(panels, given.out.with_suffix(".png"), unit="ms", strong=[OURS])


if __name__ == "__main__":
    main()
