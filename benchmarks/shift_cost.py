"""What does the shift cost: TSM over the same backbone without any, per engine and precision?

    python benchmarks/shift_cost.py --out results/shift_cost.json

Both networks are converted by edge-tsm, untrained, 8 frames, batch 1, and run in turns. A ratio of
1 would be a shift for free.
"""

from pathlib import Path
from typing import Any

from networks import answer, each_network, make_bundle, opened
from peak import int8_shares, of_bundle
from plots import bars
from turns import in_turns, told

ARCHS = {"ResNet-50": "resnet50", "ResNet-18": "resnet18", "MobileNetV2": "mobilenetv2"}


def measure(arch: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Time a network with and without its shifts."""
    bundles = {
        "TSM": make_bundle(folder, arch)[1],
        "no shift": make_bundle(folder, arch, shift="none")[1],
    }
    recognizers = {
        f"{name}, {form}": recognizer
        for form, bundle in bundles.items()
        for name, recognizer in opened(bundle)
    }
    found = in_turns({n: answer(recognizers[n]) for n in sorted(recognizers)}, rounds=rounds)
    names = [name.removesuffix(", TSM") for name in recognizers if name.endswith(", TSM")]
    ratios = {name: found.ratios(f"{name}, TSM", f"{name}, no shift") for name in names}
    return {
        **told("ms", found.rounds),
        "share_of_int8_peak": int8_shares(found.ms(), of_bundle(bundles["TSM"])),
        **told("tsm_over_no_shift", ratios),
    }


def main() -> None:
    """Measure each network."""
    results, picture = each_network(__doc__, ARCHS, measure, rounds=9)
    if picture:
        panels = {
            name: {k: (v - 1) * 100 for k, v in found["tsm_over_no_shift"].items()}
            for name, found in results.items()
        }
        unit = "time added by the shift, %"
        bars(panels, picture, unit=unit, strong=["ONNX Runtime", "OpenVINO"])


if __name__ == "__main__":
    main()
