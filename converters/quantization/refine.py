"""Weights and biases of an int8 graph fitted to calibration clips, layer after layer.

The float network and its int8 twin run side by side, one node at a time over all clips. When they
reach a layer, the inputs x' that int8 hands it are known, and so is what it should answer: the
float network's y = W x + b. The layer is then fitted:

1. Weights are rounded input by input; the error of each rounding is passed on to the inputs that
   follow, as far as the covariance of x' says that they can make up for it (GPTQ: Frantar et al.
   2023, arXiv:2210.17323, which solves AdaRound's objective for a layer in closed form).
2. Bias: what is left of the mean error of each output channel is taken off (Nagel et al. 2019,
   "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, here with
   the means of both twins as they are).

The graph has the same nodes as without, so this costs no time on a device. The same clips give the
same weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor

from converters.quantization.calibration import Count, unseen
from converters.quantization.graph import Graph, attribute, layer_name
from converters.quantization.nodes import Array, Values, forget, peak_bytes, run, through, uses
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

_MOST_BYTES = 2 << 30  # that both twins hold at a time; clips that do not fit are left out, evenly
_SAMPLES = 8192  # of a layer's inputs, over all clips
_RIDGE = 0.01  # of an input's mean variance
_MOST_INPUTS = 1152  # whose covariance is taken
_BLOCK = 128
_SEED = 20190401


def refine(
    source: Path,
    ranges: Ranges,
    form: Form,
    feeds: Iterable[Feed],
    *,
    keep: Collection[str] = (),
    count: Count = unseen,
) -> dict[str, Layer]:
    """Return what the layers of the f32 model `source` are to hold in int8, by name.

    Layers named in `keep` stay float and are left out.
    """
    graph, given = read_graph(source), list(feeds)
    most = max(1, _MOST_BYTES // (2 * peak_bytes(graph, given[0])))
    chosen = given[:: -(-len(given) // most)]
    where = points(graph, keep)
    twins = _Twins(graph, where, scales(where, ranges, form), form, frozenset(keep))
    return twins.run(chosen, count)


@dataclass
class _Twins:
    """The float network and its int8 twin, which run node by node."""

    graph: Graph
    points: Mapping[str, str]
    scales: Mapping[str, Scale]
    form: Form
    keep: frozenset[str]
    float_: Values = field(default_factory=dict)
    int8: Values = field(default_factory=dict)

    def run(self, feeds: Sequence[Feed], count: Count) -> dict[str, Layer]:
        """Fit all layers."""
        for name in self.graph.inputs:
            self._set(name, [feed[name] for feed in feeds], [feed[name] for feed in feeds])
        fitted: dict[str, Layer] = {}
        left, total = uses(self.graph), len(self.graph.layers)
        for node in filter(self.graph.data, self.graph.nodes):
            count("int8 layers", len(fitted), total)
            outputs = run(self.graph, node, self.float_)
            if self.graph.is_layer(node) and layer_name(node) not in self.keep:
                fitted[layer_name(node)], twins = self._fit(node, outputs[node.output[0]])
            else:
                twins = run(self.graph, node, self.int8)
            for name, values in outputs.items():
                self._set(name, values, twins[name])
            forget(self.graph.data(node), left, self.float_, self.int8)
        return fitted

    def _set(self, name: str, values: list[Array], twins: list[Array]) -> None:
        """Keep what both hold, the int8 twin after its quantizer if there is one."""
        if name in self.points:
            scale = self.scales[self.points[name]]
            twins = [through(scale, value) for value in twins]
        self.float_[name], self.int8[name] = values, twins

    def _fit(self, node: NodeProto, wanted: list[Array]) -> tuple[Layer, Values]:
        """Return a layer's weights, and what the int8 twin answers with them."""
        rows, bias = self.graph.weights(node)
        layer = self._rounded(node, rows, bias)
        weights = dequantized(layer)
        stored = weights if self.graph.outputs_first(node) else np.ascontiguousarray(weights.T)
        found = run(self.graph, node, self.int8, {node.input[1]: stored})[node.output[0]]
        axes = (0, *range(2, wanted[0].ndim))
        off = np.mean([(x - y).mean(axes) for x, y in zip(wanted, found, strict=True)], axis=0)
        shift = off.reshape(1, -1, *(1,) * (wanted[0].ndim - 2))
        layer = replace(layer, bias=(bias + off).astype(np.float32))
        return layer, {node.output[0]: [value + shift for value in found]}

    def _rounded(self, node: NodeProto, rows: Array, bias: Array) -> Layer:
        groups, parts = attribute(node, "group", 1), _parts(rows.shape)
        weights = torch.from_numpy(rows.reshape(groups, len(rows) // groups, parts, -1).copy())
        weights = weights.transpose(1, 2).double()  # (G, P, O, K)
        twin = _samples(node, self.int8[node.input[0]], rows.shape)
        twin = twin.reshape(groups, -1, parts, weights.shape[3]).transpose(1, 2)
        covariance = (twin.mT @ twin).double() / twin.shape[2]
        size = _RIDGE * covariance.diagonal(dim1=2, dim2=3).mean(2).clamp(min=1e-12)
        ridge = torch.eye(weights.shape[3], dtype=weights.dtype) * size[:, :, None, None]
        integers, scale = _round(weights, covariance + ridge, self.form.weight_max)
        shaped = integers.transpose(1, 2).reshape(rows.shape).numpy().astype(np.int8)
        return Layer(shaped, scale.reshape(-1).numpy().astype(np.float32), bias)


def _parts(shape: tuple[int, ...]) -> int:
    """Return into how many equal parts a layer's input channels are cut.

    A part's inputs make up for each other, other parts' do not: the covariance of all would take
    minutes.
    """
    channels, kernel = shape[1], int(np.prod(shape[2:]))
    fitting = (
        n
        for n in range(1, channels + 1)
        if channels % n == 0 and channels // n * kernel <= _MOST_INPUTS
    )
    return next(fitting, channels)


def _round(weights: Tensor, covariance: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return integers (G, P, O, K) and scales (G, O); `covariance` is that of the inputs."""
    scale = (weights.abs().amax((1, 3)) / most).clamp(min=1e-9)
    step = scale[:, None]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left, integers = weights.clone(), torch.zeros_like(weights)
    for start in range(0, weights.shape[3], _BLOCK):
        end = min(start + _BLOCK, weights.shape[3])
        errors = torch.zeros_like(left[..., start:end])
        for j in range(start, end):
            integers[..., j] = (left[..., j] / step).round().clamp(-most, most)
            error = (left[..., j] - integers[..., j] * step) / factor[..., j, j, None]
            errors[..., j - start] = error
            left[..., j:end] -= error[..., None] * factor[..., None, j, j:end]
        left[..., end:] -= errors @ factor[..., start:end, end:]
    return integers, scale


def _samples(node: NodeProto, values: Sequence[Array], shape: tuple[int, ...]) -> Tensor:
    """Return centered inputs of S outputs of a layer at random places, (G, S, K)."""
    random, each = np.random.default_rng(_SEED), max(1, _SAMPLES // len(values))
    groups = attribute(node, "group", 1)
    if node.op_type == "Conv":
        found = [_patches(node, value, shape[2:], each, random) for value in values]
    else:
        found = list(values)
    rows = torch.from_numpy(np.concatenate(found).reshape(-1, groups, found[0][0].size // groups))
    return (rows - rows.mean(0)).transpose(0, 1)


def _patches(
    node: NodeProto, x: Array, kernel: tuple[int, ...], each: int, random: np.random.Generator
) -> Array:
    """Return what the kernel sees at `each` random places of (N, C, H, W): (each, C, kh, kw)."""
    top, left, bottom, right = attribute(node, "pads", [0] * 4)
    steps, apart = (attribute(node, name, [1, 1]) for name in ("strides", "dilations"))
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    frames = random.integers(0, len(x), each)
    places = []
    for size, wide, step, gap in zip(x.shape[2:], kernel, steps, apart, strict=True):
        ends = (size - gap * (wide - 1) - 1) // step + 1
        start = random.integers(0, ends, each) * step
        places.append(start[:, None] + gap * np.arange(wide))
    seen = x[frames[:, None, None], :, places[0][:, :, None], places[1][:, None, :]]
    return np.ascontiguousarray(seen.transpose(0, 3, 1, 2))
