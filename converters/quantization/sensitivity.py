"""How far each layer moves the logits when it alone is int8: all layers in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from onnx import NodeProto

from converters.quantization.calibration import Count, unseen
from converters.quantization.graph import Graph, layer_name
from converters.quantization.nodes import Array, Values, forget, run, through, uses
from converters.quantization.observer import Feed, Ranges
from converters.quantization.qdq import (
    Form,
    Layer,
    Scale,
    dequantized,
    points,
    read_graph,
    scales,
)

_CLIPS = 2


def harm(
    source: Path,
    ranges: Ranges,
    form: Form,
    feeds: Iterable[Feed],
    layers: Mapping[str, Layer],
    *,
    count: Count = unseen,
) -> dict[str, float]:
    """Return by layer the mean squared change of the logits when only it is int8, as `layers` say.

    The float network runs once, node by node. At each layer a variant of the network branches off
    in which that layer is int8; from there on it runs along. What a variant shares with the float
    network is not computed again, so all of them cost half as many runs as there are layers.
    """
    graph, total = read_graph(source), dict.fromkeys(layers, 0.0)
    where = points(graph, ())
    for feed in islice(feeds, _CLIPS):
        variants = _Variants(graph, where, scales(where, ranges, form), layers)
        for name, change in variants.run(feed, count).items():
            total[name] += change / _CLIPS
    return total


@dataclass
class _Variants:
    """The float network, first of each list of values, and one variant per layer met so far."""

    graph: Graph
    points: Mapping[str, str]
    scales: Mapping[str, Scale]
    layers: Mapping[str, Layer]
    values: Values = field(default_factory=dict)
    met: list[str] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)  # what layers make: whose variant has it

    def run(self, feed: Feed, count: Count) -> dict[str, float]:
        """Return the mean squared change of the logits by layer."""
        self.values = {name: [value] for name, value in feed.items()}
        left = uses(self.graph)
        for node in filter(self.graph.data, self.graph.nodes):
            count("int8 sensitivity", len(self.met), len(self.layers))
            self._step(node)
            forget(self.graph.data(node), left, self.values)
        logits = self._all(self.graph.model.graph.output[0].name)
        changes = [float(np.mean((other - logits[0]) ** 2)) for other in logits[1:]]
        return dict(zip(self.met, changes, strict=True))

    def _all(self, name: str) -> list[Array]:
        """Return a tensor of every variant; those that branched off later have the float one."""
        held = self.values[name]
        return held + held[:1] * (1 + len(self.met) - len(held))

    def _step(self, node: NodeProto) -> None:
        """Run a node in the variants that differ before it; branch off at a layer."""
        inputs = {name: self._all(name) for name in set(self.graph.data(node))}
        differ = [
            i
            for i in range(1 + len(self.met))
            if not i or any(values[i] is not values[0] for values in inputs.values())
        ]
        given = {name: [values[i] for i in differ] for name, values in inputs.items()}
        found = run(self.graph, node, given)
        for name, values in found.items():
            rows = values[:1] * (1 + len(self.met))
            for i, value in zip(differ, values, strict=True):
                rows[i] = self._quantized(name, value) if self.outputs.get(name) == i else value
            self.values[name] = rows
        layer = self.layers.get(layer_name(node))
        if self.graph.is_layer(node) and layer is not None:
            self._branch(node, layer)

    def _branch(self, node: NodeProto, layer: Layer) -> None:
        """Add the variant in which this layer is int8: its input, its weights, and its output.

        The output is quantized behind its activation, if it has one: a layer before channels that
        int8 cannot hold hurts as much as the one after them, and both must be float.
        """
        source, output = node.input[0], node.output[0]
        value = self._quantized(source, self.values[source][0])
        weights = dequantized(layer)
        stored = weights if self.graph.outputs_first(node) else np.ascontiguousarray(weights.T)
        replaced = {node.input[1]: stored}
        if len(node.input) > 2:
            replaced[node.input[2]] = layer.bias
        [answer] = run(self.graph, node, {source: [value]}, replaced)[output]
        made = self.graph.activated(output)
        if made == output:
            answer = self._quantized(output, answer)
        self.met.append(layer_name(node))
        self.outputs[made] = len(self.met)
        self.values[output] = [*self.values[output], answer]

    def _quantized(self, name: str, value: Array) -> Array:
        (root,) = {self.points.get(root, "") for root in self.graph.roots(name)} or {""}
        return through(self.scales[root], value) if root else value
