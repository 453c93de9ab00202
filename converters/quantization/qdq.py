"""Static INT8: from an f32 ONNX graph to a QDQ graph whose shift moves bytes.

A tensor that is shifted is quantized once, before the shift: slice, pad (with the zero point) and
concatenation work on its bytes, and the convolution behind them dequantizes. So the shift needs no
range of its own, costs no requantization, and its zeros are exact. Activations are uint8 with a
zero point, weights int8 per output channel.

Biases are corrected for what rounding the weights does to each channel's mean (Nagel et al., 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with means
measured on the calibration clips). Measured on a trained MobileNetV2-TSM: mean |Δ probability|
0.024 without, 0.006 with it; percentile and entropy ranges gained nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from converters.quantization.graph import (
    ACTIVATIONS,
    MOVES,
    Graph,
    attribute,
    layer_name,
    subsample_apart,
)
from converters.quantization.observer import Feed, Ranges, observe

Scale = tuple[np.float32, np.uint8 | np.int8]  # scale, zero point


@dataclass(frozen=True)
class Form:
    """What an engine wants of a quantized graph.

    `symmetric`: int8 activations without zero point, moved as floats between two quantizers of one
    scale, and float biases, as TensorRT reads it. `weight_max` 63 keeps 16-bit sums of
    uint8 x int8 pairs from saturating on x86 CPUs without VNNI (255 * 63 * 2 < 2**15).
    """

    symmetric: bool = False
    weight_max: int = 127


def calibrate(source: Path, feeds: Iterable[Feed]) -> Ranges:
    """Return the ranges that `quantize` needs, seen on `feeds`.

    They end where what reads a tensor no longer tells values apart.
    """
    graph = read_graph(source)
    layers, tensors = graph.layers.values(), sorted(points(graph, ()))
    ranks = {node.input[0]: graph.constants[node.input[1]].ndim for node in layers}
    seen = observe(graph.model, feeds, tensors=tensors, means=ranks)
    for name in tensors:
        low, high = graph.telling(name)
        seen.low[name] = max(seen.low[name], low)
        seen.high[name] = min(seen.high[name], high)
    return seen


def layer_names(source: Path) -> list[str]:
    """Return the names of the layers of a graph that can be int8, in order."""
    return list(read_graph(source).layers)


@dataclass(frozen=True, eq=False)
class Layer:
    """Weights of a layer as integers, (O, I, ...), their scale (O,) and the float bias (O,)."""

    integers: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]


def quantize(
    source: Path,
    path: Path,
    ranges: Ranges,
    form: Form,
    *,
    keep: Collection[str] = (),
    layers: Mapping[str, Layer] | None = None,
) -> Path:
    """Write the f32 model `source` as int8 to `path`; layers named in `keep` stay float.

    `layers` are what layers are to hold (`refine`), by name; by default weights are rounded.
    """
    model = _Rewriter(read_graph(source), ranges, form, keep, layers or {}).run()
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def read_graph(source: Path) -> Graph:
    """Return the graph of a file, made ready to be quantized."""
    return Graph(subsample_apart(onnx.load(str(source))))


def rounded(rows: NDArray[np.float32], bias: NDArray[np.float32], *, most: int) -> Layer:
    """Round weights (O, I, ...) to the nearest of 2 * most + 1 steps per output channel."""
    scale = (np.abs(rows).reshape(len(rows), -1).max(1) / most).clip(1e-9).astype(np.float32)
    return Layer(np.rint(rows / _per_output(scale, rows.ndim)).astype(np.int8), scale, bias)


def plain(source: Path, ranges: Ranges, form: Form) -> dict[str, Layer]:
    """Return the layers of the f32 model `source` with rounded weights, by name."""
    graph = read_graph(source)
    return {name: _plain(graph, node, ranges, form) for name, node in graph.layers.items()}


def in_shapes_of(source: Path, layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Return layers with their integers in the shapes that they have in another form of a network.

    There a kernel over k frames is (O, I, k, h, w), here its inputs lie side by side:
    (O, k*I, h, w).
    """
    graph = read_graph(source)
    found = {}
    for name, node in graph.layers.items():
        rows, _ = graph.weights(node)
        layer = layers.get(name)
        if layer is not None:
            found[name] = replace(layer, integers=_volume(layer.integers, rows.shape))
    return found


def _volume(integers: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    if integers.ndim == len(shape):
        return integers
    outputs, inputs, time, *side = shape
    beside = integers.reshape(outputs, time, inputs, *side)
    return np.ascontiguousarray(np.moveaxis(beside, 1, 2))


def _plain(graph: Graph, node: NodeProto, ranges: Ranges, form: Form) -> Layer:
    rows, bias = graph.weights(node)
    layer = rounded(rows, bias, most=form.weight_max)
    means = ranges.means[node.input[0]].reshape(attribute(node, "group", 1), -1)
    drift = _drift(dequantized(layer) - rows, means)
    return replace(layer, bias=(bias - drift).astype(np.float32))


def _drift(error: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what an error of the weights adds to the mean of each output channel.

    `means` are those of the input channels, (groups, channels of a group).
    """
    groups = len(means)
    summed = error.reshape(groups, len(error) // groups, error.shape[1], -1).sum(3)
    drift: NDArray[np.float32] = np.einsum("goi,gi->go", summed, means).reshape(-1)
    return drift


def dequantized(layer: Layer) -> NDArray[np.float32]:
    """Return the weights that a layer's integers stand for."""
    weights: NDArray[np.float32] = layer.integers * _per_output(layer.scale, layer.integers.ndim)
    return weights


def _per_output(scale: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    return scale.reshape(-1, *(1,) * (rank - 1))


def _fitting(layer: Layer, scale_in: float) -> Layer:
    """Give channels of almost zero weights a scale by which their bias still fits into 32 bits."""
    least = np.abs(layer.bias) / (scale_in * 2.0**30)
    if (layer.scale >= least).all():
        return layer
    scale = np.maximum(layer.scale, least).astype(np.float32)
    integers = np.rint(dequantized(layer) / _per_output(scale, layer.integers.ndim))
    return Layer(integers.astype(np.int8), scale, layer.bias)


def scales(points: Mapping[str, str], ranges: Ranges, form: Form) -> dict[str, Scale]:
    """Return the scale and zero point of each group of `points`, by the group's first tensor."""
    found = {}
    for name in set(points.values()):
        group = [tensor for tensor, first in points.items() if first == name]
        low = min(0.0, *(ranges.low[tensor] for tensor in group))
        high = max(0.0, *(ranges.high[tensor] for tensor in group))
        found[name] = _scale(low, high, symmetric=form.symmetric)
    return found


def _scale(low: float, high: float, *, symmetric: bool) -> Scale:
    if symmetric:
        return np.float32(max(-low, high, 1e-6) / 127), np.int8(0)
    scale = max(high - low, 1e-6) / 255
    return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255))


def points(graph: Graph, keep: Collection[str]) -> dict[str, str]:
    """Return the tensors to quantize, each with the tensor whose scale it shares.

    These are what layers and sums read and make, before any movement. Tensors that a concatenation
    joins share a scale.
    """
    shared: dict[str, str] = {}

    def find(name: str) -> str:
        while shared[name] != name:
            name = shared[name]
        return name

    for node in graph.nodes:
        layer = graph.is_layer(node)
        if not (layer or graph.is_sum(node)) or layer_name(node) in keep:
            continue
        wanted = [node.input[0]] if layer else list(node.input)
        if node.op_type != "Gemm":  # a classifier's logits stay float
            wanted.append(graph.activated(node.output[0]))
        for name in wanted:
            first, *others = sorted(graph.roots(name))
            shared.setdefault(first, first)
            for other in others:
                shared[find(shared.setdefault(other, other))] = find(first)
    return {name: find(name) for name in shared}


class _Rewriter:
    """Copies a graph node by node, quantizing on the way."""

    def __init__(
        self,
        graph: Graph,
        ranges: Ranges,
        form: Form,
        keep: Collection[str],
        layers: Mapping[str, Layer],
    ) -> None:
        self._graph, self._form, self._keep, self._layers = graph, form, keep, layers
        self._ranges = ranges
        self._points = points(graph, keep)
        self._scales = scales(self._points, ranges, form)
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._bytes: dict[str, tuple[str, str]] = {}  # tensor: its quantized twin, its scale's name
        self._floats: dict[str, str] = {}  # tensor: what float operators read instead

    def run(self) -> ModelProto:
        """Return the quantized model."""
        for name in self._graph.inputs:
            self._quantize(name)
        for node in self._graph.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            if self._moves_bytes(node):
                self._move(copy)
            else:
                self._compute(node, copy)
        for name in self._graph.outputs & self._bytes.keys():
            self._float(name)
        return self._model()

    def _moves_bytes(self, node: NodeProto) -> bool:
        data = self._graph.data(node)
        integers = bool(data) and not self._form.symmetric and node.op_type in MOVES
        integers = integers and not self._graph.stacks(node)
        return integers and all(name in self._bytes for name in data)

    def _move(self, node: NodeProto) -> None:
        """Let a movement work on bytes; what a Pad adds is the zero point."""
        for i, name in enumerate(node.input):
            if name in self._bytes:
                node.input[i], scale = self._bytes[name]
        if node.op_type == "Pad":
            del node.input[2:]
            node.input.append(self._zero(scale))
        output = node.output[0]
        node.output[0] = f"{output}:int"
        self._bytes[output] = (node.output[0], scale)
        self._nodes.append(node)

    def _compute(self, node: NodeProto, copy: NodeProto) -> None:
        """Let an operator read floats, and quantize what it makes where that is wanted."""
        layer = self._graph.is_layer(node) and layer_name(node) not in self._keep
        if layer:
            self._settle(node.input[0])
        for i, name in enumerate(node.input):
            copy.input[i] = self._float(name)
        if layer:
            self._weights(node, copy)
        if self._saturates(node):
            # The quantizer's own limits are those of the activation.
            self._nodes[-1].output[0] = node.output[0]
        else:
            self._nodes.append(copy)
        for name in node.output:
            self._quantize(name)

    def _settle(self, name: str) -> None:
        """Quantize what was moved as floats once more, by the same scale, so exactly.

        NVIDIA asks for a quantizer right before a layer that is to be int8; engines then move it
        ahead of the movement, where it meets the first.
        """
        if name not in self._bytes:
            (scale,) = {self._points[root] for root in self._graph.roots(name)}
            self._bytes[name] = (f"{name}:int", scale)
            self._floats[name] = ""
            self._emit("QuantizeLinear", name, scale, f"{name}:int")

    def _saturates(self, node: NodeProto) -> bool:
        """Return whether quantizing an activation's output does what the activation does."""
        name = node.output[0]
        if node.op_type not in ACTIVATIONS or name not in self._points:
            return False
        made_here = node.input[0] in self._nodes[-1].output
        if self._graph.activated(node.input[0]) != name or not made_here:
            return False
        scale, zero = self._scales[self._points[name]]
        limits = np.iinfo(zero.dtype)
        low, high = (float(scale) * (int(end) - int(zero)) for end in (limits.min, limits.max))
        least, most = self._graph.limits(node)
        return low >= least and high <= most * (1 + 1e-6)

    def _quantize(self, name: str) -> None:
        """Quantize a float tensor if that is wanted."""
        if name not in self._points or name in self._bytes:
            return
        scale = self._points[name]
        twin = f"{name}:int"
        self._emit("QuantizeLinear", name, scale, twin)
        self._bytes[name] = (twin, scale)
        self._floats[name] = ""

    def _float(self, name: str) -> str:
        """Return the float tensor to read for `name`, dequantized where it has a quantized twin."""
        if name not in self._bytes:
            return name
        if not self._floats.get(name):
            twin, scale = self._bytes[name]
            # What was moved as bytes exists as float under no other name.
            self._floats[name] = f"{name}:float" if name in self._floats else name
            self._emit("DequantizeLinear", twin, scale, self._floats[name])
        return self._floats[name]

    def _emit(self, kind: str, source: str, scale: str, output: str) -> None:
        value, _ = self._scales[scale]
        parameters = [self._constant(f"{scale}:scale", value), self._zero(scale)]
        self._nodes.append(
            helper.make_node(kind, [source, *parameters], [output], f"{output}:{kind}")
        )

    def _zero(self, scale: str) -> str:
        return self._constant(f"{scale}:zero", self._scales[scale][1])

    def _weights(self, node: NodeProto, copy: NodeProto) -> None:
        """Store weights per output channel, and the bias by their product with the input."""
        (root,) = {self._points[r] for r in self._graph.roots(node.input[0])}
        scale_in, _ = self._scales[root]
        layer = self._layers.get(layer_name(node)) or _plain(
            self._graph, node, self._ranges, self._form
        )
        layer = _fitting(layer, float(scale_in))
        integers, scale, bias = layer.integers, layer.scale, layer.bias
        axis = 0 if self._graph.outputs_first(node) else 1
        stem = f"{node.input[1]}:{node.name}"
        copy.input[1] = self._stored(stem, integers if axis == 0 else integers.T, scale, axis)
        del copy.input[2:]
        if self._form.symmetric:
            copy.input.append(self._constant(f"{stem}:bias", bias.astype(np.float32)))
        else:
            step = scale * scale_in
            copy.input.append(
                self._stored(f"{stem}:bias", np.rint(bias / step).astype(np.int32), step, 0)
            )

    def _stored(
        self, name: str, integers: NDArray[np.generic], scale: NDArray[np.float32], axis: int
    ) -> str:
        """Store integers with a scale per channel; return the tensor of what they stand for."""
        inputs = [
            self._constant(f"{name}:int", integers),
            self._constant(f"{name}:scale", scale),
            self._constant(f"{name}:zero", np.zeros(len(scale), integers.dtype)),
        ]
        output = f"{name}:float"
        self._nodes.append(
            helper.make_node("DequantizeLinear", inputs, [output], f"{output}:DQ", axis=axis)
        )
        return output

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._constants[name] = np.asarray(value)
        return name

    def _model(self) -> ModelProto:
        """Return the new model: nodes, and the constants that are still read."""
        model = ModelProto()
        model.CopyFrom(self._graph.model)
        graph = model.graph
        read = {name for node in self._nodes for name in node.input}
        kept = [constant for constant in graph.initializer if constant.name in read]
        for part in (graph.node, graph.value_info, graph.initializer):
            del part[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(kept)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._constants.items()
        )
        return model
