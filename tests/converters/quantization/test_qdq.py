"""Int8 graphs: every layer int8 on both engines, the shift on bytes, means kept, no saturation."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import helper, numpy_helper

from converters.architectures.classifier import VideoClassifier
from converters.architectures.shift import Shift
from converters.architectures.topologies import initialize, topology
from converters.export.onnx import export_onnx
from converters.export.simplify import simplify
from converters.quantization.graph import Graph, attribute, layer_name
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import Form, calibrate, layer_names, quantize
from tests.helpers.fakes import make_card

SIDE = 64


@pytest.fixture(scope="module", params=[("resnet18", 8, 1), ("mobilenetv2", 16, 2)], ids=str)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The f32 graph of an untrained network: segments, batch, on small pictures."""
    name, segments, batch = request.param
    folder = tmp_path_factory.mktemp(name)
    model = VideoClassifier(topology(name), 5, Shift(segments, div=8)).eval()
    initialize(model, seed=1)
    card = make_card(segments=segments, batch=batch)
    small = dataclasses.replace(card.input, shape=(batch, segments * 3, SIDE, SIDE))
    card = dataclasses.replace(card, input=small)
    export_onnx(model, card, folder / "plain.onnx")
    assert simplify(folder / "plain.onnx", folder / "f32.onnx") is None
    return folder / "f32.onnx"


@pytest.fixture(scope="module")
def ranges(network: Path) -> Ranges:
    return calibrate(network, feeds(network, 3))


def feeds(network: Path, count: int) -> list[Feed]:
    dimensions = onnx.load(str(network)).graph.input[0].type.tensor_type.shape.dim
    shape = (count, *(dimension.dim_value for dimension in dimensions))
    clips = np.random.default_rng(0).standard_normal(shape, np.float32)
    return [{"clip": clip} for clip in clips]


def float_convolutions(path: Path) -> dict[str, int]:
    """Count convolutions that do not run in int8, per engine, in its compiled graph."""
    settings = onnxruntime.SessionOptions()
    optimized = path.with_suffix(".optimized.onnx")
    settings.optimized_model_filepath = str(optimized)
    settings.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(str(optimized)).graph.node)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    executed = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    precisions = Counter(
        info["runtimePrecision"].astype(str)
        for info in executed
        if info["layerType"].astype(str) == "Convolution"
    )
    assert sum(precisions.values()) == kinds["QLinearConv"] + kinds["Conv"] + kinds["FusedConv"]
    return {
        "onnxruntime": kinds["Conv"] + kinds["FusedConv"],
        "openvino": sum(n for kind, n in precisions.items() if kind not in ("u8", "i8")),
    }


def test_every_convolution_is_int8_on_both_engines(
    network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    path = quantize(network, tmp_path / "int8.onnx", ranges, Form())
    assert float_convolutions(path) == {"onnxruntime": 0, "openvino": 0}


def test_layers_that_are_kept_are_float_and_only_they(
    network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    keep = layer_names(network)[3:5]
    path = quantize(network, tmp_path / "int8.onnx", ranges, Form(), keep=keep)
    assert float_convolutions(path) == {"onnxruntime": 2, "openvino": 2}


def test_layers_are_called_as_their_modules(network: Path) -> None:
    names = layer_names(network)
    arch = "resnet18" if len(names) == 21 else "mobilenetv2"
    model = VideoClassifier(topology(arch), 5, Shift(segments=8, div=8))
    assert set(names) <= {name for name, _ in model.named_modules()}


def test_the_shift_moves_bytes_that_were_quantized_once(
    network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    graph = Graph(onnx.load(str(quantize(network, tmp_path / "int8.onnx", ranges, Form()))))
    shifts = [node for node in graph.nodes if node.op_type == "Concat"]
    assert len(shifts) in (8, 10)
    for concat in shifts:
        [root] = graph.roots(concat.output[0])
        quantizer = graph.producer(root)
        assert quantizer is not None and quantizer.op_type == "QuantizeLinear"
        zeros = {
            source.input[2]
            for name in concat.input
            if (source := graph.producer(name)) is not None and source.op_type == "Pad"
        }
        assert zeros == {quantizer.input[2]}
    moving = [n for n in graph.nodes if n.op_type in ("Slice", "Pad", "Concat")]
    moved = {name for node in moving for name in node.output}
    assert not [n for n in graph.nodes if n.op_type == "QuantizeLinear" and n.input[0] in moved]


def test_answers_stay_close(network: Path, ranges: Ranges, tmp_path: Path) -> None:
    [f32, int8, symmetric] = [
        np.concatenate([run(path, feed) for feed in feeds(network, 3)])
        for path in (
            network,
            quantize(network, tmp_path / "int8.onnx", ranges, Form()),
            quantize(network, tmp_path / "trt.onnx", ranges, Form(symmetric=True)),
        )
    ]
    assert np.abs(int8 - f32).max() < 0.1 * np.ptp(f32)
    assert np.abs(symmetric - f32).max() < 0.2 * np.ptp(f32)


def test_tensorrt_gets_signed_bytes_without_zero_points(
    network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    model = onnx.load(str(quantize(network, tmp_path / "trt.onnx", ranges, Form(symmetric=True))))
    constants = Graph(model).constants
    kinds = ("QuantizeLinear", "DequantizeLinear")
    zeros = [constants[node.input[2]] for node in model.graph.node if node.op_type in kinds]
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)


def test_tensorrt_finds_a_quantizer_right_before_every_convolution(
    network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    model = onnx.load(str(quantize(network, tmp_path / "trt.onnx", ranges, Form(symmetric=True))))
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            pair = graph.producer(node.input[0])
            assert pair is not None and pair.op_type == "DequantizeLinear"
            source = graph.producer(pair.input[0])
            assert source is not None and source.op_type == "QuantizeLinear"


@pytest.mark.parametrize(("most", "saturates"), [(127, True), (63, False)])
def test_seven_bits_cannot_saturate_16_bit_sums(
    most: int, saturates: bool, network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    """What x86 without VNNI computes on a real run, and the worst that any input could do."""
    path = quantize(network, tmp_path / "int8.onnx", ranges, Form(weight_max=most))
    differing = 0
    worst = 0
    for patches, weights in operands(path, feeds(network, 1)[0]):
        exact, narrow = sums(patches, weights, narrow=False), sums(patches, weights, narrow=True)
        differing += int((exact != narrow).sum())
        worst = max(worst, 255 * int(np.sort(np.abs(weights.astype(int)))[..., -2:].sum(-1).max()))
    assert (differing > 0) is saturates
    assert (worst > np.iinfo(np.int16).max) is saturates


def operands(path: Path, feed: Feed) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what each convolution multiplies: 48 patches (G, P, K) uint8, weights (G, O, K) int8.

    Neighbors along K are the same pixel's channels, as kernels lay them out.
    """
    model = onnx.load(str(path))
    graph = Graph(model)
    nodes = [node for node in graph.nodes if node.op_type == "Conv"]
    sources = [[graph.producer(name) for name in node.input[:2]] for node in nodes]
    names = [source.input[0] for source, _ in sources if source is not None]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in set(names)
    )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    activations = session.run(names, dict(feed))
    for node, (source, weighted), x in zip(nodes, sources, activations, strict=True):
        assert source is not None and weighted is not None
        weights = graph.constants[weighted.input[0]]
        top, left, bottom, right = attribute(node, "pads", [0] * 4)
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, edges, constant_values=graph.constants[source.input[2]])
        windows = np.lib.stride_tricks.sliding_window_view(x, weights.shape[2:], axis=(2, 3))
        step, groups = attribute(node, "strides", [1, 1])[0], attribute(node, "group", 1)
        patches = windows[:, :, ::step, ::step].transpose(0, 2, 3, 4, 5, 1)
        patches = patches.reshape(-1, *patches.shape[3:])
        patches = patches[np.linspace(0, len(patches) - 1, 48).astype(int)]
        patches = patches.reshape(48, -1, groups, weights.shape[1]).transpose(2, 0, 1, 3)
        rows = weights.reshape(groups, -1, *weights.shape[1:]).transpose(0, 1, 3, 4, 2)
        yield patches.reshape(groups, 48, -1), rows.reshape(groups, rows.shape[1], -1)


def sums(patches: np.ndarray, weights: np.ndarray, *, narrow: bool) -> np.ndarray:
    """Return (G, P, O) int32 dot products; `narrow` as vpmaddubsw: pairs saturate at 16 bits."""
    odd = [(0, 0), (0, 0), (0, patches.shape[2] % 2)]
    a, b = (np.pad(values, odd).astype(np.int32) for values in (patches, weights))
    pairs = (a[:, :, None] * b[:, None]).reshape(*a.shape[:2], b.shape[1], -1, 2).sum(-1)
    limits = np.iinfo(np.int16)
    return (pairs.clip(limits.min, limits.max) if narrow else pairs).sum(-1)


def test_biases_make_up_for_rounded_weights(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    weight = generator.standard_normal((16, 256, 1, 1)).astype(np.float32)
    weight[:, 0] = 40  # a large weight makes the steps of the others coarse
    source, path = tmp_path / "conv.onnx", tmp_path / "int8.onnx"
    x = generator.uniform(0, 1, (1, 256, 8, 8)).astype(np.float32)
    node = helper.make_node("Conv", ["clip", "w"], ["logits"], "/conv/Conv", kernel_shape=[1, 1])
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("clip", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, (1, 16, 8, 8))],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    source.write_bytes(model.SerializeToString())
    quantize(source, path, calibrate(source, [{"clip": x}]), Form())
    exact, answered = run(source, {"clip": x}), run(path, {"clip": x})
    rounding = np.abs((exact - answered).mean((0, 2, 3))).max()
    plain = np.rint(weight / (40 / 127)) * (40 / 127) - weight
    uncorrected = np.abs(np.einsum("oi,i->o", plain[..., 0, 0], x.mean((0, 2, 3)))).max()
    assert uncorrected > 0.5
    assert rounding < uncorrected / 10


@pytest.mark.parametrize("gate", ["hardswish", "silu"])
def test_values_that_a_gate_makes_zero_get_no_levels(gate: str, tmp_path: Path) -> None:
    source, path, random = tmp_path / "f32.onnx", tmp_path / "int8.onnx", np.random.default_rng(4)
    gates = {
        "hardswish": [
            helper.make_node("Add", ["x", "three"], ["x+3"], "/Add"),
            helper.make_node("Clip", ["x+3", "zero", "six"], ["gate"], "/Clip"),
        ],
        "silu": [helper.make_node("Sigmoid", ["x"], ["gate"], "/Sigmoid")],
    }
    nodes = [
        helper.make_node("Conv", ["clip", "w", "b"], ["x"], "/conv/Conv"),
        *gates[gate],
        helper.make_node("Mul", ["x", "gate"], ["gated"], "/Mul"),
        helper.make_node("Conv", ["gated", "v"], ["logits"], "/last/Conv"),
    ]
    constants = {name: np.float32(value) for name, value in (("zero", 0), ("six", 6), ("three", 3))}
    constants |= {name: random.normal(size=(16, 16, 1, 1)).astype(np.float32) for name in "wv"}
    constants["b"] = np.full(16, -30, np.float32)  # most values are far below 0
    shape = (1, 16, 8, 8)
    graph = helper.make_graph(
        nodes,
        "gated",
        [helper.make_tensor_value_info("clip", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    source.write_bytes(model.SerializeToString())
    feed = {"clip": random.normal(0, 8, shape).astype(np.float32)}
    ranges = calibrate(source, [feed])
    assert ranges.low["x"] == (-3 if gate == "hardswish" else -8)
    made = run(source, feed)
    wide = dataclasses.replace(ranges, low=ranges.low | {"x": -120.0})
    error, before = (
        np.abs(run(quantize(source, path, given, Form()), feed) - made).mean()
        for given in (ranges, wide)
    )
    assert error < before


def test_a_gate_of_other_values_ends_on_both_sides() -> None:
    def graph(*more: onnx.NodeProto) -> Graph:
        gate = helper.make_node("Sigmoid", ["x"], ["gate"], "/Sigmoid")
        made = helper.make_graph([gate, *more], "x", [], [])
        return Graph(helper.make_model(made))

    def product(*read: str) -> onnx.NodeProto:
        return helper.make_node("Mul", read, ["y"], "/Mul")

    assert graph(product("other", "gate")).telling("x") == (-8, 8)
    assert graph(product("x", "gate")).telling("x") == (-8, np.inf)
    assert graph(product("x", "other")).telling("x") == (-np.inf, np.inf)
    assert graph().telling("gate") == (-np.inf, np.inf)


def run(path: Path, feed: Feed) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, dict(feed))[0]
    return answer


def test_names_without_scopes_stay() -> None:
    assert layer_name(helper.make_node("Conv", ["x", "w"], ["y"], "Conv_12")) == "Conv_12"
    nested = helper.make_node("Conv", ["x", "w"], ["y"], "/a/b/b.0/b.0.1/conv/Conv")
    assert layer_name(nested) == "a.b.0.1.conv"
