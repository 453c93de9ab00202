"""Refined weights answer nearer to f32 than rounded ones; the harm of each layer in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.quantization.calibration import ClipSet, Feeds
from converters.quantization.choice import Way, answers, nearest
from converters.quantization.equalize import Equalization
from converters.quantization.int8 import Int8, Quantizer
from converters.quantization.judgment import Answers, Outcome, drift
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import Form, calibrate, plain, quantize, read_graph
from converters.quantization.refine import refine
from converters.quantization.sensitivity import harm
from converters.verification.clips import generated_clip
from edge_tsm import demo as packaged
from edge_tsm.bundle.card import Card

CHANNELS = 16
LAYERS = ("a", "b", "c", "head")


def inputs(seed: int, count: int) -> list[Feed]:
    """Pictures whose channels depend on each other, as those of a trained network do."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(CHANNELS, 3))
    sources = generator.normal(1, 1, (count, 3, 9, 9))
    mixed = np.einsum("cs,nshw->nchw", mixing, sources)
    noise = generator.normal(0, 0.05, mixed.shape)
    return [{"clip": clip[None].astype(np.float32)} for clip in mixed + noise]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pointwise, a depthwise and a full strided convolution, and a classifier."""
    generator = np.random.default_rng(2)
    shapes = {"a": (CHANNELS, CHANNELS, 1, 1), "b": (CHANNELS, 1, 3, 3)}
    shapes |= {"c": (CHANNELS, CHANNELS, 3, 3), "head": (5, CHANNELS)}
    tensors, nodes = [], []
    for name, shape in shapes.items():
        weight = generator.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        if name == "c":
            weight[:, 0, 0, 0] = 4  # a large weight makes the steps of the others coarse
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w_{name}"))
        bias = generator.normal(0, 0.1, shape[0]).astype(np.float32)
        tensors.append(numpy_helper.from_array(bias, f"b_{name}"))
    for name, read, more in (
        ("a", "clip", {}),
        ("b", "a_", {"group": CHANNELS, "pads": [1] * 4}),
        ("c", "b_", {"strides": [2, 2], "pads": [1] * 4}),
    ):
        given = [read, f"w_{name}", f"b_{name}"]
        nodes.append(helper.make_node("Conv", given, [name], f"/{name}/Conv", **more))
        nodes.append(helper.make_node("Relu", [name], [f"{name}_"], f"/{name}/Relu"))
    nodes.append(helper.make_node("GlobalAveragePool", ["c_"], ["pooled"], "/pool"))
    # A shape that the graph computes from a constant, as one that was not simplified does.
    tensors.append(numpy_helper.from_array(np.array([CHANNELS]), "width"))
    tensors.append(numpy_helper.from_array(np.array([-1]), "any"))
    nodes.append(helper.make_node("Concat", ["any", "width"], ["shape"], "/shape", axis=0))
    nodes.append(helper.make_node("Reshape", ["pooled", "shape"], ["flat"], "/flat"))
    given = ["flat", "w_head", "b_head"]
    nodes.append(helper.make_node("Gemm", given, ["logits"], "/head/Gemm", transB=1))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, (1, CHANNELS, 9, 9))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 5))],
        tensors,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path = tmp_path_factory.mktemp("small") / "f32.onnx"
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def ranges(source: Path) -> Ranges:
    return calibrate(source, inputs(3, 24))


def lopsided(source: Path, path: Path, first: str, then: str, *, by: float) -> Path:
    """Write the network with two channels between two layers `by` times as large: f32 is the same.

    The other channels then share few of a tensor's 256 levels.
    """
    model, graph = onnx.load(str(source)), read_graph(source)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer, factor, reads in ((first, by, False), (then, 1 / by, True)):
        for name in graph.layers[layer].input[1 : 2 if reads else 3]:
            value = numpy_helper.to_array(stored[name]).copy()
            value[(slice(None), slice(2)) if reads else slice(2)] *= factor
            stored[name].CopyFrom(numpy_helper.from_array(value, name))
    onnx.save(model, str(path))
    return path


def run(path: Path) -> np.ndarray:
    return answers(path, inputs(4, 40))


# Weights of 5 bits: what they lose then stands out from what activations lose.
@pytest.mark.parametrize("symmetric", [False, True])
def test_refined_layers_answer_nearer_on_clips_not_seen(
    symmetric: bool, source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    form = Form(symmetric, weight_max=15)
    layers = refine(source, ranges, form, inputs(3, 24))
    assert tuple(layers) == LAYERS
    assert all(np.abs(layer.integers).max() <= form.weight_max for layer in layers.values())
    path, f32 = tmp_path / "int8.onnx", run(source)
    plain, refined = (
        np.abs(run(quantize(source, path, ranges, form, layers=given)) - f32).mean()
        for given in (None, layers)
    )
    assert refined < 0.85 * plain, (refined, plain)


@pytest.mark.parametrize("refinement_helps", [True, False])
def test_the_way_that_answers_nearer_is_chosen(
    refinement_helps: bool, source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    form, checked = Form(weight_max=15), inputs(5, 12)
    refined = refine(source, ranges, form, inputs(3, 24))
    if not refinement_helps:
        wrong = {name: replace(layer, bias=layer.bias + 1) for name, layer in refined.items()}
        refined = wrong

    def write(way: Way) -> Path:
        return quantize(way.source, tmp_path / "way.onnx", way.ranges, form, layers=way.layers)

    kinds = {"rounded": plain(source, ranges, form), "refined": refined}
    ways = {kind: Way(source, ranges, layers) for kind, layers in kinds.items()}
    chosen = nearest(ways, write, answers(source, checked), checked, "softmax")
    assert chosen.way == ("refined" if refinement_helps else "rounded")
    assert chosen.chosen is ways[chosen.way]
    assert chosen.drifts[chosen.way] == min(chosen.drifts.values())
    assert f"{chosen.way}; logits move by rounded" in str(chosen)


def test_equalized_channels_are_taken_only_where_they_are_nearer_by_far(
    source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    form, checked = Form(weight_max=15), inputs(5, 12)
    none, same = plain(source, ranges, form), Equalization({}, ranges)
    refined = refine(source, ranges, form, inputs(3, 24))

    def write(way: Way) -> Path:
        return quantize(way.source, tmp_path / "way.onnx", way.ranges, form, layers=way.layers)

    ways = {
        "rounded": Way(source, ranges, none),
        "equalized": Way(source, ranges, refined, same),
    }
    found = nearest(ways, write, answers(source, checked), checked, "softmax")
    assert 0.5 < found.drifts["equalized"] / found.drifts["rounded"] < 1
    assert found.way == "rounded"
    wrong = {name: replace(layer, bias=layer.bias + 1) for name, layer in none.items()}
    ways["rounded"] = Way(source, ranges, wrong)
    assert nearest(ways, write, answers(source, checked), checked, "softmax").way == "equalized"


def test_rounded_layers_are_those_that_a_graph_holds_by_default(
    source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    layers = plain(source, ranges, Form())
    files = [
        quantize(source, tmp_path / "x.onnx", ranges, Form(), layers=given).read_bytes()
        for given in (None, layers)
    ]
    assert files[0] == files[1]


def test_refining_adds_no_node_and_repeats_itself(
    source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    layers, again = (refine(source, ranges, Form(), inputs(3, 8)) for _ in range(2))
    for name in LAYERS:
        assert np.array_equal(layers[name].integers, again[name].integers)
        assert np.array_equal(layers[name].bias, again[name].bias)
    kinds = [
        [node.op_type for node in onnx.load(str(path)).graph.node]
        for path in (
            quantize(source, tmp_path / "plain.onnx", ranges, Form()),
            quantize(source, tmp_path / "refined.onnx", ranges, Form(), layers=layers),
        )
    ]
    assert kinds[0] == kinds[1]


def test_layers_that_stay_float_are_left_out(source: Path, ranges: Ranges) -> None:
    layers = refine(source, ranges, Form(), inputs(3, 4), keep=("b",))
    assert tuple(layers) == ("a", "c", "head")


def test_progress_is_told_layer_by_layer(source: Path, ranges: Ranges) -> None:
    told: list[tuple[str, int, int]] = []
    refine(source, ranges, Form(), inputs(3, 2), count=lambda *step: told.append(step))
    assert told[0] == ("int8 layers", 0, 4) and told[-1] == ("int8 layers", 3, 4)


def test_one_pass_finds_the_harm_that_a_graph_per_layer_finds(
    source: Path, ranges: Ranges, tmp_path: Path
) -> None:
    feeds, path = inputs(3, 2), tmp_path / "alone.onnx"
    layers = refine(source, ranges, Form(), inputs(3, 24))
    found = harm(source, ranges, Form(), feeds, layers)
    for name in LAYERS:
        others = [other for other in LAYERS if other != name]
        quantize(source, path, ranges, Form(), keep=others, layers=layers)
        f32, int8 = (answers(p, feeds) for p in (source, path))
        assert found[name] == pytest.approx(np.mean((f32 - int8) ** 2), rel=0.5), name


def test_layers_around_channels_that_int8_cannot_hold_hurt_most_and_help_most_when_float(
    source: Path, tmp_path: Path
) -> None:
    broken = lopsided(source, tmp_path / "broken.onnx", "b", "c", by=300)
    f32, path = run(source), tmp_path / "int8.onnx"
    assert np.allclose(run(broken), f32, rtol=1e-4, atol=1e-5)
    ranges = calibrate(broken, inputs(3, 24))
    layers = plain(broken, ranges, Form())
    found = harm(broken, ranges, Form(), inputs(3, 2), layers)
    order = sorted(found, key=lambda name: -found[name])
    assert set(order[:2]) == {"b", "c"}

    def drifts(keep: list[str]) -> float:
        quantize(broken, path, ranges, Form(), keep=keep, layers=layers)
        return drift(Answers(f32, run(path)))

    assert drifts(order[:2]) < drifts([]) / 3  # what is left is that of sound int8
    assert drifts(order[2:]) > drifts([]) * 2 / 3


@dataclass
class DriftLimit:
    """In place of clips kept back: int8 is worse where it moves the logits by over 10 %."""

    expected: np.ndarray
    feeds: list[Feed]
    reasons: tuple[str, ...] = ("it drifts",)
    outcome: Outcome = Outcome.UNPROVEN

    def attempt(self, path: Path) -> DriftLimit:
        moved = drift(Answers(self.expected, answers(path, self.feeds)))
        self.outcome = Outcome.WORSE if moved > 0.1 else Outcome.UNPROVEN
        return self


def test_the_search_keeps_just_those_layers_of_a_trained_network_float(tmp_path: Path) -> None:
    bundle, between = packaged.bundle(), ("backbone.blocks.16.project.conv", "backbone.last.conv")
    card, path = Card.read(bundle), tmp_path / "broken.onnx"
    broken = lopsided(bundle / "model.onnx", path, *between, by=100)
    size_px = card.preprocess.crop_px
    clips = ClipSet(np.stack([generated_clip(seed, 8, size_px) for seed in range(2)]))
    feeds = list(Feeds(card, clips.crops, broken))
    limit = DriftLimit(answers(bundle / "model.onnx", feeds), feeds)
    quantizer = Quantizer(broken, card, clips, Int8(clips), work=tmp_path)
    quantizer.choose(limit, warn=print)  # type: ignore[arg-type]
    assert set(quantizer.float_layers) == set(between)
    assert limit.outcome is Outcome.UNPROVEN


def test_channels_that_int8_cannot_hold_are_equalized_in_every_form(tmp_path: Path) -> None:
    bundle, between = packaged.bundle(), ("backbone.blocks.16.project.conv", "backbone.last.conv")
    card, path = Card.read(bundle), tmp_path / "broken.onnx"
    broken = lopsided(bundle / "model.onnx", path, *between, by=100)
    crops = np.stack([generated_clip(seed, 8, card.preprocess.crop_px) for seed in range(4)])
    clips = ClipSet(crops)
    quantizer = Quantizer(broken, card, clips, Int8(clips), work=tmp_path)
    files = [
        quantizer.write(tmp_path / "a.onnx"),
        quantizer.write(tmp_path / "b.onnx", source=broken),
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    choice = quantizer.choice(Form())
    assert choice.way == "equalized", choice
    feeds = list(Feeds(card, crops[3:], broken))
    found = drift(Answers(answers(broken, feeds), answers(files[0], feeds)))
    assert found == pytest.approx(choice.drifts["equalized"])
    assert "equalized; logits move by rounded" in str(choice)
