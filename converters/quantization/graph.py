"""An ONNX graph as quantization sees it: who makes a tensor, who reads it, what may be int8."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# Operators that move values without computing any: they work on bytes as well as on floats.
MOVES = frozenset(
    (
        *("Concat", "Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze"),
        *("Transpose", "Unsqueeze"),
    )
)
ACTIVATIONS = frozenset(("Relu", "Clip"))
_SIGMOID_END = 8.0  # beyond which a sigmoid is within 4e-4 of 0 or 1


class Graph:
    """A model with its edges looked up; it is not changed."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.inputs = [i.name for i in model.graph.input]
        self.outputs = {o.name for o in model.graph.output}
        self.constants: dict[str, NDArray[Any]] = {
            t.name: numpy_helper.to_array(t) for t in model.graph.initializer
        } | {
            n.output[0]: numpy_helper.to_array(n.attribute[0].t)
            for n in self.nodes
            if n.op_type == "Constant"
        }
        self._fold()
        self._producers = {name: node for node in self.nodes for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def _fold(self) -> None:
        """Count what is computed from constants only, as shapes that are not simplified, as one."""
        for node in self.nodes:
            if node.op_type != "Constant" and not self.data(node):
                given = {name: self.constants[name] for name in node.input if name}
                values = ReferenceEvaluator(node).run(None, given)
                self.constants |= dict(zip(node.output, values, strict=True))

    @cached_property
    def layers(self) -> dict[str, NodeProto]:
        """Convolutions and linear layers with constant weights, by name in order."""
        return {layer_name(node): node for node in self.nodes if self.is_layer(node)}

    def is_layer(self, node: NodeProto) -> bool:
        """Return whether the node has weights that can be int8."""
        if node.op_type not in ("Conv", "Gemm") or attribute(node, "transA", 0):
            return False
        plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1
        return plain and bool(self.data(node)) and node.input[1] in self.constants

    def outputs_first(self, node: NodeProto) -> bool:
        """Return whether a layer's weights are stored with output channels along axis 0."""
        return node.op_type == "Conv" or bool(attribute(node, "transB", 0))

    def weights(self, node: NodeProto) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a layer's weights, (O, I, ...), and its bias, (O,)."""
        stored = self.constants[node.input[1]].astype(np.float32)
        rows = stored if self.outputs_first(node) else stored.T
        bias = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(rows))
        return rows, np.broadcast_to(bias, len(rows)).astype(np.float32)

    def is_sum(self, node: NodeProto) -> bool:
        """Return whether the node adds two computed tensors, as a shortcut does.

        Not where norms read the sums: a transformer's shortcuts carry channels far larger than the
        others, whose range would leave no steps for these.
        """
        return node.op_type == "Add" and len(self.data(node)) == 2 and not self._normed

    @cached_property
    def _normed(self) -> bool:
        return any(node.op_type == "LayerNormalization" for node in self.nodes)

    def data(self, node: NodeProto) -> list[str]:
        """Return the inputs of a node that are computed, not constant."""
        return [name for name in node.input if name and name not in self.constants]

    def producer(self, name: str) -> NodeProto | None:
        """Return the node that computes a tensor, None for an input of the graph."""
        return self._producers.get(name)

    def stacks(self, node: NodeProto) -> bool:
        """Return whether a node makes the volume that a 3-D convolution reads.

        OpenVINO runs that convolution in f32 where its dequantizer comes after such a movement, and
        in int8 where a quantizer does.
        """
        readers = self._readers.get(node.output[0], [])
        return node.op_type == "Transpose" and any(reader.op_type == "Conv" for reader in readers)

    def activated(self, name: str) -> str:
        """Return what becomes of a layer's output: itself, or what its only activation makes."""
        readers = self._readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in ACTIVATIONS and name not in self.outputs:
            return str(readers[0].output[0])
        return name

    def telling(self, name: str) -> tuple[float, float]:
        """Return between which values of a tensor those that read it tell them apart.

        A gate, sigmoid(x) or Clip(x + c), is flat beyond two ends; x times its own gate, as SiLU
        and hardswish are, is 0 below the lower one.
        """
        readers = self._readers.get(name, [])
        gates = [(reader, ends) for reader in readers if (ends := self._gate(reader)) is not None]
        if len(gates) != 1 or name in self.outputs:
            return -np.inf, np.inf
        [(gate, (low, high, made))] = gates
        others = [reader for reader in readers if reader is not gate]
        if not others:
            return low, high
        own = all(node.op_type == "Mul" and set(node.input) == {name, made} for node in others)
        return (low if own else -np.inf), np.inf

    def _gate(self, node: NodeProto) -> tuple[float, float, str] | None:
        """Return between which values a gate that begins here is not flat, and what it makes."""
        if node.op_type == "Sigmoid":
            return -_SIGMOID_END, _SIGMOID_END, node.output[0]
        shifts = [self.constants[name] for name in node.input if name in self.constants]
        readers = self._readers.get(node.output[0], [])
        if node.op_type != "Add" or [s.size for s in shifts] != [1] or len(readers) != 1:
            return None
        low, high = self.limits(readers[0])
        if readers[0].op_type != "Clip" or low != 0:
            return None
        shift = float(shifts[0].reshape(()))
        return low - shift, high - shift, readers[0].output[0]

    def limits(self, node: NodeProto) -> tuple[float, float]:
        """Return between which values an activation keeps what it reads."""
        if node.op_type == "Relu":
            return 0.0, np.inf
        ends = [*node.input[1:3], "", ""][:2]
        low, high = (self.constants.get(name) for name in ends)
        return (-np.inf if low is None else float(low)), (np.inf if high is None else float(high))

    def roots(self, name: str) -> set[str]:
        """Return the tensors whose values `name` holds, moved."""
        node = self.producer(name)
        if node is None or node.op_type not in MOVES or not self.data(node):
            return {name}
        return set().union(*(self.roots(source) for source in set(self.data(node))))


def layer_name(node: NodeProto) -> str:
    """Return a node's name as the module's: `/a/b/b.2/conv/Conv` is a.b.2.conv."""
    scopes = node.name.strip("/").removesuffix(f"/{node.op_type}")
    return re.sub(r"(?:^|(?<=/))([^/]+)/(?=\1\.)", "", scopes).replace("/", ".")


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return an attribute's value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def subsample_apart(model: ModelProto) -> ModelProto:
    """Split every strided 1x1 convolution into picking pixels (a 1x1 max pool) and a plain one.

    OpenVINO does that itself, but between dequantization and convolution: the pool and the
    convolution then run in f32 (measured: 3 of ResNet-50's convolutions). Before it, they are int8.
    """
    nodes = []
    for node in model.graph.node:
        strides = list(attribute(node, "strides", [1]))
        pointwise = node.op_type == "Conv" and set(attribute(node, "kernel_shape", [0])) == {1}
        if pointwise and max(strides) > 1 and not any(attribute(node, "pads", [0])):
            picked = f"{node.output[0]}_picked"
            nodes.append(
                helper.make_node(
                    "MaxPool",
                    [node.input[0]],
                    [picked],
                    f"{node.name}_pick",
                    kernel_shape=[1] * len(strides),
                    strides=strides,
                )
            )
            node.input[0] = picked
            kept = [a for a in node.attribute if a.name != "strides"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("strides", [1] * len(strides))])
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
