"""LiteRT (formerly TensorFlow Lite): CPUs, small ones too; float only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edge_tsm.backends.base import Backend, RuntimeOptions, check_device, check_precision
from edge_tsm.bundle.tflitefile import read
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError
from edge_tsm.system.machine import physical_cores


class LitertBackend:
    """One LiteRT model on the CPU."""

    engine = "litert"

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        self.device = options.device.lower()
        check_device(options.device, "LiteRT", devices())
        check_precision(options.precision, "LiteRT", ("f32",))
        self.card_text: str | None
        self.card_text, self._names = read(path)
        self._lock = threading.Lock()
        threads = options.threads or physical_cores()
        try:
            self._net: Any = Interpreter(str(path), num_threads=threads)
            self._net.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"{path}: LiteRT refuses it: {error}") from error
        self._inputs = _places(self._net.get_input_details(), self._names.inputs, "args")
        self._outputs = _places(self._net.get_output_details(), self._names.outputs, "output")

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name."""
        with self._lock:  # an interpreter serves one caller at a time
            if self._net is None:
                raise BackendError("this model is closed")
            if inputs.keys() != self._inputs.keys():
                raise BackendError(f"LiteRT: the inputs are {', '.join(self._inputs)}")
            try:
                for name, place in self._inputs.items():
                    self._net.set_tensor(place, np.asarray(inputs[name], np.float32))
                self._net.invoke()
                return {name: self._net.get_tensor(at) for name, at in self._outputs.items()}
            except (ValueError, RuntimeError) as error:
                raise BackendError(f"LiteRT failed: {error}") from error

    def close(self) -> None:
        """Release the interpreter."""
        with self._lock:
            self._net = None


def open_model(path: Path, options: RuntimeOptions) -> Backend:
    """Open a LiteRT file; see `EngineModule`."""
    return LitertBackend(path, options)


def devices() -> tuple[str, ...]:
    """Return the devices that LiteRT's wheels serve here."""
    return ("cpu",)


def _places(details: list[dict[str, Any]], names: tuple[str, ...], kind: str) -> dict[str, int]:
    """Return where the tensor of each name is; the graph calls them args_0, … and output_0, …."""
    by_number = {_number(detail["name"], kind): int(detail["index"]) for detail in details}
    if by_number.keys() != set(range(len(names))):
        raise BackendError(f"LiteRT finds other tensors than the {len(names)} {kind} it should")
    return {name: by_number[number] for number, name in enumerate(names)}


def _number(name: str, kind: str) -> int:
    digits = name.partition(f"{kind}_")[2].partition("_")[0].partition(":")[0]
    return int(digits) if digits.isdecimal() else -1
