"""How much faster than real time is a recording scanned, and does the timeline hold what is in it?

    python benchmarks/scan.py [BUNDLE] --out results/scan.json

A film of generated clips of known classes, two seconds each, 1280x720, H.264 by PyAV, ten minutes
of it. `edge-tsm scan` and a plain loop (OpenCV reads, resizes and crops every frame that a window
needs; ONNX Runtime answers) look at the same windows of the same artifact, in turns. The truth is
what the model answers to each clip alone, shown it as a file: of clips whose answer is right and
sure, the timeline must have that action within one window.
"""

import argparse
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime
from environment import environment, report

from edge_tsm import Recognizer, Rules, demo, load, scan
from edge_tsm.demo.synthetic import LABELS, generate, label_of
from edge_tsm.live.forms import FORMS
from edge_tsm.scanning.scan import ScanOptions
from edge_tsm.scanning.timeline import Timeline
from edge_tsm.scanning.windows import planned
from edge_tsm.sources.files import VideoFile

FPS, CLIP_S, SIZE = 25, 2.0, (1280, 720)
FIRST_SEED = 910_000
SURE = 0.6


def film(path: Path, clips: int) -> Path:
    """Write the film, a keyframe every two seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.gop_size = "yuv420p", 2 * FPS
        for number in range(clips):
            for k, image in enumerate(generate(FIRST_SEED + number, times=round(FPS * CLIP_S))):
                large = cv2.resize(image, SIZE, interpolation=cv2.INTER_LINEAR)
                frame = av.VideoFrame.from_ndarray(large, format="bgr24")
                frame.pts = number * round(FPS * CLIP_S) + k
                frame.time_base = Fraction(1, FPS)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain_loop(path: Path, model: Path, recognizer: Recognizer) -> float:
    """Return the seconds of a loop as many write it, over the same windows."""
    card = recognizer.card
    pace = ScanOptions().pace(recognizer)
    times_s = VideoFile(path).listing().times_s
    form = FORMS[recognizer.runner.form](recognizer, pace)
    due = {c.window.frames[-1]: c.window.frames for c in planned(form.assembler(pace), times_s)}
    needed = {index for frames in due.values() for index in frames}
    mean, std = np.float32(card.preprocess.mean), np.float32(card.preprocess.std)
    started = time.perf_counter()
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    capture, index, crops = cv2.VideoCapture(str(path)), -1, dict[int, np.ndarray]()
    waiting = sorted(due)
    while True:
        ok, image = capture.read()
        if not ok:
            break
        index += 1
        if index in needed:
            crops[index] = _crop(image, mean, std)
        while waiting and waiting[0] <= index:
            frames = due[waiting.pop(0)]
            clip = np.concatenate([crops[i] for i in frames])[None]
            session.run(None, {card.input.name: clip})
            crops = {i: crop for i, crop in crops.items() if i >= frames[0]}
    return time.perf_counter() - started


def _crop(image: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = 256 / min(height, width)
    image = cv2.resize(image, (round(width * scale), round(height * scale)))
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    image = cv2.cvtColor(image[top : top + 224, left : left + 224], cv2.COLOR_BGR2RGB)
    return ((image.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)


def sure_clips(recognizer: Recognizer, clips: int) -> dict[int, str]:
    """Return the label of each clip that the model answers rightly and surely by itself."""
    found = {}
    for number in range(clips):
        label = LABELS[label_of(FIRST_SEED + number)]
        answer = recognizer(list(generate(FIRST_SEED + number, times=round(FPS * CLIP_S))))
        if answer.label == label != "nothing" and answer.top(1)[0].probability >= SURE:
            found[number] = label
    return found


def within_a_window(timeline: Timeline, sure: dict[int, str]) -> int:
    """Return of how many sure clips the timeline has the action within one window."""
    [file] = timeline.files
    window_s, count = timeline.pace.window_s, 0
    for number, label in sure.items():
        first_s, last_s = CLIP_S * number, CLIP_S * (number + 1) + window_s
        near = (e.label for e in file.actions if e.told_s >= first_s and e.start_s <= last_s)
        count += label in near
    return count


def measure(bundle: Path, minutes: float, rounds: int) -> dict[str, Any]:
    """Scan the film both ways, in turns."""
    clips = round(minutes * 60 / CLIP_S)
    times: dict[str, list[float]] = {"scan": [], "plain loop": []}
    with tempfile.TemporaryDirectory() as folder, load(bundle) as recognizer:
        path = film(Path(folder) / "film.mp4", clips)
        model = bundle / recognizer.variant.file.path
        if model.suffix != ".onnx":
            model = bundle / ("model.int8.onnx" if "int8" in model.name else "model.onnx")
        rules = Rules(background=("nothing",))
        for _ in range(rounds):
            timeline = scan(recognizer, path, rules=rules)
            times["scan"].append(timeline.seconds)
            times["plain loop"].append(plain_loop(path, model, recognizer))
        sure = sure_clips(recognizer, clips)
        answered = f"{recognizer.variant.file.path} on {recognizer.backend.engine}"
    ratios = [plain / ours for ours, plain in zip(*times.values(), strict=True)]
    return {
        "scan by": answered,
        "plain loop by": f"{model.name} on onnxruntime",
        "minutes": minutes,
        "windows": len(timeline.files[0].answers),
        "seconds": times,
        "times_real_time": {
            name: round(60 * minutes / statistics.median(s), 2) for name, s in times.items()
        },
        "times_the_plain_loop": round(statistics.median(ratios), 2),
        "sure_clips": len(sure),
        "within_a_window": within_a_window(timeline, sure),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=demo.bundle())
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before = environment()
    report(measure(given.bundle, given.minutes, given.rounds), before, given.out)


if __name__ == "__main__":
    main()
