"""How long is it from the start of a process to the first answer, against a bare script?

    python benchmarks/start.py [BUNDLE ...] --out results/start.json

For each bundle (by default untrained int8 of ResNet-50 and MobileNetV2, converted here) and each
engine, processes are started in turns: a bare script imports the engine, loads the artifact and
runs it once; `edge_tsm.load` does the same with checks and choice; `edge-tsm run` answers a folder
of eight pictures, beside a bare script that reads them by OpenCV. "first" is with an empty cache,
"again" with the one that the run before left. Medians of wall and processor time, and ratios taken
within each round. "camera" is what `--stats` tells of a run with a test pattern. Modules are
compiled before, as pip leaves them: a checkout under PYTHONDONTWRITEBYTECODE would compile them at
every start. `--imports` prints what the imports of `edge-tsm run` cost.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from environment import environment, report
from turns import spread

import edge_tsm
from edge_tsm.bundle.card import Card

ROUNDS = 7
CAMERA = "test://640x480/30"
BARE = {
    "onnxruntime": """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: CLIP})
""",
    "openvino": """
import sys, numpy as np, openvino
core = openvino.Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU",
    {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
compiled.create_infer_request().infer([CLIP])
""",
}
ZEROS = "np.zeros((1, 24, 224, 224), np.float32)"
PICTURES = """np.stack([cv2.resize(cv2.imread(f"{sys.argv[2]}/{i}.png"), (224, 224))
    .transpose(2, 0, 1).astype(np.float32) / 255 for i in range(8)]).reshape(1, 24, 224, 224)"""
OURS = """
import sys, numpy as np, edge_tsm
recognizer = edge_tsm.load(sys.argv[1], engine=sys.argv[2], variant=sys.argv[3])
recognizer.predict([np.zeros((224, 224, 3), np.uint8)] * 8)
"""


def took(command: list[str], cache: Path) -> dict[str, float]:
    """Return wall and processor seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    variables = {**os.environ, "EDGE_TSM_CACHE": str(cache)}
    subprocess.run(command, check=True, capture_output=True, env=variables)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def commands(bundle: Path, engine: str, artifact: str, pictures: Path) -> dict[str, list[str]]:
    """Return what is started, by name."""
    python, path = sys.executable, str(bundle / artifact)
    bare, reading = BARE[engine], "import cv2\n" + BARE[engine].replace("CLIP", PICTURES)
    return {
        "bare": [python, "-c", bare.replace("CLIP", ZEROS), path],
        "edge_tsm.load": [python, "-c", OURS, str(bundle), engine, artifact],
        "bare with pictures": [python, "-c", reading, path, str(pictures)],
        "edge-tsm run": [
            *(python, "-m", "edge_tsm", "run", str(bundle), "--source", str(pictures)),
            *("--engine", engine, "--variant", artifact, "--json"),
        ],
    }


def first_answer_s(bundle: Path, engine: str, artifact: str, cache: Path) -> float:
    """Return what `--stats` tells of a run with a camera, a test pattern: a window is in it."""
    command = [sys.executable, "-m", "edge_tsm", "run", str(bundle), "--source", CAMERA]
    command += ["--engine", engine, "--variant", artifact, "--json", "--stats", "1"]
    variables = {**os.environ, "EDGE_TSM_CACHE": str(cache)}
    done = subprocess.run(
        [*command, "--max-answers", "1"],
        check=True, capture_output=True, text=True, env=variables, timeout=60,
    )  # fmt: skip
    [told] = re.findall(r"first answer ([\d.]+) s", done.stderr)
    return float(told)


def measure(bundle: Path, engine: str, artifact: str, rounds: int) -> dict[str, Any]:
    """Start every process in every round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(8):
            cv2.imwrite(str(folder / f"{i}.png"), np.full((240, 320, 3), 30 * i, np.uint8))
        started = commands(bundle, engine, artifact, folder)
        caches = {key: Path(tempfile.mkdtemp(dir=folder)) for key in started}
        first = {key: took(started[key], caches[key]) for key in started}
        found: dict[str, list[dict[str, float]]] = {key: [] for key in started}
        for _ in range(rounds):
            for key, command in started.items():
                found[key].append(took(command, caches[key]))
        camera_s = first_answer_s(bundle, engine, artifact, caches["edge-tsm run"])
    return {
        "camera": {"first_answer_s": camera_s, "window_s": Card.read(bundle).sampling.window_s},
        "first": first,
        "again": {key: _medians(runs) for key, runs in found.items()},
        "over_bare": {
            "edge_tsm.load": _ratio(found, "edge_tsm.load", "bare"),
            "edge-tsm run": _ratio(found, "edge-tsm run", "bare with pictures"),
        },
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every figure, and its spread beside it."""
    found = dict[str, float]()
    for key in runs[0]:
        values = [run[key] for run in runs]
        found |= {key: round(statistics.median(values), 3), f"{key}_mad": spread(values)}
    return found


def _ratio(found: Mapping[str, list[dict[str, float]]], ours: str, bare: str) -> dict[str, float]:
    pairs = zip(found[ours], found[bare], strict=True)
    return _medians([{key: a[key] / b[key] for key in a} for a, b in pairs])


def imports(most: int = 30) -> list[str]:
    """Return the slowest imports of `edge-tsm run`: microseconds with what they import, alone."""
    command = [sys.executable, "-X", "importtime", "-c", "import edge_tsm.cli.run"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    rows = [line.removeprefix("import time:").split("|") for line in lines[1:]]
    rows.sort(key=lambda row: -int(row[1]))
    return [f"{int(whole):8} {int(alone):8} {name.strip()}" for alone, whole, name in rows[:most]]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    compileall.compile_dir(Path(edge_tsm.__file__).parent, quiet=1)
    if given.imports:
        print("\n".join(imports()))
        return
    before, results = environment(), {}
    with tempfile.TemporaryDirectory() as folder:
        for bundle in given.bundles or _untrained(Path(folder)):
            for file in Card.read(bundle).files.values():
                if file.precision == "int8" and file.target == "any":
                    for engine in file.engines:
                        found = measure(bundle, engine, file.path, given.rounds)
                        results[f"{bundle.stem} {file.path} on {engine}"] = found
    report(results, before, given.out)


def _untrained(folder: Path) -> list[Path]:
    from networks import make_bundle

    return [make_bundle(folder, arch)[1] for arch in ("resnet50", "mobilenetv2")]


if __name__ == "__main__":
    main()
