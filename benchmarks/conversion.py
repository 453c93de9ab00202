"""How long does a conversion take, how much memory, and how close are the artifacts?

    python benchmarks/conversion.py --out conversion.json [VARIANT ...]

Each variant is converted from an untrained checkpoint in a process of its own. For the goldens of
the reference data (where present) the differences to upstream's own logits are tested by
tests/converters/test_golden.py; the figures here are those of the bundle's own verification.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from environment import environment, report
from plots import bars

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

INT8 = ["--int8", "--calibrate", "clips", "--keep-float", "none", "--max-drop", "0.99"]
VARIANTS: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "ResNet-18": ("resnet18", {}, []),
    "ResNet-34": ("resnet34", {}, []),
    "ResNet-50": ("resnet50", {}, []),
    "ResNet-50, 16 frames": ("resnet50", {}, ["--segments", "16"]),
    "ResNet-50, batch 4": ("resnet50", {}, ["--batch", "4"]),
    "ResNet-50, block": ("resnet50", {"shift": "block"}, []),
    "ResNet-50, temporal pool": ("resnet50", {"temporal_pool": True}, []),
    "ResNet-50, non-local": ("resnet50", {"non_local": True}, []),
    "ResNet-50, TSN": ("resnet50", {"shift": "none"}, ["--shift-place", "none"]),
    "ResNet-101": ("resnet101", {}, []),
    "MobileNetV2": ("mobilenetv2", {}, []),
    "MobileNetV2, 16 frames": ("mobilenetv2", {}, ["--segments", "16"]),
    "MobileNetV2, online": ("mobilenetv2", {}, ["--online", "--shift-direction", "past"]),
    "ResNet-50, int8, 20 clips": ("resnet50", {}, INT8),
    "MobileNetV2, int8, 20 clips": ("mobilenetv2", {}, INT8),
}


def measure(arch: str, kind: dict[str, object], options: list[str]) -> dict[str, object]:
    """Convert once; return seconds, peak memory and the verified differences."""
    from tests.helpers.upstream import write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        if "--int8" in options:
            write_clips(Path(folder) / "clips", 20)
        checkpoint = write_checkpoint(Path(folder), arch, **kind)
        command = [sys.executable, "-m", "edge_tsm", "convert", str(checkpoint), *options]
        started = time.perf_counter()
        subprocess.run([*command, "-o", "x"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        card = json.loads((Path(folder) / "x/card.json").read_text())
    return {
        "seconds": round(seconds, 1),
        "max_rel_diff": {n: v["max_rel_diff"] for n, v in card["verification"].items()},
    }


def write_clips(folder: Path, count: int) -> None:
    """Write generated clips as frame folders."""
    from edge_tsm.demo.synthetic import generate

    for seed in range(count):
        clip = folder / f"{seed:03}"
        clip.mkdir(parents=True)
        for number, image in enumerate(generate(seed, short_side_px=256), 1):
            cv2.imwrite(str(clip / f"img_{number:05}.jpg"), image)


def main() -> None:
    """Measure each variant in a child process, so that peaks are its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        result = measure(*VARIANTS[arguments.one])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(json.dumps({**result, "peak_mib": peak // 1024}))
        return
    before, results = environment(), {}
    for name in arguments.variants or VARIANTS:
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[name] = json.loads(done.stdout)
        print(f"{name:<26} {json.dumps(results[name])}", flush=True)
    report(results, before, arguments.out)
    if arguments.out:
        panels = {
            "seconds": {name: found["seconds"] for name, found in results.items()},
            "peak memory, MiB": {name: found["peak_mib"] for name, found in results.items()},
        }
        bars(panels, arguments.out.with_suffix(".png"), unit="")


if __name__ == "__main__":
    main()
