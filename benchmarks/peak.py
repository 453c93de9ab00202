"""How many multiply-adds a second can this machine do in f32 and int8, and what do networks use?

    python benchmarks/peak.py [BUNDLE ...] --out results/peak.json

The peak is measured: eight large products of matrices and eight large convolutions, one behind the
other, in f32 and with QuantizeLinear / DequantizeLinear between them, on ONNX Runtime and OpenVINO,
the best of all. One alone is not it: with AMX, half of its time goes into floats at both its ends.
Ratios of int8 to f32 differ by processor (with VNNI or without); the share of the peak that a
network reaches says how well it is run on any. Its multiply-adds are those of its graph's
convolutions and products of matrices; nothing else is counted. Other scripts tell the same share
beside their times of int8.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from environment import environment, report
from onnx import TensorProto, helper, numpy_helper
from turns import Run, in_turns, told

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_tsm.backends import ENGINES, RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card
from edge_tsm.inference.opening import open_variant
from edge_tsm.inference.variants import Variant

RUNTIMES = ("onnxruntime", "openvino")
SIDE = 1536  # of the matrices
CHANNELS, PICTURES, PICTURE = 256, 8, 28  # of the convolution, 3x3
DEPTH = 8  # layers, one behind the other
SMALL = (-63, 64)  # weights of 7 bits, whose sums saturate nowhere
UNCOUNTED = {  # multiply-adds that this module would pass over in silence
    *("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
    *("ConvTranspose", "Einsum", "GRU", "LSTM", "RNN"),
}


# --- what a network needs ------------------------------------------------------------------------


def multiply_adds(graph: Path) -> int:
    """Return the multiply-adds of a graph of ONNX: of Conv, Gemm and MatMul.

    Raises:
        ValueError: a shape is not known, or a node multiplies in a way that is not counted.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(str(graph)), data_prop=True)
    shapes = dict(_shapes(model.graph))
    return sum(_of_node(node, shapes) for node in model.graph.node)


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, list[int]]]:
    """Yield the shapes that are known as numbers."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.dim_value for d in shape.dim):
            yield value.name, [d.dim_value for d in shape.dim]
    for weight in graph.initializer:
        yield weight.name, list(weight.dims)


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    if node.op_type in UNCOUNTED:
        raise ValueError(f"{node.name}: multiply-adds of {node.op_type} are not counted")
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    names = (node.input[0], node.input[1], node.output[0])
    if unknown := [name for name in names if name not in shapes]:
        raise ValueError(f"{node.op_type} {node.name}: the shape of {unknown[0]} is not known")
    left, right, out = (shapes[name] for name in names)
    if node.op_type == "Conv":  # its weights: (out, in / groups, kernel ...)
        return math.prod(out) * math.prod(right[1:])
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out) * left[-2 if turned else -1]


# --- what the machine can do ---------------------------------------------------------------------


def product(folder: Path, *, int8: bool) -> Path:
    """Write products of square matrices."""
    weight = np.random.default_rng(0).integers(*SMALL, (SIDE, SIDE), np.int8)
    return _written(folder / f"product{int8}.onnx", "MatMul", (SIDE, SIDE), weight, int8=int8)


def convolution(folder: Path, *, int8: bool) -> Path:
    """Write 3x3 convolutions."""
    weight = np.random.default_rng(0).integers(*SMALL, (CHANNELS, CHANNELS, 3, 3), np.int8)
    shape = (PICTURES, CHANNELS, PICTURE, PICTURE)
    return _written(folder / f"convolution{int8}.onnx", "Conv", shape, weight, int8=int8)


def _written(
    path: Path, kind: str, shape: Sequence[int], weight: np.ndarray, *, int8: bool
) -> Path:
    """Write nodes of a kind, their inputs and weight quantized where `int8` says so."""
    scale, zeros = np.float32(1 / 64), {"u8": np.uint8(128), "s8": np.int8(0)}
    constants = {"weight": weight if int8 else weight * scale, "scale": scale, **zeros}
    pads = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {}
    nodes, x, right = list[onnx.NodeProto](), "x", "weight"

    def quantized(x: str) -> str:
        narrow, wide = [f"{x}.narrow"], [f"{x}.wide"]
        nodes.append(helper.make_node("QuantizeLinear", [x, "scale", "u8"], narrow))
        nodes.append(helper.make_node("DequantizeLinear", [*narrow, "scale", "u8"], wide))
        return wide[0]

    if int8:
        nodes.append(helper.make_node("DequantizeLinear", ["weight", "scale", "s8"], ["right"]))
        x, right = quantized(x), "right"
    for layer in range(DEPTH):
        out = f"y{layer}"
        nodes.append(helper.make_node(kind, [x, right], [out], **pads))
        x = quantized(out) if int8 else out  # else ONNX Runtime has nothing to run in int8
    nodes.append(helper.make_node("Identity", [x], ["y"]))
    graph = helper.make_graph(
        nodes, kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@cache
def peak(threads: int | None = None) -> dict[str, Any]:
    """Measure the peak of this machine; return 10^9 multiply-adds a second by precision.

    `threads` is what the benchmark gives its engines, None for what they choose.
    """
    options = RuntimeOptions(threads=threads, precision="f32")
    x = {
        "product": np.random.default_rng(1).random((SIDE, SIDE), np.float32),
        "convolution": np.random.default_rng(1).random(
            (PICTURES, CHANNELS, PICTURE, PICTURE), np.float32
        ),
    }
    runs, macs = dict[str, Run](), dict[str, int]()
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("f32", "int8"):
            for write in (product, convolution):
                path = write(Path(folder), int8=precision == "int8")
                for engine in RUNTIMES:
                    name = f"{precision} {write.__name__}, {ENGINES[engine].title}"
                    backend = open_backend(engine, path, options)
                    feed = {"x": x[write.__name__]}
                    runs[name] = lambda b=backend, f=feed: b.run(f)
                    macs[name] = multiply_adds(path)
        found = in_turns(runs, rounds=3, settle_s=0.05, visit_s=0.1)
    rates = {n: [macs[n] / ms / 1e6 for ms in times] for n, times in found.rounds.items()}
    result = told("gmacs_per_s", rates)
    fastest = {
        precision: max(
            (n for n in rates if n.startswith(precision)), key=result["gmacs_per_s"].__getitem__
        )
        for precision in ("f32", "int8")
    }
    return {
        **{precision: result["gmacs_per_s"][name] for precision, name in fastest.items()},
        "by": fastest,
        "threads": threads or "the engines' choice",
        **result,
    }


def share_of_int8_peak(ms: float, macs: int, *, threads: int | None = None) -> float:
    """Return which share of the measured int8 peak is reached by so many multiply-adds in `ms`."""
    return round(macs / ms / 1e6 / float(peak(threads)["int8"]), 3)


def int8_shares(
    ms: Mapping[str, float], macs: int, *, threads: int | None = None
) -> dict[str, float]:
    """Return the share of the int8 peak of each time whose name says int8."""
    return {
        name: share_of_int8_peak(value, macs, threads=threads)
        for name, value in ms.items()
        if "int8" in name
    }


# --- bundles -------------------------------------------------------------------------------------


def of_bundle(bundle: Path) -> int:
    """Return the multiply-adds of a bundle's network, by its graph in f32."""
    files = Card.read(bundle).files.values()
    [name] = [f.path for f in files if f.precision == "f32" and f.path.endswith(".onnx")]
    return multiply_adds(bundle / name)


def measure(bundle: Path, rounds: int) -> dict[str, Any]:
    """Time every int8 file of a bundle."""
    card = Card.read(bundle)
    feed = {card.input.name: np.random.default_rng(0).random(card.input.shape, np.float32)}
    runs = dict[str, Run]()
    for file in card.files.values():
        for engine in file.engines if file.target == "any" else ():
            variant = Variant(file, engine)
            backend = open_variant(bundle, card, variant, RuntimeOptions(precision="f32")).backend
            runs[f"{ENGINES[engine].title} {file.precision}"] = lambda b=backend: b.run(feed)
    found, macs = in_turns(runs, rounds=rounds), of_bundle(bundle)
    return {
        "gmacs": round(macs / 1e9, 3),
        **told("ms", found.rounds),
        "share_of_int8_peak": int8_shares(found.ms(), macs),
    }


def main() -> None:
    """Measure the machine, then bundles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, results = environment(), {"peak": peak()}
    for bundle in given.bundles:
        results[bundle.stem] = measure(bundle, given.rounds)
    report(results, before, given.out)


if __name__ == "__main__":
    main()
