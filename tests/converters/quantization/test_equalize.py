"""Channels are equalized where the answers stay as they are, and int8 is nearer for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from converters.quantization.channels import FIXED, trace
from converters.quantization.choice import answers
from converters.quantization.equalize import Equalization, equalization
from converters.quantization.graph import Graph
from converters.quantization.judgment import Answers, drift
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import Form, calibrate, quantize, read_graph

FRAMES, STREAM, WIDE, SIDE = 4, 8, 16, 9


def save(nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], path: Path) -> Path:
    """Write a network of four frames with three channels and five classes."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, (FRAMES, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def weights(uneven: float) -> dict[str, np.ndarray]:
    """Return weights of a network whose channels differ by up to so many powers of ten.

    The factors go out again at the next layer, so that it answers the same for any of them.
    """
    random = np.random.default_rng(1)
    shapes = {
        "stem": (STREAM, 3, 3, 3),
        "deep": (STREAM, 1, 3, 3),
        "project": (STREAM, STREAM, 1, 1),
    }
    shapes |= {"expand": (WIDE, STREAM, 1, 1), "back": (STREAM, WIDE, 1, 1), "head": (5, STREAM)}
    made = {}
    for name, shape in shapes.items():
        made[name] = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        made[f"{name}.bias"] = random.normal(0.1, 0.1, shape[0])
    stream, wide = (10 ** (uneven * random.uniform(-1, 0, size)) for size in (STREAM, WIDE))
    for name, rows, columns in (
        ("project", stream, 1),
        ("expand", wide, stream),
        ("back", stream, wide),
        ("head", 1, stream),
    ):
        made[name] = (made[name].T * rows).T / np.reshape(
            columns, (1, -1, *(1,) * (made[name].ndim - 2))
        )
        made[f"{name}.bias"] = made[f"{name}.bias"] * rows
    return {name: value.astype(np.float32) for name, value in made.items()}


def network(path: Path, uneven: float) -> Path:
    """Write a shifted inverted residual block with ReLU6 and ReLU, pooled and classified."""
    ends = {"zero": np.float32(0), "six": np.float32(6), "shape": np.array([1, FRAMES, 5])}
    for name, value in {"0": 0, "1": 1, "2": 2, "4": 4, "all": 99, "last": -1}.items():
        ends[name] = np.array([value])
    ends["first two"], ends["second two"] = np.array([0, 1]), np.array([0, 1])
    ends |= {"later": np.array([0, 0, 0, 0, 1, 0, 0, 0]), "earlier": np.array([1, *[0] * 7])}

    def layer(name: str, read: str, **more: object) -> NodeProto:
        kind = "Gemm" if name == "head" else "Conv"
        given = [read, name, f"{name}.bias"]
        return helper.make_node(kind, given, [f"{name}:made"], f"/{name}/{kind}", **more)

    def cut(source: str, start: str, end: str, axis: str, made: str) -> NodeProto:
        return helper.make_node("Slice", [source, start, end, axis], [made], made)

    nodes = [
        layer("stem", "clip", pads=[1] * 4),
        helper.make_node("Clip", ["stem:made", "zero", "six"], ["stem:kept"], "/stem/Clip"),
        layer("deep", "stem:kept", pads=[1] * 4, group=STREAM),
        helper.make_node("Clip", ["deep:made", "zero", "six"], ["deep:kept"], "/deep/Clip"),
        layer("project", "deep:kept"),
        cut("project:made", "0", "2", "1", "a"),
        cut("a", "1", "all", "0", "a+"),
        helper.make_node("Pad", ["a+", "later"], ["a next"], "/Pad_a"),
        cut("project:made", "2", "4", "1", "b"),
        cut("b", "0", "last", "0", "b+"),
        helper.make_node("Pad", ["b+", "earlier"], ["b last"], "/Pad_b"),
        cut("project:made", "4", "all", "1", "c"),
        helper.make_node("Concat", ["a next", "b last", "c"], ["shifted"], "/Concat", axis=1),
        layer("expand", "shifted"),
        helper.make_node("Relu", ["expand:made"], ["expand:kept"], "/expand/Relu"),
        layer("back", "expand:kept"),
        helper.make_node("Add", ["project:made", "back:made"], ["sum"], "/Add"),
        helper.make_node("ReduceMean", ["sum"], ["pooled"], "/mean", axes=[2, 3], keepdims=0),
        layer("head", "pooled", transB=1),
        helper.make_node("Reshape", ["head:made", "shape"], ["frames"], "/Reshape"),
        helper.make_node("ReduceMean", ["frames"], ["logits"], "/consensus", axes=[1], keepdims=0),
    ]
    return save(nodes, weights(uneven) | ends, path)


def clips(seed: int, count: int) -> list[Feed]:
    random = np.random.default_rng(seed)
    shape = (count, FRAMES, 3, SIDE, SIDE)
    return [{"clip": clip} for clip in random.normal(0, 1, shape).astype(np.float32)]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network(tmp_path_factory.mktemp("uneven") / "f32.onnx", 2)


@pytest.fixture(scope="module")
def found(uneven: Path) -> Equalization:
    seen = clips(2, 16)
    found = equalization(uneven, seen, calibrate(uneven, seen))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def even(uneven: Path, found: Equalization, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return found.apply(uneven, tmp_path_factory.mktemp("even") / "f32.onnx")


def test_the_equalized_network_has_the_same_nodes_and_answers(
    uneven: Path, even: Path, found: Equalization
) -> None:
    kinds = [[node.op_type for node in onnx.load(str(p)).graph.node] for p in (uneven, even)]
    assert kinds[0] == kinds[1]
    seen = clips(2, 16)
    expected = answers(uneven, seen)
    assert np.abs(answers(even, seen) - expected).max() < 1e-5 * np.ptp(expected)
    moved = [np.ptp(np.log(outputs)) for outputs, _ in found.factors.values()]
    assert max(moved) > 1  # it is another network


def test_its_ranges_are_those_that_clips_show(even: Path, found: Equalization) -> None:
    shown = calibrate(even, clips(2, 16))
    for expected, given in ((shown.low, found.ranges.low), (shown.high, found.ranges.high)):
        assert given == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for name, means in shown.means.items():
        assert np.allclose(found.ranges.means[name], means, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_int8_of_uneven_channels_is_nearer_on_clips_not_seen(
    symmetric: bool, uneven: Path, even: Path, found: Equalization, tmp_path: Path
) -> None:
    form, others, path = Form(symmetric), clips(3, 32), tmp_path / "int8.onnx"
    expected = answers(uneven, others)

    def moved(source: Path, ranges: Ranges) -> float:
        quantize(source, path, ranges, form)
        return drift(Answers(expected, answers(path, others)))

    plain = moved(uneven, calibrate(uneven, clips(2, 16)))
    assert moved(even, found.ranges) < plain / 4


def test_another_form_of_the_network_is_scaled_alike(
    uneven: Path, found: Equalization, tmp_path: Path
) -> None:
    """As a volume: what reads two frames side by side has its factors twice."""
    outputs, inputs = found.factors["expand"]
    twice = Equalization(found.factors | {"expand": (outputs, np.tile(inputs, 2))}, found.ranges)
    path, seen = twice.apply(uneven, tmp_path / "other.onnx"), clips(2, 4)
    assert np.allclose(answers(path, seen), answers(uneven, seen), rtol=1e-3, atol=1e-4)


def between(*nodes: NodeProto, path: Path) -> set[int]:
    """Return the classes of what the first of two convolutions makes, with nodes between them."""
    random = np.random.default_rng(4)
    constants = {
        "one": np.float32([1]),
        "low": np.float32(-1),
        "zero": np.float32(0),
        "six": np.float32(6),
        "mixing": np.array([FRAMES, 1, -1, SIDE]),
        "back": np.array([FRAMES, STREAM, SIDE, SIDE]),
        "w": random.normal(size=(STREAM, 3, 1, 1)).astype(np.float32),
        "v": random.normal(size=(5, STREAM, 1, 1)).astype(np.float32),
    }
    first = helper.make_node("Conv", ["clip", "w"], ["x"], "/first/Conv")
    last = helper.make_node("Conv", ["y", "v"], ["z"], "/last/Conv")
    end = helper.make_node("Softmax", ["z"], ["logits"], "/end", axis=1)
    source = save([first, *nodes, last, end], constants, path)
    found = trace(read_graph(source), clips(5, 1)[0], ["x", "z"])
    assert set(found["z"].classes.tolist()) == {FIXED}
    return set(found["x"].classes.tolist())


def node(kind: str, read: Sequence[str], made: str = "y", **more: object) -> NodeProto:
    return helper.make_node(kind, read, [made], f"/{kind}/{made}", **more)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", ["x"])],
        [node("LeakyRelu", ["x"])],
        [node("MaxPool", ["x"], kernel_shape=[3, 3], pads=[1] * 4)],
        [node("GlobalAveragePool", ["x"])],
        [node("ReduceMean", ["x"], axes=[-1], keepdims=1)],
        [
            node("Transpose", ["x"], "t", perm=[1, 0, 2, 3]),
            node("Transpose", ["t"], perm=[1, 0, 2, 3]),
        ],
        [
            node("Reshape", ["x", "mixing"], "t"),
            node("Relu", ["t"], "r"),
            node("Reshape", ["r", "back"]),
        ],
        [node("Clip", ["x", "zero"])],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_channels_that_go_through_unmixed_are_free(nodes: list[NodeProto], tmp_path: Path) -> None:
    classes = between(*nodes, path=tmp_path / "x.onnx")
    assert len(classes) == STREAM and FIXED not in classes


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Sigmoid", ["x"])],
        [node("Add", ["x", "one"])],
        [node("Clip", ["x", "low"])],
        [node("Clip", ["x", "zero", "six"])],  # an upper end of a tensor that nobody minds
        [node("Sigmoid", ["x"], "gate"), node("Mul", ["x", "gate"])],
        [node("Mul", ["x", "x"])],
        [node("ReduceMean", ["x"], "mean", axes=[1], keepdims=1), node("Mul", ["x", "mean"])],
        [node("Softmax", ["x"], axis=1)],
    ],
    ids=lambda nodes: "-".join(node.op_type for node in nodes),
)
def test_what_scaling_would_change_is_left_alone(nodes: list[NodeProto], tmp_path: Path) -> None:
    assert between(*nodes, path=tmp_path / "x.onnx") == {FIXED}


def test_channels_that_are_mixed_are_one_class(tmp_path: Path) -> None:
    flat = [node("Reshape", ["x", "mixing"], "t"), node("MaxPool", ["t"], "p", kernel_shape=[1, 1])]
    classes = between(*flat, node("Reshape", ["p", "back"]), path=tmp_path / "x.onnx")
    assert len(classes) == 1 and FIXED not in classes


def test_what_a_gate_of_fixed_values_multiplies_is_free(tmp_path: Path) -> None:
    gate = [node("ReduceMean", ["clip"], "m", axes=[1], keepdims=1), node("Sigmoid", ["m"], "g")]
    classes = between(*gate, node("Mul", ["x", "g"]), path=tmp_path / "x.onnx")
    assert len(classes) == STREAM and FIXED not in classes


def test_a_network_without_free_channels_is_not_equalized(tmp_path: Path) -> None:
    constants = {"w": np.ones((5, 3, 1, 1), np.float32)}
    last = helper.make_node("Conv", ["clip", "w"], ["logits"], "/last/Conv")
    source = save([last], constants, tmp_path / "x.onnx")
    assert equalization(source, clips(5, 2), calibrate(source, clips(5, 2))) is None
    assert Graph(onnx.load(str(source))).layers
