"""Does the runtime answer on aarch64, as a Raspberry Pi or a Jetson has it, as it does here?

    apt-get install mmdebstrap qemu-user-static
    python benchmarks/arm.py --out results/arm.json

Puts a Debian for arm64 into a folder, installs the runtime and its engines there from the wheels
that pip takes for aarch64, and runs it by qemu's user emulation, once for each processor of
PROCESSORS: `doctor`, `verify` of both demo bundles with every engine, and answers to generated
clips, whose logits are compared with those of this machine. No root, chroot or binfmt is needed.
Emulation says what is answered, not how fast. Takes some ten minutes and 1.5 GB; not for CI.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge_tsm import demo
from edge_tsm.backends import ENGINES, RuntimeOptions, installed
from edge_tsm.bundle.card import Card, checksum
from edge_tsm.bundle.golden import measure
from edge_tsm.demo.synthetic import generate
from edge_tsm.diagnostics.verify import listed_variants
from edge_tsm.errors import EdgeTsmError
from edge_tsm.inference.opening import open_variant
from edge_tsm.system.machine import processor

ROOT = Path(__file__).resolve().parent.parent
SUITE, PYTHON, ABI = "bookworm", "3.11", "cp311"  # of Debian 12
CLIPS = "clips.npy"  # (clips, T, H, W, 3) uint8 BGR
EXTRAS = "onnx,openvino,mnn,headless"
TAGS = [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] + ["manylinux2014_aarch64"]
_OLD = "fp asimd evtstrm crc32 cpuid"
_NEW = f"{_OLD} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
# What qemu emulates, its part number, and what /proc/cpuinfo says there. Engines read the file, and
# without one of ARM's ONNX Runtime 1.32 crashes at import.
PROCESSORS = {
    "cortex-a76": ("0xd0b", _NEW, "Raspberry Pi 5; products of bytes in one step"),
    "cortex-a72": ("0xd08", _OLD, "Raspberry Pi 4; none"),
}


def make_root(folder: Path) -> None:
    """Unpack a Debian that has Python."""
    packages = f"python{PYTHON},libgomp1,libstdc++6"
    options = ["--variant=extract", "--arch=arm64", f"--include={packages}"]
    subprocess.run(["mmdebstrap", "-q", *options, SUITE, folder], check=True)


def install(folder: Path, work: Path) -> None:
    """Install this checkout with its engines from wheels for aarch64."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", work, ROOT], check=True)
    [wheel] = work.glob("edge_tsm-*.whl")
    abis = [f"--abi={abi}" for abi in (ABI, "abi3", "none")]
    tags = [f"--platform={tag}" for tag in TAGS]
    which = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    subprocess.run(
        [*pip, "install", "--target", folder, *which, *abis, *tags, f"{wheel}[{EXTRAS}]"],
        check=True,
    )


def with_mnn(source: Path, folder: Path) -> Path:
    """Copy a demo bundle and add an MNN file to it."""
    from converters.export.mnn import write_mnn

    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    path = write_mnn(folder / "model.onnx", Card.read(folder), folder / "model.mnn")
    card = json.loads((folder / "card.json").read_text())
    like = card["files"]["model.onnx"]
    card["files"][path.name] = {
        **like, "path": path.name, "sha256": checksum(path), "engine": "mnn", "also": {}
    }  # fmt: skip
    card["verification"][path.name] = card["verification"]["model.onnx"]
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def answer(bundle: Path, out: Path) -> None:
    """Write the logits of the clips, (clips, classes), by file and engine, or why not."""
    card, found, clips = Card.read(bundle), dict[str, Any](), np.load(bundle / CLIPS)
    for variant in listed_variants(card, list(filter(installed, ENGINES))):
        try:
            with open_variant(bundle, card, variant, RuntimeOptions(threads=1)) as recognizer:
                rows = [recognizer(list(clip)).logits for clip in clips]
        except EdgeTsmError as error:
            found[str(variant)] = str(error).rsplit(": ", 1)[-1]
        else:
            found[str(variant)] = np.stack(rows).tolist()
    out.write_text(json.dumps(found))


def emulated(name: str, root: Path, site: Path) -> list[str]:
    """Return the command that starts Python on a processor, and lay out what it says of itself."""
    part, features, _ = PROCESSORS[name]
    lines = [
        f"Features\t: {features}",
        "CPU implementer\t: 0x41",
        "CPU architecture: 8",
        "CPU variant\t: 0x0",
        f"CPU part\t: {part}",
        "CPU revision\t: 1",
    ]
    cores = ["\n".join([f"processor\t: {core}", *lines]) for core in range(os.cpu_count() or 1)]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text("\n\n".join(cores) + "\n\n")
    python = root / f"usr/bin/python{PYTHON}"
    return [
        *("qemu-aarch64-static", "-cpu", name, "-L", str(root)),
        *("-E", f"PYTHONPATH={site}", "-E", "OMP_NUM_THREADS=1", str(python)),
    ]


def told(python: Sequence[str], *arguments: object) -> dict[str, Any]:
    """Return what a command of edge-tsm prints, and its exit code."""
    done = subprocess.run(
        [*python, "-m", "edge_tsm", *map(str, arguments)], capture_output=True, text=True, cwd="/"
    )
    lines = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if line.strip()]
    return {"exit": done.returncode, "lines": lines}


def logits_of(python: Sequence[str], bundle: Path, out: Path) -> dict[str, Any]:
    """Return the logits that another Python's runtime answers."""
    script = [__file__, "--answer", str(bundle), "--out", str(out)]
    subprocess.run([*python, *script], check=True, cwd="/", stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def compared(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far answers are from this machine's by the same file and engine."""
    rows: dict[str, Any] = {}
    for name, logits in there.items():
        if isinstance(logits, str):
            rows[name] = {"refused": logits}
            continue
        pair = (np.array(rows_, np.float32) for rows_ in (here[name], logits))
        found = asdict(measure(*pair, tolerance=0.0))
        rows[name] = {key: found[key] for key in ("max_rel_diff", "cosine", "top1_agreement")}
    return rows


def run(work: Path, names: Sequence[str], clips: int) -> dict[str, Any]:
    """Return the results by processor."""
    root, site = work / "root", work / "site"
    if not root.exists():
        make_root(root)
    if not site.exists():
        install(site, work)
    with tempfile.TemporaryDirectory(dir=work) as fresh:
        folder = Path(fresh)
        bundles = [
            with_mnn(source, folder / source.name)
            for source in (demo.bundle(), demo.bundle("online"))
        ]
        # Drawn here: sines and cosines of C libraries differ, and so would the pictures.
        pictures = np.stack([generate(seed) for seed in range(clips)])
        for bundle in bundles:
            np.save(bundle / CLIPS, pictures)
        here = {b.name: logits_of([sys.executable], b, folder / "here.json") for b in bundles}
        found = {name: _on(emulated(name, root, site), here, bundles) for name in names}
        return {"compared with": processor().model, "clips": clips, **found}


def _on(python: Sequence[str], here: Mapping[str, Any], bundles: Sequence[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {"doctor": told(python, "doctor"), "bundles": {}}
    for bundle in bundles:
        there = logits_of(python, bundle, bundle / "there.json")
        found["bundles"][bundle.name] = {
            "verify": told(python, "verify", bundle, "--threads", 1),
            "differences": compared(here[bundle.name], there),
        }
        print(json.dumps(found["bundles"][bundle.name], indent=1), flush=True)
    return found


def main() -> None:
    """Run as a command, in the emulation only to answer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--work", type=Path, help="folder that keeps Debian and wheels")
    parser.add_argument("--cpu", nargs="+", default=list(PROCESSORS), choices=list(PROCESSORS))
    parser.add_argument("--clips", type=int, default=4, help="generated clips per bundle")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(given.answer, given.out)
        return
    from environment import environment, report

    before = environment()
    if given.work:
        given.work.mkdir(parents=True, exist_ok=True)
        results = run(given.work.resolve(), given.cpu, given.clips)
    else:
        with tempfile.TemporaryDirectory() as work:
            results = run(Path(work), given.cpu, given.clips)
    report(results, before, given.out)


if __name__ == "__main__":
    main()
