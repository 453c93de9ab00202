"""What a network's tensors hold on calibration clips: their range, and the mean per channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from converters.quantization.session import open_session
from edge_tsm.datatypes import Tensor

Channels = NDArray[np.float32]  # of each channel, (C,)
Feed = Mapping[str, Tensor]  # one run: input name to tensor; of an online model the caches too


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest value per tensor; mean per channel of those that feed a layer."""

    low: dict[str, float]
    high: dict[str, float]
    means: dict[str, NDArray[np.float32]]


def observe(
    model: ModelProto, feeds: Iterable[Feed], *, tensors: Sequence[str], means: Mapping[str, int]
) -> Ranges:
    """Run `model` on every feed and watch `tensors`; `means` is tensor to rank.

    The graph reduces them itself, so that no activation leaves the engine.
    """
    nodes = [
        helper.make_node(kind, [name], [f"{name}:{kind}"], keepdims=0)
        for kind in ("ReduceMin", "ReduceMax")
        for name in tensors
    ]
    for name, rank in means.items():
        axes = [axis for axis in range(rank) if axis != 1]
        nodes.append(
            helper.make_node("ReduceMean", [name], [f"{name}:mean"], axes=axes, keepdims=0)
        )
    runs = _watch(model, nodes, feeds)
    return Ranges(
        {name: float(np.min(runs[f"{name}:ReduceMin"])) for name in tensors},
        {name: float(np.max(runs[f"{name}:ReduceMax"])) for name in tensors},
        {name: np.mean(runs[f"{name}:mean"], axis=0, dtype=np.float32) for name in means},
    )


def extremes(
    model: ModelProto, feeds: Iterable[Feed], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Channels, Channels]]:
    """Return lowest and highest value of each channel, along axis 1, of tensors of these shapes."""
    runs = _reduce(model, feeds, shapes, ("ReduceMin", "ReduceMax"))
    return {name: (low.min(0), high.max(0)) for name, (low, high) in runs.items()}


def powers(
    model: ModelProto, feeds: Iterable[Feed], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Channels]:
    """Return the mean square of each channel, along axis 1, of tensors of these shapes."""
    runs = _reduce(model, feeds, shapes, ("ReduceL2",))
    return {
        name: (sizes**2).mean(0) * shapes[name][1] / np.prod(shapes[name])
        for name, (sizes,) in runs.items()
    }


def _reduce(
    model: ModelProto,
    feeds: Iterable[Feed],
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Sequence[str],
) -> dict[str, list[Channels]]:
    """Return for each tensor what each kind of reduction gives, (K, C)."""
    nodes = [
        helper.make_node(
            kind,
            [name],
            [f"{name}:{kind}"],
            axes=[axis for axis in range(len(shape)) if axis != 1],
            keepdims=0,
        )
        for kind in kinds
        for name, shape in shapes.items()
    ]
    runs = _watch(model, nodes, feeds)
    return {name: [np.stack(runs[f"{name}:{kind}"]) for kind in kinds] for name in shapes}


def _watch(
    model: ModelProto, nodes: Sequence[NodeProto], feeds: Iterable[Feed]
) -> dict[str, list[NDArray[np.float32]]]:
    """Return what further nodes of a model answer to each feed, by output."""
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.node.extend(nodes)
    del watched.graph.output[:]
    outputs = [node.output[0] for node in nodes]
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs
    )
    return _run(watched, outputs, feeds)


def _run(
    model: ModelProto, outputs: Sequence[str], feeds: Iterable[Feed]
) -> dict[str, list[NDArray[np.float32]]]:
    session = open_session(model.SerializeToString())
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
    for feed in feeds:
        for name, value in zip(outputs, session.run(outputs, dict(feed)), strict=True):
            rows[name].append(value)
    return rows
