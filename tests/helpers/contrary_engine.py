"""An engine that computes f32 rightly and int8 wrongly: its int8 logits have the other sign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_tsm.backends import Backend, Engine, RuntimeOptions, onnxruntime
from edge_tsm.datatypes import Tensor

ENGINE = Engine(
    title="Contrary",
    module="tests.helpers.contrary_engine",
    package="tests.helpers.contrary_engine",
    distributions=("pytest",),
    install="contrary",
    devices=("cpu",),
    suffixes=(".contrary", ".onnx"),  # .onnx second: not its own form
)


class ContraryBackend:
    engine = "contrary"

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        self._inner = onnxruntime.open_model(path, options)
        self._sign = -1 if "int8" in path.name else 1
        self.device, self.card_text = self._inner.device, self._inner.card_text

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._sign * value for name, value in self._inner.run(inputs).items()}

    def close(self) -> None:
        self._inner.close()


def devices() -> tuple[str, ...]:
    return ("cpu",)


def open_model(path: Path, options: RuntimeOptions) -> Backend:
    return ContraryBackend(path, options)
