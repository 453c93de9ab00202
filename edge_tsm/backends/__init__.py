"""Inference engines behind one protocol; an engine's package is imported when it is opened."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from pathlib import Path

from edge_tsm.backends.base import Backend, RuntimeOptions
from edge_tsm.errors import BackendError

__all__ = [
    "ENGINES",
    "ORTS",
    "Backend",
    "RuntimeOptions",
    "candidates",
    "devices",
    "installed",
    "open_backend",
    "versions",
]

ENGINES = ("onnxruntime", "openvino")
# Distributions that bring the module `onnxruntime`; a Jetson has one of the others.
ORTS = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    *("onnxruntime-qnn", "onnxruntime-training"),
)
_EXTRA = {"onnxruntime": "onnx", "openvino": "openvino"}
_ORT_DEVICES = ("cuda", "tensorrt")


def installed(engine: str) -> bool:
    """Return whether the engine's package can be found."""
    return importlib.util.find_spec(engine) is not None


def versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def candidates(device: str, engine: str | None = None) -> tuple[str, ...]:
    """Return the installed engines that may serve `device`, the preferred first.

    On x86 OpenVINO is preferred for the CPU, elsewhere ONNX Runtime; `engine` restricts the choice.

    Raises:
        BackendError: the engine is unknown, or none is installed (names the extra to install).
    """
    if engine is not None and engine not in ENGINES:
        raise BackendError(f"engine {engine!r} is unknown; choose {' or '.join(ENGINES)}")
    wanted = (engine,) if engine else _engines_of(device.lower())
    found = tuple(name for name in wanted if installed(name))
    if not found:
        extras = " or ".join(f"pip install 'edge-tsm[{_EXTRA[name]}]'" for name in wanted)
        raise BackendError(
            f"device {device!r} needs {' or '.join(wanted)}, not installed: {extras}"
        )
    return found


def _engines_of(device: str) -> tuple[str, ...]:
    if device == "cpu":
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        return ENGINES[::-1] if x86 else ENGINES
    return ("onnxruntime",) if device in _ORT_DEVICES else ("openvino",)


def devices(engine: str) -> tuple[str, ...]:
    """Return the devices of this machine that an installed engine offers, as `device` names them.

    Raises:
        BackendError: the engine is unknown or not installed, or does not load.
    """
    candidates("cpu", engine)
    try:
        if engine == "onnxruntime":
            from edge_tsm.backends.onnxruntime import devices as offered
        else:
            from edge_tsm.backends.openvino import devices as offered
    except ImportError as error:
        raise BackendError(f"{engine} is installed but does not load: {error}") from error
    return offered()


def open_backend(engine: str, path: Path, options: RuntimeOptions) -> Backend:
    """Open `path` with `engine`.

    Raises:
        BackendError: the engine is not installed, the device is not there, or the file is refused.
    """
    candidates(options.device, engine)
    try:
        if engine == "onnxruntime":
            from edge_tsm.backends.onnxruntime import OnnxRuntimeBackend as Opened
        else:
            from edge_tsm.backends.openvino import OpenVinoBackend as Opened  # type: ignore[assignment]
    except ImportError as error:
        raise BackendError(f"{engine} is installed but does not load: {error}") from error
    return Opened(path, options)
