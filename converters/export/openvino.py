"""OpenVINO IR from ONNX, the card in its rt_info."""

from __future__ import annotations

from pathlib import Path

import openvino

from edge_tsm.bundle.card import Card
from edge_tsm.errors import ExportError


def write_ir(source: Path, card: Card, path: Path, *, f16: bool = False) -> Path:
    """Write the ONNX model `source` as `path` (.xml) with its .bin; `f16` halves the weights.

    `Core.read_model` and not `convert_model`: the latter reports its use over the network.

    Raises:
        ExportError: OpenVINO cannot read the graph or write the files.
    """
    try:
        model = openvino.Core().read_model(source)
        model.set_rt_info(card.embedded(), ["edge_tsm", "card"])
        openvino.save_model(model, path, compress_to_fp16=f16)
    except RuntimeError as error:
        raise ExportError(f"{path.name}: OpenVINO could not write it: {error}") from error
    return path
