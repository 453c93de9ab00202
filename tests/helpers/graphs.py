"""Files of a network as a conversion makes them, without its proofs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from converters.architectures.classifier import build_reference
from converters.bundling import card_of
from converters.export.onnx import export_onnx, stamp
from converters.export.openvino import write_ir
from converters.export.simplify import simplify
from converters.planning import Plan
from converters.verification.reference import run_artifact
from edge_tsm.backends import RuntimeOptions, open_backend
from edge_tsm.bundle.card import Card

ENGINES = ("onnxruntime", "openvino")


def card_for(planned: Plan) -> Card:
    """The card of a bundle, before anything is proven."""
    return card_of(planned.recipe, "x", checkpoint_sha256="0" * 64)


def graphs(planned: Plan, folder: Path, model: nn.Module | None = None) -> dict[str, Path]:
    """By engine the simplified graph, in the form that the engine runs best."""
    model = model or build_reference(planned.recipe, planned.checkpoint.tensors)
    network, found = planned.recipe.network, dict[str, Path]()
    for engine in ENGINES:
        form = network.forms.get(engine)
        path = found[engine] = folder / f"{form or 'graph'}.onnx"
        if not path.exists():
            formed = model if form is None else network.formed(model, form)
            exported = export_onnx(formed, card_for(planned), folder / "exported.onnx")
            problem = simplify(exported, path)
            assert problem is None, problem
            exported.unlink()
    return found


def artifacts(planned: Plan, folder: Path, model: nn.Module | None = None) -> dict[str, Path]:
    """By engine its file of a bundle: ONNX and IR."""
    source, card = graphs(planned, folder, model), card_for(planned)
    return {
        "onnxruntime": stamp(source["onnxruntime"], card, folder / "model.onnx"),
        "openvino": write_ir(source["openvino"], card, folder / "model.xml"),
    }


def answers(path: Path, engine: str, card: Card, clips: np.ndarray) -> np.ndarray:
    """An engine's logits of (K, T*3, S, S) clips."""
    backend = open_backend(engine, path, RuntimeOptions())
    try:
        return run_artifact(backend, card, clips)
    finally:
        backend.close()
