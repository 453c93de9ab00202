"""Int8 graphs: every layer int8 on both engines, the shift on bytes, means kept, no saturation."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import helper, numpy_helper

from converters.export import export_onnx
from converters.graph import Graph, layer_name
from converters.models import VideoClassifier
from converters.models.topologies import initialize, topology
from converters.networks import Shift
from converters.quantize import Form, calibrate, layer_names, quantize
from converters.ranges import Feed, Ranges
from converters.simplify import simplify
from tests.fakes import make_card

SIDE = 64


@pytest.fixture(scope="module", params=["resnet18", "mobilenetv2"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The f32 graph of an untrained network on small pictures."""
    folder = tmp_path_factory.mktemp(request.param)
    model = VideoClassifier(topology(request.param), 5, Shift(segments=8, div=8)).eval()
    initialize(model, seed=1)
    card = make_card()
    small = dataclasses.replace(card.input, shape=(1, 24, SIDE, SIDE))
    card = dataclasses.replace(card, input=small)
    export_onnx(model, card, folder / "plain.onnx")
    assert simplify(folder / "plain.onnx", folder / "f32.onnx") is None
    return folder / "f32.onnx"


@pytest.fixture(scope="module")
def ranges(network: Path) -> Ranges:
    return calibrate(network, feeds(3))


def feeds(count: int) -> list[Feed]:
    generator = np.random.default_rng(0)
    clips = generator.standard_normal((count, 1, 24, SIDE, SIDE), np.float32)
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


def test_the_shift_moves_bytes_that_were_quantised_once(
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
        np.concatenate([run(path, feed) for feed in feeds(3)])
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


@pytest.mark.parametrize(("most", "saturates"), [(127, True), (63, False)])
def test_seven_bits_cannot_saturate_16_bit_sums(
    most: int, saturates: bool, network: Path, ranges: Ranges, tmp_path: Path
) -> None:
    """x86 without VNNI adds two products of uint8 and int8 in 16 bits (vpmaddubsw)."""
    path = quantize(network, tmp_path / "int8.onnx", ranges, Form(weight_max=most))
    model = onnx.load(str(path))
    worst = 0
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype == np.int8 and weights.ndim > 1:
            rows = np.sort(np.abs(weights.astype(int)).reshape(len(weights), -1), axis=1)
            worst = max(worst, int(255 * rows[:, -2:].sum(1).max()))
    assert (worst > 32767) is saturates


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
