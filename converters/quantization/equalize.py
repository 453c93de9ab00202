"""Cross-layer equalization: every channel of a tensor gets its share of the 256 levels.

Engines give a tensor of activations one scale, so a channel whose values are small gets few of its
levels. Where channels can be scaled without a change of what the network answers (`channels`), the
layer that makes a channel is multiplied by a factor s and the layers that read it are divided by it
(Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.1, there by weights alone). The graph has the same nodes as without.

Where a layer mixes channels, dividing its inputs also changes how evenly its rows use the levels of
weights. The factors make the power of all rounding errors least, each as a share of its layer's
output:

    sum over layers (D^2 sum_i |W_i|^2 / s_i^2 + G sum_o d_o^2 sum_i E[x_i^2] s_i^2) / 12 E|y|^2

D is the step of what the layer reads and d_o that of row o, both as the factors make them. Errors
of weights count more, by G, as they are the same at every pixel, where errors of activations
average out.

A channel that fills its tensor's range has no headroom left for values that no clip showed; a
channel that is rarely active needs it most. So of what a channel lacks to the tensor's range only
the part `_FILLED` is filled, by logarithms. The same holds for ReLU6, which is scaled with what it
clips: a channel that reaches 6 stays as it is, others stay below it on all clips seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from torch import Tensor

from converters.quantization.channels import FIXED, ZEROS, Classes, trace
from converters.quantization.graph import Graph, attribute
from converters.quantization.observer import Channels, Feed, Ranges, extremes, powers
from converters.quantization.qdq import points, read_graph

Factors = Mapping[str, tuple[Channels, Channels]]
"""By layer: what its output channels are multiplied by, (O,), and its input channels divided by."""
_MOST, _FILLED = 64.0, 0.6
_WEIGHTS = 3.0  # G above; measured: both kinds of error move the logits alike then
_CLIPS = 4  # that tell the power of signals
_STEPS, _RATE = 120, 0.1
# Its norm stands in for the maximum over a row; what adds less to it does not count.
_NORM, _LEAST = 8, 1e-9


@dataclass(frozen=True)
class Equalization:
    """Factors of a network's layers, and the ranges of its tensors once it is scaled."""

    factors: Factors
    ranges: Ranges

    def apply(self, source: Path, path: Path) -> Path:
        """Write the f32 model `source`, the network in any form, to `path` with scaled layers.

        A kernel over k frames reads I channels, in another form k times I, whose factors repeat.
        """
        graph = read_graph(source)
        model, constants = graph.model, list[TensorProto]()
        for name, node in graph.layers.items():
            scaled = _scaled(graph, node, *self.factors[name])
            tensors = [
                numpy_helper.from_array(value, f"{node.name}:{part}")
                for part, value in zip(("weight", "bias"), scaled, strict=True)
            ]
            del node.input[1:]
            node.input.extend(tensor.name for tensor in tensors)
            constants += tensors
        read = {name for node in model.graph.node for name in node.input}
        kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, *constants])
        onnx.save(model, str(path))
        return path


def equalization(source: Path, feeds: Sequence[Feed], ranges: Ranges) -> Equalization | None:
    """Return how to equalize the f32 model `source`, None where no channel can be scaled.

    `ranges` are those that `feeds` show (`calibrate`).
    """
    graph = read_graph(source)
    layers, tensors = graph.layers.values(), points(graph, ())
    ends = {name for node in layers for name in (node.input[0], node.output[0])}
    traced = trace(graph, feeds[0], {*tensors, *ends})
    classes = {name: found.classes for name, found in traced.items()}
    free = {name for name in tensors if (classes[name] > FIXED).any()}
    if not free:
        return None
    shapes = {name: found.shape for name, found in traced.items() if len(found.shape) > 1}
    alike = {tensors[name] for name in free}
    watched = {name: shapes[name] for name, first in tensors.items() if first in alike}
    seen = extremes(graph.model, feeds, watched)
    power = powers(graph.model, feeds[:_CLIPS], shapes)
    factor = _Errors(graph, classes, seen, power).least()
    by = {name: factor[found] for name, found in classes.items()}
    layered = {name: (by[n.output[0]], by[n.input[0]]) for name, n in graph.layers.items()}
    low = {name: float((seen[name][0] * by[name]).min()) for name in free}
    high = {name: float((seen[name][1] * by[name]).max()) for name in free}
    means = {name: value * by[name] for name, value in ranges.means.items()}
    return Equalization(layered, Ranges(ranges.low | low, ranges.high | high, means))


def _scaled(
    graph: Graph, node: NodeProto, outputs: Channels, inputs: Channels
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a layer's weights, as they are stored, and its bias, scaled."""
    rows, bias = graph.weights(node)
    groups = attribute(node, "group", 1)
    parts = rows.reshape(groups, len(rows) // groups, rows.shape[1], -1)
    parts = parts / inputs[: groups * rows.shape[1]].reshape(groups, 1, -1, 1)
    weights = parts.reshape(rows.shape) * outputs.reshape(-1, *(1,) * (rows.ndim - 1))
    stored = weights if graph.outputs_first(node) else np.ascontiguousarray(weights.T)
    return stored.astype(np.float32), (bias * outputs).astype(np.float32)


@dataclass(frozen=True)
class _Tensors:
    """Tensors of one scale: the classes and ends of all their channels, (C,)."""

    classes: Tensor
    low: Tensor
    high: Tensor

    def step(self, factors: Tensor) -> Tensor:
        scale = factors[self.classes]
        return ((scale * self.high).max() - (scale * self.low).min()) / 255


@dataclass(frozen=True)
class _Rows:
    """A layer that mixes inputs, its weights by the largest of each row and input.

    `powers` (G, O, I) are these over the largest of the row, to the power of the norm, `steps`
    (G, O) the rows' steps as they are; `inputs` (G, I) are mean squares over the output's.
    """

    classes: Tensor
    powers: Tensor
    steps: Tensor
    inputs: Tensor

    def error(self, factors: Tensor) -> Tensor:
        scale = factors[self.classes]
        widened = (self.powers @ (scale**-_NORM)[..., None])[..., 0] ** (1 / _NORM)
        return (((widened * self.steps) ** 2).sum(1) * (self.inputs * scale**2).sum(1)).sum()


class _Errors:
    """The power of rounding errors as a function of the factors of classes."""

    def __init__(
        self,
        graph: Graph,
        classes: Mapping[str, Classes],
        seen: Mapping[str, tuple[Channels, Channels]],
        power: Mapping[str, Channels],
    ) -> None:
        self._graph, self._classes, self._seen, self._power = graph, classes, seen, power
        self._points = points(graph, ())
        self._count = 1 + max(int(found.max()) for found in classes.values())
        self._tensors = {first: self._alike(first) for first in set(self._points.values())}
        self._read = {first: np.zeros(self._count) for first in self._tensors}
        self._rows = list[_Rows]()
        for node in graph.nodes:
            if graph.is_layer(node):
                self._add_layer(node)
            elif graph.is_sum(node):
                self._add_sum(node)

    def least(self) -> Channels:
        """Return the factors for which errors are least, by class."""
        low, high = self._limits()
        read = [
            (tensors, _tensor(self._read[first]))
            for first, tensors in self._tensors.items()
            if tensors is not None
        ]
        logarithms = torch.zeros(self._count, requires_grad=True)
        optimizer = torch.optim.Adam([logarithms])
        for left in np.linspace(1, 0, _STEPS, endpoint=False):
            optimizer.param_groups[0]["lr"] = _RATE * left
            optimizer.zero_grad()
            factors = logarithms.exp()
            errors = [t.step(factors) ** 2 * (sums / factors**2).sum() for t, sums in read]
            errors += [_WEIGHTS * rows.error(factors) for rows in self._rows]
            torch.stack(errors).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                logarithms.clamp_(low, high)
        least: Channels = logarithms.detach().exp().numpy()
        return least

    def _limits(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest logarithm of factors, by class."""
        high = np.full(self._count, np.log(_MOST))
        low = -high
        for name, (least, most) in self._seen.items():
            classes, top = self._classes[name], _top(self._graph, name)
            still = (least == 0) & (most == 0)  # what no clip stirs tells nothing
            high[classes[still]] = low[classes[still]] = 0
            if np.isfinite(top):
                room = np.log(top / most.clip(1e-9, top * (1 - 1e-6)))
                np.minimum.at(high, classes, np.where(still, 0, _FILLED * room))
                low[classes] = 0
        high[[FIXED, ZEROS]] = low[[FIXED, ZEROS]] = 0
        return _tensor(low), _tensor(high)

    def _alike(self, first: str) -> _Tensors | None:
        """Return the tensors that share the scale of the first, None where none can be scaled."""
        names = [name for name, other in self._points.items() if other == first]
        if names[0] not in self._seen:
            return None
        classes = np.concatenate([self._classes[name] for name in names])
        low, high = (
            np.concatenate([np.maximum(sign * self._seen[name][i], 0) for name in names])
            for i, sign in ((0, -1), (1, 1))
        )
        low, high = (end**_FILLED * end.max() ** (1 - _FILLED) for end in (low, high))
        return _Tensors(torch.from_numpy(classes), _tensor(-low), _tensor(high))

    def _add_layer(self, node: NodeProto) -> None:
        rows, _ = self._graph.weights(node)
        groups, name = attribute(node, "group", 1), node.input[0]
        weights = np.abs(rows).reshape(groups, len(rows) // groups, rows.shape[1], -1)
        classes, output = self._classes[name], self._size(node.output[0])
        self._add_read(name, classes, (weights**2).sum((1, 3)).ravel() / output)
        if rows.shape[1] == 1 or (classes == FIXED).all():
            return
        largest = weights.max(3)
        top = largest.max(2) + 1e-12
        inputs = self._power[name].reshape(groups, -1) * weights.shape[3] / output
        self._rows.append(
            _Rows(
                torch.from_numpy(classes.reshape(groups, -1)),
                _tensor(np.maximum((largest / top[..., None]) ** _NORM, _LEAST)),
                _tensor(top / 127),
                _tensor(inputs),
            )
        )

    def _add_sum(self, node: NodeProto) -> None:
        for name in (root for read in node.input for root in self._graph.roots(read)):
            classes = self._classes[name]
            self._add_read(name, classes, np.full(len(classes), 1 / self._size(name)))

    def _add_read(self, name: str, classes: Classes, sums: NDArray[np.floating]) -> None:
        """Count what errors of a tensor's channels, per square of its step, add to an output's."""
        (first,) = {self._points[root] for root in self._graph.roots(name)}
        np.add.at(self._read[first], classes, sums)

    def _size(self, name: str) -> float:
        return float(self._power[name].sum()) + 1e-12


def _top(graph: Graph, name: str) -> float:
    """Return the highest value that a tensor can have, where it is clipped."""
    node = graph.producer(name)
    return graph.limits(node)[1] if node is not None and node.op_type == "Clip" else np.inf


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
