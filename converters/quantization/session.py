"""ONNX Runtime over a graph that is being quantized."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from edge_tsm.backends import RuntimeOptions
from edge_tsm.backends.onnxruntime import session_options
from edge_tsm.system.machine import processor


def open_session(model: Path | bytes, *, spin: bool = True) -> onnxruntime.InferenceSession:
    """Open a graph as the runtime does: int8 sums are exact, also on an x86 CPU without VNNI.

    Args:
        spin: whether threads wait busily for work, which is faster for one session and starves
            the others where there are many.
    """
    settings = session_options(RuntimeOptions(), processor())
    if not spin:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        settings,
        providers=["CPUExecutionProvider"],
    )
