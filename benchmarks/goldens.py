"""How far are the artifacts from what the frameworks' own code answered?

    python benchmarks/goldens.py --out benchmarks/results/goldens.json [NAME …]

For every golden (tests/goldens, and the shared reference data where present): the largest
difference of logits, as a share of their range, of the torch reference, the ONNX graph and the
OpenVINO IR, and what is allowed: a thousandth, and a tenth of what reversing the frames changes.
Each is measured in a process of its own and written down before the next; results that --out holds
of others stay. `timesformer_hr_16x448` is no golden: as large as TimeSformer-HR, which the shared
data lacks, it is compared with a second implementation, of upstream's form.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from apart import each

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from converters import Options, plan  # noqa: E402
from converters.architectures.classifier import build_reference  # noqa: E402
from converters.planning import Plan  # noqa: E402
from tests.helpers.goldens import (  # noqa: E402
    HERE,
    clips_of,
    load_golden,
    options_for,
    tolerance,
    write_golden,
)
from tests.helpers.graphs import answers, artifacts, card_for  # noqa: E402
from tests.helpers.paths import module_at  # noqa: E402
from tests.helpers.timesformer import (  # noqa: E402
    Size,
    UpstreamTimeSformer,
    random_clips,
    write_facebook,
)

HR = "timesformer_hr_16x448"
HR_SIZE = Size(frames=16, classes=400, px=448, width=768, depth=12, heads=12)
LIMIT_S = 3600.0


def of_golden(name: str, shared: Path, folder: Path) -> dict[str, Any]:
    """Return the source, the network and the differences of a golden."""
    recipe, golden = module_at(shared / "golden/recipe.py", "recipe"), load_golden(name, shared)
    planned = plan(write_golden(golden, recipe, folder), options_for(golden))
    expected = np.asarray(golden["logits"])
    spread = float(np.ptp(expected))
    row = differences(planned, clips_of(golden, recipe), expected, folder)
    return {**described(planned), **row, "allowed": tolerance(golden) / spread}


def of_hr(folder: Path) -> dict[str, Any]:
    """Return the same of the large network beside its second implementation."""
    upstream, clips = UpstreamTimeSformer(HR_SIZE), random_clips(HR_SIZE, 1)
    planned = plan(write_facebook(upstream, folder / "x.pyth"), Options(interval=16))
    row = differences(planned, clips, upstream.answers(clips), folder)
    return {**described(planned), **row, "allowed": 1e-3}


def differences(
    planned: Plan, clips: np.ndarray, expected: np.ndarray, folder: Path
) -> dict[str, float]:
    """Return how far torch and each engine are off, as a share of the range."""
    model = build_reference(planned.recipe, planned.checkpoint.tensors)
    with torch.inference_mode():
        rows = [model(torch.from_numpy(clip[None])).numpy()[0] for clip in clips]
    found = {"torch": np.stack(rows)}
    for engine, path in artifacts(planned, folder, model).items():
        found[engine] = answers(path, engine, card_for(planned), clips)
    spread = float(np.ptp(expected))
    return {key: float(np.abs(own - expected).max() / spread) for key, own in found.items()}


def described(planned: Plan) -> dict[str, str]:
    """Return what the table says of a network."""
    facts = planned.recipe.facts
    own = {name: fact.value for name, fact in facts.own.items()}
    extra = [str(own[name]) for name in ("shift", "non-local mode") if name in own]
    extra += ["temporal pool"] if own.get("temporal pool") is True else []
    extra += [f"alpha {own['alpha']}"] if "alpha" in own else []
    parts = [facts.backbone.value, f"{facts.segments.value} frames", *extra]
    return {"source": facts.format.value, "network": ", ".join(parts)}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of the documents."""
    lines = ["| source | network | golden | torch | ONNX | IR |", "| --- " * 6 + "|"]
    for name, row in results.items():
        numbers = " | ".join(f"{row[key]:.0e}" for key in ("torch", "onnxruntime", "openvino"))
        lines.append(f"| {row['source']} | {row['network']} | `{name}` | {numbers} |")
    return "\n".join(lines)


def names_of(shared: Path) -> list[str]:
    """Return all goldens of clips, and the large network."""
    public = sorted(p.stem for p in (shared / "golden/public").glob("*.json"))
    own = sorted(path.stem for path in HERE.glob("*.json"))
    return [*(name for name in public if "online" not in name), *own, HR]


def main() -> None:
    """Measure all goldens and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="goldens; all of them by default")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind = of_hr if given.one == HR else partial(of_golden, given.one, given.shared)
        with tempfile.TemporaryDirectory() as folder:
            given.out.write_text(json.dumps(kind(Path(folder))))
        return
    known = {}
    if given.out and given.out.exists():
        known = json.loads(given.out.read_text())["results"]
    command = [sys.executable, __file__, "--shared", str(given.shared)]
    failed = each(
        given.names or names_of(given.shared),
        lambda name, found: [*command, "--one", name, "--out", str(found)],
        out=given.out,
        limit_s=LIMIT_S,
        known=known,
    )
    if given.out:
        print(table(json.loads(given.out.read_text())["results"]))
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
