"""OpenVINO: Intel CPU, iGPU, and whatever else it finds on the machine."""

from __future__ import annotations

import io
import logging
import queue
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from edge_tsm.backends.base import Backend, RuntimeOptions, check_precision
from edge_tsm.backends.compiled import Compiled, CompiledCache
from edge_tsm.bundle.card import METADATA_KEY, TARGET_KEY
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError
from edge_tsm.system.machine import physical_cores

_log = logging.getLogger("edge_tsm")
_MATH = ("f32", "f16", "bf16")


class OpenVinoBackend:
    """One IR (or ONNX) model on one OpenVINO device, which is never silently replaced."""

    engine = "openvino"

    def __init__(
        self, path: Path, options: RuntimeOptions, cache: CompiledCache | None = None
    ) -> None:
        self.device = options.device.lower()
        self.streams, self._closed = options.streams, False
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # requests, each for one run
        core = openvino.Core()
        device = _device(core, options.device)
        try:
            compiled, self.card_text = _opened(
                core, path, _Target(device, _properties(device, options)), cache
            )
            for _ in range(self.streams):
                self._idle.put(compiled.create_infer_request())
        except BackendError:
            raise
        except RuntimeError as error:
            raise BackendError(
                f"{path}: OpenVINO refuses it on {device}: {_last(error)}"
            ) from error
        ports = enumerate(compiled.inputs)
        self._places = {p.get_any_name(): (i, p.get_element_type().to_dtype()) for i, p in ports}
        _tell_precision(compiled, device, options.precision)
        self._names = [output.get_any_name() for output in compiled.outputs]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name."""
        request = self._idle.get()
        try:
            if self._closed:
                raise BackendError("this model is closed")
            results = request.infer(self._tensors(inputs), share_inputs=True)
            return dict(zip(self._names, results.to_tuple(), strict=True))
        except RuntimeError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"OpenVINO failed: {_last(error)}") from error
        finally:
            self._idle.put(None if self._closed else request)

    def _tensors(self, inputs: Mapping[str, Tensor]) -> dict[int, openvino.Tensor]:
        """Return the inputs by place, around the caller's arrays.

        Arrays by name, and outputs looked up one by one, cost an online step of ten caches a tenth
        of a millisecond more (measured). An input that is missing would be that of the run before.

        Raises:
            BackendError: other inputs than the model's.
        """
        if inputs.keys() != self._places.keys():
            raise BackendError(f"OpenVINO: the inputs are {', '.join(self._places)}")
        tensors = {}
        for name, array in inputs.items():
            place, kind = self._places[name]
            shared = np.require(array, kind, ["C", "W"])
            tensors[place] = openvino.Tensor(shared, shared_memory=True)
        return tensors

    def close(self) -> None:
        """Release the compiled model; what runs now does so at its end."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait()
        self._idle.put(None)  # who waits for a request learns of it


def open_model(path: Path, options: RuntimeOptions, cache: CompiledCache | None = None) -> Backend:
    """Open an IR or ONNX file; see `EngineModule`."""
    return OpenVinoBackend(path, options, cache)


@dataclass(frozen=True)
class _Target:
    """What a model is compiled for."""

    device: str
    properties: Mapping[str, Any]


def _opened(
    core: openvino.Core, path: Path, target: _Target, cache: CompiledCache | None
) -> tuple[Any, str | None]:
    """Return a compiled model and the card in its file: as compiled before, if that is kept."""
    name = f"openvino {openvino.__version__} {target.device}"
    if cache is not None and (kept := cache.read(name)) is not None:
        try:
            model = core.import_model(io.BytesIO(kept.blob), target.device, dict(target.properties))
            return model, kept.card_text
        except RuntimeError as error:
            _log.info("%s: what was compiled does not open any more: %s", path, _last(error))
            cache.drop(name)
    read = core.read_model(path)
    _refuse_other_targets(path, read)
    card_text = _card_text(read)
    compiled = core.compile_model(read, target.device, target.properties)
    if cache is not None:
        try:
            cache.write(name, Compiled(compiled.export_model().getvalue(), card_text))
        except RuntimeError as error:  # not every device exports
            _log.info("%s: not kept as compiled: %s", path, _last(error))
    return compiled, card_text


def _refuse_other_targets(path: Path, model: openvino.Model) -> None:
    if model.has_rt_info(["framework", TARGET_KEY]):
        target = model.get_rt_info(["framework", TARGET_KEY]).value
        # Measured with 2026.4: where a shift follows a quantizer of signed bytes, it gives
        # those before it as few as ten levels, and logits are off by half their range.
        raise BackendError(
            f"{path} is int8 for {target} alone, which OpenVINO answers wrongly; take "
            "model.int8.onnx or model.int8.xml, or engine onnxruntime"
        )


def devices() -> tuple[str, ...]:
    """Return the devices that OpenVINO finds."""
    return tuple(name.lower() for name in openvino.Core().available_devices)


def _device(core: openvino.Core, wanted: str) -> str:
    here = list(core.available_devices)
    if wanted.upper() == "AUTO" or wanted.upper() in here:
        return str(wanted.upper())
    # One GPU is listed as "GPU", several as "GPU.0", "GPU.1": plain "gpu" means the first.
    first: list[str] = [name for name in here if name.startswith(wanted.upper() + ".")]
    if first:
        return first[0]
    offered = ", ".join(name.lower() for name in here)
    raise BackendError(
        f"device {wanted!r} is not available; OpenVINO here offers {offered} and auto"
    )


def _properties(device: str, options: RuntimeOptions) -> dict[str, Any]:
    """Return compile properties; the precision hint keeps f32 where engines would take less."""
    check_precision(options.precision, "OpenVINO", _MATH)
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if options.streams == 1 else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": options.precision,
    }
    if device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = options.threads or physical_cores()
        properties["NUM_STREAMS"] = options.streams
    elif options.cache_dir is not None:  # what the CPU compiles is kept by CompiledCache
        properties["CACHE_DIR"] = str(options.cache_dir)
    return properties


def _tell_precision(compiled: Any, device: str, wanted: str) -> None:
    """Warn where OpenVINO takes another arithmetic than was asked for; f32 is never replaced."""
    if wanted != "f32":
        taken = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != wanted:
            _log.warning("%s does not compute in %s: OpenVINO takes %s", device, wanted, taken)


def _card_text(model: openvino.Model) -> str | None:
    for path in (["edge_tsm", "card"], ["framework", METADATA_KEY]):  # IR, ONNX
        if model.has_rt_info(path):
            return str(model.get_rt_info(path).value)
    return None


def _last(error: RuntimeError) -> str:
    """Return the line of an OpenVINO error that says what is wrong, after the C++ places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
