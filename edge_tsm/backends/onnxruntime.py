"""ONNX Runtime: CPU, and on a Jetson or any NVIDIA machine CUDA and TensorRT."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from edge_tsm.backends.base import Backend, RuntimeOptions, check_device, check_precision
from edge_tsm.backends.compiled import Compiled, CompiledCache
from edge_tsm.bundle.card import METADATA_KEY
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError
from edge_tsm.system.cache import cache_folder
from edge_tsm.system.machine import Processor, physical_cores, processor

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# ONNX Runtime's error classes share no base but Exception.
ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    TypeError,
    ValueError,
    MemoryError,
    *(
        kind
        for kind in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)
_log = logging.getLogger("edge_tsm")
# Bytes of a file from which its optimized graph is not kept: of int8 ResNet-50, 24 MB, reading and
# checking it takes longer than making it anew (103 against 73 ms); of 2.6 MB 15 against 24 ms.
_LARGEST_KEPT = 8 << 20
_MATH = {"cpu": ("f32",), "cuda": ("f32",), "tensorrt": ("f32", "f16", "int8")}


class OnnxRuntimeBackend:
    """One ONNX model on one execution provider, which is never silently replaced."""

    engine = "onnxruntime"

    def __init__(
        self, path: Path, options: RuntimeOptions, cache: CompiledCache | None = None
    ) -> None:
        self.device = options.device.lower()
        self.streams = options.streams
        provider = self._provider()
        try:
            self._session, self.card_text = _opened(path, options, cache)
        except BackendError:
            raise
        except ORT_ERRORS as error:
            raise BackendError(f"{path}: ONNX Runtime refuses it: {_first_line(error)}") from error
        # ORT drops a provider that fails to start and goes on with the CPU.
        if provider not in self._session.get_providers():
            raise BackendError(
                f"{provider} failed to start; ONNX Runtime would use the CPU instead"
            )
        self._names = [output.name for output in self._session.get_outputs()]
        if self.device == "tensorrt":
            refuse_free_batch(path, [one.shape for one in self._session.get_inputs()])

    def _provider(self) -> str:
        check_device(self.device, "ONNX Runtime", devices())
        return PROVIDERS[self.device]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name."""
        if self._session is None:
            raise BackendError("this model is closed")
        try:
            outputs = self._session.run(self._names, dict(inputs))
            return dict(zip(self._names, outputs, strict=True))
        except ORT_ERRORS as error:
            raise BackendError(f"ONNX Runtime failed: {_first_line(error)}") from error

    def close(self) -> None:
        """Release the session."""
        self._session = None


def open_model(path: Path, options: RuntimeOptions, cache: CompiledCache | None = None) -> Backend:
    """Open an ONNX file; see `EngineModule`."""
    return OnnxRuntimeBackend(path, options, cache)


def _opened(
    path: Path, options: RuntimeOptions, cache: CompiledCache | None
) -> tuple[Any, str | None]:
    """Return a session and the card in its file: of the graph as optimized before, if it is kept.

    Only on the CPU, as TensorRT keeps engines itself, and where that is sooner.
    """
    settings, providers = session_options(options, processor()), provider_options(options)
    is_large = path.is_file() and path.stat().st_size > _LARGEST_KEPT
    if cache is None or is_large or options.device.lower() != "cpu":
        session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
        return session, _card_text(session)
    name = f"onnxruntime {onnxruntime.__version__}"
    if (kept := cache.read(name)) is not None:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(kept.blob, settings, providers=providers)
            return session, kept.card_text
        except ORT_ERRORS as error:
            _log.info("%s: the kept graph does not open any more: %s", path, _first_line(error))
            cache.drop(name)
    from tempfile import TemporaryDirectory  # slow to import, and mostly the graph is kept

    with TemporaryDirectory(prefix="edge-tsm-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        settings = session_options(options, processor())
        settings.optimized_model_filepath = str(optimized)
        session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
        card_text = _card_text(session)
        cache.write(name, Compiled(optimized.read_bytes(), card_text))
    return session, card_text


def _card_text(session: Any) -> str | None:
    text: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return text


def devices() -> tuple[str, ...]:
    """Return the devices that the installed ONNX Runtime was built for."""
    built = onnxruntime.get_available_providers()
    return tuple(device for device, provider in PROVIDERS.items() if provider in built)


def refuse_free_batch(path: Path, shapes: Iterable[Sequence[int | str | None]]) -> None:
    """Refuse, for TensorRT, inputs with a dimension that is no number.

    Raises:
        BackendError: it would build an engine, which takes minutes, whenever a new size comes.
    """
    if any(not isinstance(side, int) for shape in shapes for side in shape):
        raise BackendError(
            f"{path} takes any batch size, and TensorRT would build an engine of minutes for each; "
            "take device cuda, or convert with --batch N instead of --dynamic-batch"
        )


def session_options(options: RuntimeOptions, cpu: Processor) -> onnxruntime.SessionOptions:
    """Return ONNX Runtime's session options for `options` on `cpu`."""
    settings = onnxruntime.SessionOptions()
    threads = options.threads or physical_cores()
    settings.intra_op_num_threads = max(threads // options.streams, 1)
    settings.log_severity_level = 3
    # Without VNNI, x86 kernels add pairs of uint8 x int8 products in 16 bits and saturate
    # (onnxruntime #6004, #14642). This makes weights uint8, where they are not 7-bit. Not with
    # VNNI, where it takes effect too: ResNet-18's int8 then takes 3.4 times as long (measured).
    if not cpu.has_fast_int8:
        settings.add_session_config_entry("session.x64quantprecision", "1")
    return settings


def provider_options(options: RuntimeOptions) -> list[tuple[str, dict[str, Any]]]:
    """Return ONNX Runtime's provider list for `options`.

    TensorRT gets an engine and timing cache (a first build takes minutes) and hands what it cannot
    run to CUDA.

    Raises:
        BackendError: the device has no such precision.
    """
    device = options.device.lower()
    check_precision(options.precision, f"ONNX Runtime on {device}", _MATH[device])
    if device != "tensorrt":
        return [(PROVIDERS[device], {})]
    cache = options.cache_dir or cache_folder() / "tensorrt"
    cache.mkdir(parents=True, exist_ok=True)
    tensorrt = {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
        "trt_fp16_enable": options.precision == "f16",
        "trt_int8_enable": options.precision == "int8",
    }
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], {})]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
