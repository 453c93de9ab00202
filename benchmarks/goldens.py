"""How far are the artifacts from what the frameworks' own code answered?

    python benchmarks/goldens.py --out goldens.json

For every golden (tests/goldens, and the shared reference data where present): the largest
difference of logits, as a share of their range, of the torch reference, the ONNX graph and the
OpenVINO IR. Prints the table that stands in the README.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from converters import convert, plan  # noqa: E402
from converters.architectures.classifier import build_reference  # noqa: E402
from converters.verification.reference import run_artifact  # noqa: E402
from edge_tsm import load  # noqa: E402
from tests.helpers.goldens import HERE, load_golden, options_for, write_golden  # noqa: E402


def measure(name: str, shared: Path, recipe: object) -> dict[str, object]:
    """Convert the golden's checkpoint and return source, network and differences."""
    golden = load_golden(name, shared)
    segments = golden["config"]["num_segments"]
    options = options_for(golden)
    expected = np.asarray(golden["logits"])
    clips = np.concatenate([recipe.clip(i, segments) for i in range(len(expected))])
    with tempfile.TemporaryDirectory() as folder:
        path = write_golden(golden, recipe, Path(folder))
        planned = plan(path, options)
        model = build_reference(planned.recipe, planned.checkpoint.tensors)
        with torch.no_grad():
            rows = [model(torch.from_numpy(clip[None])).numpy()[0] for clip in clips]
        answers = {"torch": np.stack(rows)}
        bundle = convert(path, Path(folder) / "x.bundle", options)
        for engine in ("onnxruntime", "openvino"):
            with load(bundle, engine=engine) as recognizer:
                answers[engine] = run_artifact(recognizer.backend, recognizer.card, clips)
    facts = planned.recipe.facts
    own = {name: fact.value for name, fact in facts.own.items()}
    extra = [str(own[name]) for name in ("shift", "non-local mode") if name in own]
    extra += ["temporal pool"] if own.get("temporal pool") else []
    spread = float(np.ptp(expected))
    return {
        "source": facts.format.value,
        "network": f"{facts.backbone.value}, {segments} frames, {', '.join(extra)}",
        **{key: float(np.abs(a - expected).max() / spread) for key, a in answers.items()},
    }


def main() -> None:
    """Measure all goldens and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="goldens; all of them by default")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("recipe", arguments.shared / "golden/recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    public = sorted(p.stem for p in (arguments.shared / "golden/public").glob("*.json"))
    names = [name for name in public if "online" not in name]
    names += sorted(path.stem for path in HERE.glob("*.json"))
    names = arguments.names or names
    results = {}
    print(
        "| source | network | golden | torch | ONNX | IR |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in names:
        row = results[name] = measure(name, arguments.shared, recipe)
        numbers = " | ".join(f"{row[key]:.0e}" for key in ("torch", "onnxruntime", "openvino"))
        print(f"| {row['source']} | {row['network']} | `{name}` | {numbers} |", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
