"""Is `edge-tsm frames` faster than upstream's ffmpeg calls, and are its pictures as good?

    python benchmarks/frames.py [FOLDER of class folders] --out frames.json

Upstream (tools/vid2img_*.py) starts `ffmpeg -i X -vf scale=-1:256 -q:v 0 img_%05d.jpg` per video.
Both cut the same videos with as many workers, in turns; ours includes the start of Python. Quality:
PSNR of the pictures against ffmpeg's own full-chroma decoding, made smaller by Pillow: bilinear
with antialiasing, as preprocessing does with a video, and Lanczos.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from environment import environment, report
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}


def upstream(videos: list[Path], out: Path, workers: int) -> None:
    """Cut as upstream's tools do: one ffmpeg per video."""

    def cut(video: Path) -> None:
        folder = out / video.parent.name / video.stem
        folder.mkdir(parents=True)
        options = ["-threads", "1", "-vf", "scale=-1:256", "-q:v", "0"]
        command = ["ffmpeg", "-v", "error", "-i", video, *options, folder / "img_%05d.jpg"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(cut, videos))


def ours(videos: list[Path], out: Path, workers: int) -> None:
    """Cut by the command."""
    root = videos[0].parent.parent
    command = [sys.executable, "-m", "edge_tsm", "frames", root, out, "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> dict[str, float]:
    """Return wall seconds, and those of the processors in child processes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall_s, 3), "cpu_s": round(cpu_s, 3)}


def psnr_db(video: Path, folder: Path, every: int) -> dict[str, list[float]]:
    """Return the PSNR of every n-th picture of a clip, against both references."""
    found: dict[str, list[float]] = {name: [] for name in FILTERS}
    with tempfile.TemporaryDirectory() as raw:
        chroma = ["-sws_flags", "bicubic+accurate_rnd+full_chroma_int"]
        command = ["ffmpeg", "-v", "error", "-i", video, *chroma, f"{raw}/%05d.png"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        for path in sorted(folder.glob("*.jpg"))[::every]:
            picture = np.asarray(Image.open(path).convert("RGB"), np.float64)
            whole = Image.open(f"{raw}/{path.stem[4:]}.png").convert("RGB")
            for name, kind in FILTERS.items():
                wanted = np.asarray(whole.resize(picture.shape[1::-1], kind), np.float64)
                found[name].append(10 * np.log10(255**2 / np.mean((picture - wanted) ** 2)))
    return found


def quality(out: Path, videos: list[Path]) -> dict[str, float]:
    """Return mean PSNR over a few videos, and bytes per picture over all."""
    rows = [psnr_db(video, out / video.parent.name / video.stem, 20) for video in videos]
    means = {n: round(statistics.fmean(x for row in rows for x in row[n]), 2) for n in FILTERS}
    sizes = [path.stat().st_size for path in out.rglob("*.jpg")]
    return {
        **means,
        "frames": len(sizes),
        "kib_per_frame": round(statistics.fmean(sizes) / 1024, 1),
    }


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT.parent / "shared/clips/surv_fight"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--most", type=int, default=10**9, help="videos")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    before = environment()
    ways = {"upstream": upstream, "edge-tsm": ours}
    timings: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    found = sorted(p for p in arguments.folder.glob("*/*") if p.suffix in (".mp4", ".avi"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        videos = [
            root / "videos" / p.parent.name / p.name
            for p in found[:: -(-len(found) // arguments.most)]
        ]
        for video in videos:
            video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(arguments.folder / video.parent.name / video.name, video)
        for number in range(arguments.rounds):
            for name in list(ways)[:: 1 if number % 2 else -1]:
                shutil.rmtree(root / name, ignore_errors=True)
                row = timed(lambda n=name: ways[n](videos, root / n, arguments.workers))
                timings[name].append(row)
                print(f"round {number} {name:<9} {json.dumps(row)}", flush=True)
        pictures = {name: quality(root / name, videos[:: -(-len(videos) // 12)]) for name in ways}
    results = {
        name: {
            **{
                f"{k}_median": statistics.median(r[k] for r in timings[name])
                for k in timings[name][0]
            },
            **pictures[name],
            "rounds": timings[name],
        }
        for name in ways
    }
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    about = {"workers": arguments.workers, "videos": len(videos)}
    report(results, {**before, **about, "ffmpeg": version.stdout.split()[2]}, arguments.out)


if __name__ == "__main__":
    main()
