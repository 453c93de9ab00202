"""Which channels of a network's tensors can be scaled without a change of what it answers.

Every output channel of a layer gets a mark, a number. The graph is then run node by node on marks
instead of values: what moves values moves marks, however it slices, shifts or reshapes, so the
marks of what a layer reads tell which channels it is made of. Channels that are added or pooled
together, or that one input channel of a layer holds at different places, must be scaled alike: they
are one class. An operator for which f(s x) = s f(x) does not hold fixes what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from converters.quantization.graph import MOVES, Graph, attribute
from converters.quantization.nodes import Array, Values, forget, run, uses
from converters.quantization.observer import Feed

Classes = NDArray[np.int64]  # of each channel along axis 1, (C,)
ZEROS, FIXED = 0, 1  # padding, right at any scale; what must stay as it is
_POOLS = frozenset(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMean"))
_PIXELS = range(2, 5)  # axes of (N, C, H, W) or (N, C, T, H, W) that a mean may be taken over


@dataclass(frozen=True)
class Traced:
    """A tensor's shape and the classes of its channels, (C,); FIXED alone where it has none."""

    shape: tuple[int, ...]
    classes: Classes


def trace(graph: Graph, feed: Feed, tensors: Iterable[str]) -> dict[str, Traced]:
    """Return what is found of `tensors` by name; `feed` is one run."""
    return _Tracer(graph, frozenset(tensors)).run(feed)


@dataclass
class _Tracer:
    graph: Graph
    wanted: frozenset[str]
    parents: list[int] = field(default_factory=lambda: [ZEROS, FIXED])
    seen: dict[str, Traced] = field(default_factory=dict)
    marks: Values = field(default_factory=dict)  # of integers and booleans, the values themselves

    def run(self, feed: Feed) -> dict[str, Traced]:
        """Trace all nodes."""
        values, left = {name: [value] for name, value in feed.items()}, uses(self.graph)
        for name, [value] in values.items():
            self._mark(name, value, np.full_like(value, FIXED))
        for node in filter(self.graph.data, self.graph.nodes):
            found = run(self.graph, node, values)
            for name, [value] in found.items():
                self._mark(name, value, self._rule(node)(self, node, value))
            values |= found
            forget(self.graph.data(node), left, values, self.marks)
        for name in self.graph.outputs:
            self._fix(name)
        return {
            name: Traced(seen.shape, np.array([*map(self._class, seen.classes)]))
            for name, seen in self.seen.items()
        }

    def _mark(self, name: str, value: Array, marks: Array) -> None:
        """Keep the marks of a tensor of floats; of other numbers keep themselves."""
        self.marks[name] = [marks if value.dtype == np.float32 else value]
        if name in self.wanted:
            self.seen[name] = Traced(value.shape, self._along(name))

    def _rule(self, node: NodeProto) -> _Rule:
        if self.graph.is_layer(node):
            return _Tracer._layer
        single = len([name for name in node.output if name]) == 1
        return _RULES.get(node.op_type, _Tracer._other) if single else _Tracer._other

    def _along(self, name: str) -> Classes:
        """Return the marks of a tensor's channels; several of one channel become one class."""
        [marks] = self.marks[name]
        if marks.ndim < 2:
            self._fix(name)
            return np.array([FIXED])
        rows = np.moveaxis(marks, 1, 0).reshape(marks.shape[1], -1).astype(np.int64)
        high: Classes = rows.max(1)
        low = np.where(rows == ZEROS, rows.max(), rows).min(1)
        for row in rows[low < high]:
            self._join(*np.unique(row))
        return high

    def _join(self, *marks: int) -> None:
        """Make one class of marks; what is fixed stays the first."""
        classes = sorted({self._class(mark) for mark in marks} - {ZEROS})
        for other in classes[1:]:
            self.parents[other] = classes[0]

    def _class(self, mark: int) -> int:
        while self.parents[mark] != mark:
            mark = self.parents[mark]
        return mark

    def _fix(self, name: str) -> None:
        [marks] = self.marks[name]
        for mark in np.unique(marks).astype(np.int64) if marks.dtype == np.float32 else ():
            self._join(FIXED, mark)

    def _layer(self, node: NodeProto, value: Array) -> Array:
        self._along(node.input[0])
        first, count = len(self.parents), value.shape[1]
        self.parents.extend(range(first, first + count))
        return _spread(np.arange(first, first + count), value)

    def _moved(self, node: NodeProto, value: Array) -> Array:
        constants = [self.graph.constants[n] for n in node.input if n in self.graph.constants]
        if any(c.dtype == np.float32 and c.any() for c in constants):
            return self._other(node, value)
        return run(self.graph, node, self.marks)[node.output[0]][0]

    def _kept(self, node: NodeProto, value: Array) -> Array:
        return self.marks[node.input[0]][0]

    def _clipped(self, node: NodeProto, value: Array) -> Array:
        """Keep marks where the lower end is 0 or none; an upper one is the caller's to mind."""
        low, high = self.graph.limits(node)
        if len(self.graph.data(node)) > 1:
            return self._other(node, value)
        minded = node.output[0] in self.wanted or not np.isfinite(high)
        kept = minded and (not low or not np.isfinite(low))
        return self._kept(node, value) if kept else self._other(node, value)

    def _pooled(self, node: NodeProto, value: Array) -> Array:
        given = self.marks[node.input[0]][0]
        axes = [axis % given.ndim for axis in attribute(node, "axes", _PIXELS[: given.ndim - 2])]
        if not set(axes) <= set(_PIXELS):
            return self._other(node, value)
        return _spread(self._along(node.input[0]), value)

    def _sum(self, node: NodeProto, value: Array) -> Array:
        data = self.graph.data(node)
        if len(data) < 2 or len({self.marks[name][0].shape for name in data}) > 1:
            return self._other(node, value)
        first, second = map(self._along, data)
        for pair in zip(first, second, strict=True):
            self._join(*pair)
        return _spread(np.maximum(first, second), value)

    def _gated(self, node: NodeProto, value: Array) -> Array:
        """Keep the marks of what a fixed factor multiplies."""
        for one, other in (node.input, reversed(node.input)):
            if {one, other} <= self.marks.keys() and self._fixed(other):
                return np.broadcast_to(self.marks[one][0], value.shape)
        return self._other(node, value)

    def _fixed(self, name: str) -> bool:
        marks = np.unique(self.marks[name][0]).astype(np.int64)
        return all(self._class(mark) == FIXED for mark in marks)

    def _other(self, node: NodeProto, value: Array) -> Array:
        for name in self.graph.data(node):
            self._fix(name)
        return np.full_like(value, FIXED)


def _spread(classes: Classes, value: Array) -> Array:
    """Return the marks of a tensor's channels as marks of all its values."""
    marks = classes.astype(np.float32).reshape(1, -1, *(1,) * (value.ndim - 2))
    return np.ascontiguousarray(np.broadcast_to(marks, value.shape))


_Rule = Callable[[_Tracer, NodeProto, Array], Array]
_RULES: dict[str, _Rule] = (
    dict.fromkeys(MOVES, _Tracer._moved)
    | dict.fromkeys(_POOLS, _Tracer._pooled)
    | dict.fromkeys(("Relu", "LeakyRelu"), _Tracer._kept)
    | {"Clip": _Tracer._clipped, "Add": _Tracer._sum, "Mul": _Tracer._gated}
)
