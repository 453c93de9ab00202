"""What does one frame cost online, against the official route and against clips?

    python benchmarks/online.py --out online.json

MobileNetV2 as the official online demo has it (untrained weights; time does not depend on them) and
ResNet-50, in one process with interleaved repeats: torch eager as the demo network runs it, the
online bundle on each engine in f32 and int8, and the clip form of the same weights, whose answer
shows all 8 frames again. Then 1 to 8 streams, the share of a step that handing out the state takes,
and, with the trained demo model, how long after an action's start it is answered.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from converters.build import Settings, convert, plan  # noqa: E402
from converters.calibration import ClipSet  # noqa: E402
from converters.clips import generated_clip  # noqa: E402
from converters.int8 import Int8  # noqa: E402
from converters.models import build_online  # noqa: E402
from converters.recipe import Options  # noqa: E402
from edge_tsm import demo, load  # noqa: E402
from edge_tsm.backends import ENGINES  # noqa: E402
from edge_tsm.card import Card  # noqa: E402
from edge_tsm.stream import feed, fresh_state, next_state  # noqa: E402
from edge_tsm.synthetic import LABELS, generate  # noqa: E402
from tests.converters.upstream import write_checkpoint  # noqa: E402

REPEATS, STREAMS = 30, (1, 2, 4, 8)
FPS, ACTION_S = 25, 2.0

Run = Callable[[], object]


def interleaved_ms(runs: dict[str, Run], repeats: int = REPEATS) -> dict[str, float]:
    """Return the median time of each run, all of them taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 3):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn >= 3:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def stepper(card: Card, backend: Any) -> Run:
    """Return a step that feeds its own state back."""
    state = {"now": fresh_state(card)}
    frame = np.random.default_rng(0).standard_normal(card.input.shape).astype(np.float32)

    def step() -> None:
        state["now"] = next_state(card, backend.run(feed(card, frame, state["now"])))

    return step


def eager(checkpoint: Path, options: Options) -> Run:
    """Return a step of the network in torch, as the official demo network runs before TVM."""
    planned = plan(checkpoint, options)
    model = build_online(planned.recipe, planned.checkpoint.tensors)
    frame, state = torch.randn(1, 3, 224, 224), {"now": ()}

    def step() -> None:
        with torch.no_grad():
            _, *state["now"] = model(frame, *state["now"])

    return step


def per_frame(arch: str, folder: Path) -> dict[str, Any]:
    """Measure one network's step in every form."""
    checkpoint = write_checkpoint(folder, arch, name=f"{arch}.pth.tar")
    clips = ClipSet(np.stack([generated_clip(seed, 8, 224) for seed in range(8)]))
    settings = Settings(int8=Int8(clips, keep_float="none", max_drop=1.0))
    online = Options(online=True, shift_direction="past", segments=8)
    bundles = {
        "online": convert(checkpoint, folder / f"{arch}-online.bundle", online, settings),
        "clip": convert(checkpoint, folder / f"{arch}.bundle",
                        Options(shift_direction="past", segments=8), settings),
    }  # fmt: skip
    runs: dict[str, Run] = {"online, torch eager": eager(checkpoint, online)}
    clip = np.random.default_rng(0).standard_normal((1, 24, 224, 224)).astype(np.float32)
    for form, bundle in bundles.items():
        for name, file in Card.read(bundle).files.items():
            recognizer = load(bundle, engine=file.engine, variant=name)
            card, backend = recognizer.card, recognizer.backend
            runs[f"{form}, {name}"] = (
                stepper(card, backend)
                if form == "online"
                else lambda backend=backend, card=card: backend.run({card.input.name: clip})
            )
    found = interleaved_ms(runs)
    fastest = {form: min(v for k, v in found.items() if k.startswith(form + ", model"))
               for form in bundles}  # fmt: skip
    return {
        "ms": found,
        "times_faster_than_eager": round(found["online, torch eager"] / fastest["online"], 2),
        "clip_answer_over_step": round(fastest["clip"] / fastest["online"], 2),
        "state_share": state_share(bundles["online"]),
    }


def state_share(bundle: Path) -> float:
    """Return the share of a step that handing the caches out takes, on ONNX Runtime."""
    recognizer = load(bundle, engine="onnxruntime", variant="model.onnx")
    card, session = recognizer.card, recognizer.backend._session
    inputs = feed(card, np.zeros(card.input.shape, np.float32), fresh_state(card))
    found = interleaved_ms({
        "all": lambda: session.run(None, inputs),
        "logits": lambda: session.run([card.output.name], inputs),
    }, repeats=100)  # fmt: skip
    return round(max(0.0, found["all"] - found["logits"]) / found["all"], 4)


def streams(bundle: Path) -> dict[str, float]:
    """Return the time in which N streams of one engine all step once."""
    recognizer = load(bundle)
    steps = [stepper(recognizer.card, recognizer.backend) for _ in range(max(STREAMS))]

    def all_of(count: int) -> Run:
        return lambda: [step() for step in steps[:count]]

    return interleaved_ms({str(count): all_of(count) for count in STREAMS})


def delays_s(clips: int) -> dict[str, Any]:
    """Return the seconds from an action's start to its first right answer that lasts.

    Two seconds of stillness come before the action, whose length is two seconds; both forms answer
    four times a second, a clip on the last two seconds.
    """
    found: dict[str, list[float]] = {"clip": [], "online": []}
    times = np.arange(-ACTION_S, ACTION_S, 1 / FPS) / ACTION_S
    labels = [i for i, name in enumerate(LABELS) if name != "nothing"]
    models = {form: load(demo.bundle(form)) for form in found}
    card = models["online"].card
    every = FPS // round(card.streaming.fps)
    for seed in range(clips):
        label = labels[seed % len(labels)]
        images = generate(700_000 + seed, label=label, times=list(times), short_side_px=240)
        crops = [models["clip"].prepare(image) for image in images]
        stream, right = models["online"].stream(), {"clip": [], "online": []}
        first = len(images) // 2
        for end in range(0, len(images), every):
            right["online"].append(int(stream.push(crops[end]).logits.argmax()) == label)
            window = np.linspace(max(end - FPS * ACTION_S, 0), end, 17)[1::2].astype(int)
            clip = models["clip"].predict([crops[i] for i in window])
            right["clip"].append(int(clip.logits.argmax()) == label)
        for form, answers in right.items():
            start = -(-first // every)
            hits = [i for i in range(start, len(answers)) if all(answers[i:])]
            if hits:
                found[form].append((hits[0] * every - first) / FPS)
    return {form: {"median_s": round(statistics.median(v), 2), "answered": len(v) / clips}
            for form, v in found.items() if v}  # fmt: skip


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archs", nargs="*", default=["mobilenetv2", "resnet50"])
    parser.add_argument("--clips", type=int, default=80, help="for the delay")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for arch in arguments.archs:
            results[arch] = per_frame(arch, Path(folder))
            print(arch, json.dumps(results[arch], indent=1), flush=True)
        results["streams_ms"] = streams(Path(folder) / f"{arguments.archs[0]}-online.bundle")
    print("streams", results["streams_ms"], flush=True)
    results["delay"] = delays_s(arguments.clips)
    print("delay", results["delay"], flush=True)
    environment = {
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in (*ENGINES, "torch")},
    }
    if arguments.out:
        text = json.dumps({"environment": environment, "results": results}, indent=1)
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
