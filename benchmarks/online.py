"""What does one frame cost online, against the official route and against clips?

    python benchmarks/online.py --out online.json

MobileNetV2 as the official online demo has it (untrained weights; time does not depend on them) and
ResNet-50, in one process with interleaved repeats: torch eager as the demo network runs it, the
online bundle on each engine in f32 and int8, and the clip form of the same weights, whose answer
shows all 8 frames again. Then 1 to 8 streams in each way that there is, the share of a step that
handing out the state takes, and, with the trained demo model, how long after an action's start it
is answered.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, report
from networks import CALIBRATION_CLIPS, ENGINE_NAMES, answer, opened
from peak import int8_shares, of_bundle
from plots import bars
from turns import Run, in_turns, told

from converters import ClipSet, Int8, Options, Settings, convert, plan
from converters.architectures.classifier import build_online
from converters.verification.clips import generated_clip
from edge_tsm import Recognizer, RuntimeOptions, demo, load
from edge_tsm.bundle.card import Card
from edge_tsm.demo.synthetic import LABELS, generate
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.streaming import feed, fresh_state, next_state
from edge_tsm.inference.variants import Variant
from edge_tsm.system.machine import physical_cores
from tests.helpers.upstream import write_checkpoint

STREAMS = (1, 2, 4, 8)
FPS, ACTION_S = 25, 2.0


def stepper(recognizer: Recognizer) -> Run:
    """Return a step that feeds its own state back."""
    card, backend = recognizer.card, recognizer.backend
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


def bundles(arch: str, folder: Path) -> tuple[Path, dict[str, Path]]:
    """Convert the same weights in both forms, with int8; return the checkpoint, too."""
    checkpoint = write_checkpoint(folder, arch, name=f"{arch}.pth.tar")
    one_way = Options(shift_direction="past", segments=8)
    forms = {"online": replace(one_way, online=True), "clip": one_way}
    return checkpoint, {
        form: convert(checkpoint, folder / f"{arch}-{form}.bundle", options, with_int8())
        for form, options in forms.items()
    }


def with_int8() -> Settings:
    """Return settings for an int8 of any accuracy."""
    clips = ClipSet(np.stack([generated_clip(s, 8, 224) for s in range(CALIBRATION_CLIPS)]))
    return Settings(int8=Int8(clips, keep_float="none", max_drop=1 - 1e-9))


def per_frame(arch: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure one network's step in every form."""
    checkpoint, made = bundles(arch, folder)
    online = Options(online=True, shift_direction="past", segments=8)
    runs: dict[str, Run] = {"online, torch eager": eager(checkpoint, online)}
    for form, bundle in made.items():
        for name, recognizer in opened(bundle):
            if "bf16" not in name:
                run = stepper(recognizer) if form == "online" else answer(recognizer)
                runs[f"{form}, {name}"] = run
    found = in_turns(runs, rounds=rounds)
    names = [name.removeprefix("clip, ") for name in runs if name.startswith("clip, ")]
    best = {form: found.fastest(*(f"{form}, {e}" for e in ENGINE_NAMES.values())) for form in made}
    shares = {}
    for form, bundle in made.items():
        ms = {name: ms for name, ms in found.ms().items() if name.startswith(form)}
        shares |= int8_shares(ms, of_bundle(bundle))
    return {
        **told("ms", found.rounds),
        "share_of_int8_peak": shares,
        "best": best,
        "times_faster_than_eager": found.ratio("online, torch eager", best["online"]),
        **told(
            "clip_answer_over_step",
            {
                "best of each": found.ratios(best["clip"], best["online"]),
                **{name: found.ratios(f"clip, {name}", f"online, {name}") for name in names},
            },
        ),
        "state_share": state_share(made["online"], rounds),
    }


def state_share(bundle: Path, rounds: int) -> dict[str, float]:
    """Return the share of a step that feeding caches in and handing them out takes, by engine.

    Against the same engine, which is asked for the logits alone.
    """
    found = {}
    for name, recognizer in opened(bundle):
        card, backend = recognizer.card, recognizer.backend
        inputs = feed(card, np.zeros(card.input.shape, np.float32), fresh_state(card))
        if name.startswith("ONNX Runtime"):
            session = backend._session
            bare = lambda session=session, card=card, inputs=inputs: session.run(  # noqa: E731
                [card.output.name], inputs
            )
            turns = in_turns({"step": stepper(recognizer), "bare": bare}, rounds=rounds)
            found[name] = round(1 - 1 / turns.ratio("step", "bare"), 4)
    return found


def streams(bundle: Path, batched: Path, rounds: int) -> dict[str, Any]:
    """Return the time in which N streams of one engine all step once, by the way they do.

    From crops to answers, as cameras have it: one after the other on all threads, side by side on
    one thread each, and all rows of a graph made for as many.
    """
    cores, found = max(physical_cores(), 2), dict[str, Any]()
    for engine in ("onnxruntime", "openvino"):
        runs = dict[str, Run]()
        for way, path, at_once in (
            ("one by one", bundle, 1),
            ("side by side", bundle, cores),
            ("one batch", batched, 1),
        ):
            card = Card.read(path)
            variant = next(
                Variant(file, engine)
                for file in card.files.values()
                if file.precision == "int8" and engine in file.engines
            )
            options = RuntimeOptions(streams=at_once, threads=cores)
            recognizer = open_variant(path, card, variant, options)
            for count in STREAMS[-1:] if way == "one batch" else STREAMS:
                runs[f"{way}, {count}"] = pushes(recognizer, count)
        found[ENGINE_NAMES[engine]] = told("streams_ms", in_turns(runs, rounds=rounds).rounds)
    return found


def pushes(recognizer: Recognizer, count: int) -> Run:
    """Return a step of so many streams, each on a crop of noise."""
    size = recognizer.card.preprocess.crop_px
    crops = list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8))
    made = [recognizer.stream() for _ in crops]
    return lambda: recognizer.push_many(made, crops)


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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clips", type=int, default=80, help="for the delay")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        for arch in given.archs:
            results[arch] = per_frame(arch, Path(folder), given.rounds)
            print(arch, json.dumps(results[arch], indent=1), flush=True)
        first = Path(folder) / f"{given.archs[0]}-online.bundle"
        batched = convert(
            Path(folder) / f"{given.archs[0]}.pth.tar",
            Path(folder) / "batched.bundle",
            Options(online=True, shift_direction="past", segments=8, batch=max(STREAMS)),
            with_int8(),
        )
        results["streams"] = streams(first, batched, given.rounds)
    results["delay"] = delays_s(given.clips)
    report(results, before, given.out)
    if given.out:
        panels = {arch: results[arch]["ms"] for arch in given.archs}
        bars(panels, given.out.with_suffix(".png"), unit="ms per answer", strong=["online, O"])


if __name__ == "__main__":
    main()
