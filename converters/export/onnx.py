"""The reference network as ONNX: static shape, an opset that old engines read."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from edge_tsm.bundle.card import METADATA_KEY, TARGET_KEY, Card, Target
from edge_tsm.errors import ExportError

# TensorRT 8.6 reads up to opset 17, ONNX Runtime of JetPack 6 (1.18) IR version 10. torch's newer
# exporter starts at 18, and its down-conversion fails on Pad; the TorchScript one writes 17 itself.
OPSET = 17
IR_VERSION = 8


def export_onnx(model: nn.Module, card: Card, path: Path) -> Path:
    """Write `model` to `path` with the card's input shapes and names.

    Raises:
        ExportError: torch cannot export the network.
    """
    shapes = [card.input.shape, *(cache.shape for cache in card.state)]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # Shapes are meant to become constants, and the exporter is chosen (see above).
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                tuple(torch.zeros(shape) for shape in shapes),
                str(path),
                input_names=[card.input.name, *(cache.input for cache in card.state)],
                output_names=[card.output.name, *(cache.output for cache in card.state)],
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"ONNX export failed: {error}") from error
    return path


def stamp(source: Path, card: Card, path: Path, *, target: Target = "any") -> Path:
    """Write `source` to `path` with the card inside and an IR version that old engines read.

    A file for one target alone says so, for whoever gets it without its bundle.
    """
    model = onnx.load(str(source))
    mark = {} if target == "any" else {TARGET_KEY: target}
    onnx.helper.set_model_props(model, {METADATA_KEY: card.embedded(), **mark})
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
