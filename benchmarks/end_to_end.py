"""Where does the time of an answer go, from a 1080p file to the class?

    python benchmarks/end_to_end.py [BUNDLE] --out results/end_to_end.json

A generated 10 s film, 1920x1080, 30 frames a second, H.264 by ffmpeg, and a bundle (by default the
demo model). Each stage is timed on its own, all in turns, and so is the whole: every frame decoded,
eight of them converted and prepared, one run of the engine.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
from environment import environment, report
from plots import bars
from turns import Run, in_turns, told

from edge_tsm import Recognizer, demo, load
from edge_tsm.demo.synthetic import generate
from edge_tsm.inference.preprocess import Preprocessor
from edge_tsm.sources.files import VideoFile

SIZE, FPS, SECONDS = (1920, 1080), 30, 10


def film(path: Path) -> Path:
    """Write the film."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", "{}x{}".format(*SIZE), "-r", str(FPS), "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "fast", "-pix_fmt", "yuv420p", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        for image in generate(900_000, times=FPS * SECONDS, short_side_px=540):
            ffmpeg.stdin.write(cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC).tobytes())
    return path


def stages(path: Path, recognizer: Recognizer) -> dict[str, Run]:
    """Return each stage of one answer, and all of them together."""
    source = VideoFile(path)
    frames = [frame.image for frame in source.sample(recognizer.sample)]
    crops = [recognizer.prepare(image) for image in frames]
    card, preprocess = recognizer.card, Preprocessor(recognizer.card.preprocess)
    clip = {card.input.name: preprocess.tensor(crops)[None]}

    def whole() -> object:
        sampled = source.sample(recognizer.sample)
        return recognizer.predict([recognizer.prepare(frame.image) for frame in sampled])

    return {
        "decode": lambda: source.sample(recognizer.sample),
        "resize and crop": lambda: [recognizer.prepare(image) for image in frames],
        "normalize": lambda: preprocess.tensor(crops),
        "engine": lambda: recognizer.backend.run(clip),
        "the whole": whole,
    }


def measure(bundle: Path, rounds: int) -> dict[str, Any]:
    """Time every stage."""
    with tempfile.TemporaryDirectory() as folder, load(bundle) as recognizer:
        path = film(Path(folder) / "film.mp4")
        turns = in_turns(stages(path, recognizer), rounds=rounds)
        answered = f"{recognizer.variant.file.path} on {recognizer.backend.engine}"
    ms = turns.ms()
    shares = {name: round(ms[name] / ms["the whole"], 3) for name in ms if name != "the whole"}
    return {
        "artifact": answered,
        **told("ms", turns.rounds),
        "share_of_the_whole": shares,
        "decoded_fps": round(FPS * SECONDS / ms["decode"] * 1000, 1),
        "prepare_ms_per_frame": round(ms["resize and crop"] / 8, 2),
    }


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=demo.bundle())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before = environment()
    results = measure(given.bundle, given.rounds)
    report(results, before, given.out)
    if given.out:
        title = f"one answer from 10 s of 1080p: {results['artifact']}"
        bars({title: results["ms"]}, given.out.with_suffix(".png"), unit="ms", strong=["engine"])


if __name__ == "__main__":
    main()
