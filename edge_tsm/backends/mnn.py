"""MNN: CPUs, small ones too; float only.

Its own int8 was tried with the ranges and weights of the int8 ONNX file: as exact as that, and
slower than its f32 (`docs/formats.md` has the figures), so none is written.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_tsm.backends.base import Backend, RuntimeOptions, check_device, check_precision
from edge_tsm.bundle.card import METADATA_KEY
from edge_tsm.bundle.mnnfile import metadata
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError
from edge_tsm.system.machine import physical_cores


class _Quiet:
    """Lets what C code prints go nowhere; Python's own output does not pass through there.

    MNN prints lines of its own to standard output at import and for every session, where answers
    are printed as JSON. The way to nowhere is never closed: what is loaded meanwhile keeps it (C++
    streams do, and crashed at exit). C libraries that have no `stdout` to set are left alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        try:
            self._stdout: ctypes.c_void_p | None = ctypes.c_void_p.in_dll(libc, "stdout")
        except ValueError:
            self._stdout = None
        self._nowhere = libc.fopen(b"/dev/null", b"w")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Be quiet for a while."""
        if self._stdout is None or not self._nowhere:
            yield
            return
        with self._lock:
            before, self._stdout.value = self._stdout.value, self._nowhere
            try:
                yield
            finally:
                self._stdout.value = before


_quiet = _Quiet()
with _quiet():
    import MNN

_MATH = {"f32": "high", "f16": "low"}


class MnnBackend:
    """One MNN model on the CPU."""

    engine = "mnn"

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        self.device = options.device.lower()
        settings = _settings(options)
        self.card_text: str | None = metadata(path).get(METADATA_KEY)
        self._lock = threading.Lock()
        with _quiet():
            try:
                self._net: Any = MNN.Interpreter(str(path))
                self._session: Any = self._net.createSession(settings)
            except Exception as error:  # MNN raises just that
                raise BackendError(f"{path}: MNN refuses it: {error}") from error

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name."""
        with self._lock:  # a session serves one caller at a time
            if self._session is None:
                raise BackendError("this model is closed")
            self._resize(inputs)
            for name, tensor in self._inputs().items():
                tensor.copyFrom(_host(np.ascontiguousarray(inputs[name], np.float32)))
            if code := self._net.runSession(self._session):
                raise BackendError(f"MNN failed with code {code}")
            outputs = self._net.getSessionOutputAll(self._session)
            return {name: _read(tensor) for name, tensor in outputs.items()}

    def _inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = self._net.getSessionInputAll(self._session)
        return found

    def _resize(self, inputs: Mapping[str, Tensor]) -> None:
        """Prepare for as many clips as there are; MNN itself takes whatever shape it is given.

        Raises:
            BackendError: other inputs, or other shapes than the model's.
        """
        here = {name: tuple(tensor.getShape()) for name, tensor in self._inputs().items()}
        if inputs.keys() != here.keys():
            raise BackendError(f"MNN: the inputs are {', '.join(here)}, not {', '.join(inputs)}")
        given = {name: inputs[name].shape for name in here}
        if given == here:
            return
        for name, shape in given.items():
            if shape[1:] != here[name][1:]:
                raise BackendError(f"MNN: input {name} is {here[name]}, not {shape}")
        with _quiet():
            for name, tensor in self._inputs().items():
                self._net.resizeTensor(tensor, given[name])
            self._net.resizeSession(self._session)

    def close(self) -> None:
        """Release the session."""
        with self._lock:
            self._session = self._net = None


def open_model(path: Path, options: RuntimeOptions) -> Backend:
    """Open an MNN file; see `EngineModule`."""
    return MnnBackend(path, options)


def devices() -> tuple[str, ...]:
    """Return the devices that MNN's wheels serve."""
    return ("cpu",)


def _settings(options: RuntimeOptions) -> dict[str, Any]:
    """Return a session's settings; high precision keeps f32 where MNN would take less."""
    check_device(options.device, "MNN", devices())
    check_precision(options.precision, "MNN", _MATH)
    return {
        "backend": "CPU",
        "numThread": options.threads or physical_cores(),
        "precision": _MATH[options.precision],
    }


def _host(values: Tensor) -> Any:
    """Return values as MNN takes and gives them: in the order of the ONNX model's dimensions."""
    return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe)


def _read(tensor: Any) -> Tensor:
    host = _host(np.empty(tensor.getShape(), np.float32))
    tensor.copyToHostTensor(host)
    return np.array(host.getNumpyData())
