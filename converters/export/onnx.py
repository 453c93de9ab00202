"""The reference network as ONNX: by default of static shape, an opset that old engines read."""

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
OPSETS = range(11, 21)  # from Pad with its amounts as an input, to where the exporter ends
INT8_OPSETS = range(13, 18)  # from scales per channel, to axes of reductions as an input
IR_VERSION = 8
_TRACED_CLIPS = 2


def export_onnx(model: nn.Module, card: Card, path: Path, *, opset: int = OPSET) -> Path:
    """Write `model` to `path` with the card's input shapes and names.

    Where the card's batch is dynamic, all shapes begin with a free dimension "batch".

    Raises:
        ExportError: torch cannot export the network, or not with that opset.
    """
    check_opset(opset)
    shapes = [card.input.shape, *(cache.shape for cache in card.state)]
    inputs = [card.input.name, *(cache.input for cache in card.state)]
    outputs = [card.output.name, *(cache.output for cache in card.state)]
    free = {name: {0: "batch"} for name in (*inputs, *outputs)}
    if card.input.dynamic_batch:  # one clip takes short cuts that mix the frames of several
        shapes = [(_TRACED_CLIPS, *shape[1:]) for shape in shapes]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # Shapes are meant to become constants, and the exporter is chosen (see above).
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                tuple(torch.zeros(shape) for shape in shapes),
                str(path),
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=free if card.input.dynamic_batch else None,
                opset_version=opset,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"ONNX export failed: {error}") from error
    return path


def check_opset(opset: int) -> None:
    """Refuse operator sets in which nothing was verified.

    Raises:
        ExportError: it names the range.
    """
    if opset not in OPSETS:
        raise ExportError(
            f"opset is {opset}; graphs of {OPSETS[0]} to {OPSETS[-1]} are written and verified, "
            f"and {OPSET} is what old engines read"
        )


def stamp(source: Path, card: Card, path: Path, *, target: Target = "any") -> Path:
    """Write `source` to `path` with the card inside and an IR version that old engines read.

    A file for one target alone says so, for whoever gets it without its bundle.
    """
    model = onnx.load(str(source))
    mark = {} if target == "any" else {TARGET_KEY: target}
    onnx.helper.set_model_props(model, {METADATA_KEY: card.embedded(), **mark})
    # An opset that is newer than the usual one may need a newer IR version.
    model.ir_version = max(IR_VERSION, onnx.helper.find_min_ir_version_for(model.opset_import))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
