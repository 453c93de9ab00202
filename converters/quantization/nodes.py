"""A graph run node by node over several clips, every tensor at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper

from converters.quantization.graph import Graph
from converters.quantization.observer import Feed
from converters.quantization.qdq import Scale
from converters.quantization.session import open_session

Array = NDArray[np.float32]
Values = dict[str, list[Array]]  # by tensor, of every clip


def through(scale: Scale, value: Array) -> Array:
    """Return what is left of values behind a quantizer."""
    step, zero = scale
    limits = np.iinfo(zero.dtype)
    low, high = limits.min - int(zero), limits.max - int(zero)
    result: Array = np.clip(np.rint(value / step), low, high).astype(np.float32) * step
    return result


def run(
    graph: Graph, node: NodeProto, values: Values, replaced: Mapping[str, Array] | None = None
) -> Values:
    """Return a node's outputs for all clips; `replaced` stands in for constants."""
    names = sorted(set(graph.data(node)))
    session = _session(graph, node, {name: values[name][0] for name in names}, replaced or {})
    outputs = [name for name in node.output if name]
    runs = [
        session.run(outputs, dict(zip(names, given, strict=True)))
        for given in zip(*(values[name] for name in names), strict=True)
    ]
    return {name: [run[i] for run in runs] for i, name in enumerate(outputs)}


def _session(
    graph: Graph, node: NodeProto, given: Mapping[str, Array], replaced: Mapping[str, Array]
) -> onnxruntime.InferenceSession:
    """Return a node as a model of its own."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), None)
        for name, x in given.items()
    ]
    constants = {n: graph.constants[n] for n in node.input if n in graph.constants} | {**replaced}
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    outputs = [ValueInfoProto(name=name) for name in node.output if name]
    opsets, version = graph.model.opset_import, graph.model.ir_version
    body = helper.make_graph([node], "node", inputs, outputs, tensors)
    model = helper.make_model(body, opset_imports=opsets, ir_version=version)
    return open_session(model.SerializeToString(), spin=False)


def uses(graph: Graph) -> dict[str, int]:
    """Return how many nodes read each tensor; outputs of the graph are read once more."""
    uses = dict.fromkeys(graph.outputs, 1)
    for node in graph.nodes:
        for name in set(graph.data(node)):
            uses[name] = uses.get(name, 0) + 1
    return uses


def forget(names: Iterable[str], left: dict[str, int], *values: Values) -> None:
    """Drop tensors that no later node reads."""
    for name in set(names):
        left[name] -= 1
        for held in values if not left[name] else ():
            del held[name]


def peak_bytes(graph: Graph, feed: Feed) -> int:
    """Return the most that one network holds of one clip while it runs node by node."""
    values, left, peak = {name: [value] for name, value in feed.items()}, uses(graph), 0
    for node in filter(graph.data, graph.nodes):
        values |= run(graph, node, values)
        peak = max(peak, sum(value.nbytes for [value] in values.values()))
        forget(graph.data(node), left, values)
    return peak
