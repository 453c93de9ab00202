"""What a network's tensors hold on calibration clips: their range, and the mean per channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edge_tsm.datatypes import Tensor

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
    watched = ModelProto()
    watched.CopyFrom(model)
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
    watched.graph.node.extend(nodes)
    del watched.graph.output[:]
    outputs = [node.output[0] for node in nodes]
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs
    )
    runs = _run(watched, outputs, feeds)
    return Ranges(
        {name: float(np.min(runs[f"{name}:ReduceMin"])) for name in tensors},
        {name: float(np.max(runs[f"{name}:ReduceMax"])) for name in tensors},
        {name: np.mean(runs[f"{name}:mean"], axis=0, dtype=np.float32) for name in means},
    )


def _run(
    model: ModelProto, outputs: Sequence[str], feeds: Iterable[Feed]
) -> dict[str, list[NDArray[np.float32]]]:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
    for feed in feeds:
        for name, value in zip(outputs, session.run(outputs, dict(feed)), strict=True):
            rows[name].append(value)
    return rows
