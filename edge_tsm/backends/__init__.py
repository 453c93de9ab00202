"""Inference engines behind one protocol; an engine's package is imported when it is opened.

An engine is an entry in `ENGINES` and a module that implements it. Another package brings one as an
entry point of the group `edge_tsm.engines` that refers to an `Engine`; it is looked up when it is
asked for by name.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from edge_tsm.backends.base import Backend, Engine, EngineModule, RuntimeOptions
from edge_tsm.backends.compiled import CompiledCache
from edge_tsm.errors import BackendError
from edge_tsm.system.plugins import plugin

__all__ = [
    "ENGINES",
    "Backend",
    "Engine",
    "RuntimeOptions",
    "artifact_parts",
    "candidates",
    "devices",
    "engine",
    "engine_of",
    "find_engine",
    "installed",
    "open_backend",
    "readers",
    "versions",
]

ENGINES: dict[str, Engine] = {
    "onnxruntime": Engine(
        title="ONNX Runtime",
        module="edge_tsm.backends.onnxruntime",
        package="onnxruntime",
        distributions=(  # a Jetson has one of the others
            *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
            *("onnxruntime-qnn", "onnxruntime-training"),
        ),
        install="edge-tsm[onnx]",
        suffixes=(".onnx",),
        devices=("cpu", "cuda", "tensorrt"),
        keeps_compiled=True,
    ),
    "openvino": Engine(
        title="OpenVINO",
        module="edge_tsm.backends.openvino",
        package="openvino",
        distributions=("openvino",),
        install="edge-tsm[openvino]",
        suffixes=(".xml", ".onnx"),
        devices=("cpu",),
        any_device=True,
        parts={".xml": (".bin",)},
        int8_saturates=True,
        preferred_on_x86=True,
        keeps_compiled=True,
    ),
    "mnn": Engine(
        title="MNN",
        module="edge_tsm.backends.mnn",
        package="MNN",
        distributions=("MNN",),
        install="edge-tsm[mnn]",
        suffixes=(".mnn",),
        devices=("cpu",),
        crashes_on_damage=True,
    ),
    "litert": Engine(
        title="LiteRT",
        module="edge_tsm.backends.litert",
        package="ai_edge_litert",
        distributions=("ai-edge-litert",),
        install="edge-tsm[litert]",
        suffixes=(".tflite",),
        devices=("cpu",),
        crashes_on_damage=True,
    ),
}


def find_engine(name: str) -> Engine | None:
    """Return the engine of that name: from the table, else from another package, else None.

    Raises:
        BackendError: another package's engine does not load.
    """
    if name in ENGINES:
        return ENGINES[name]
    try:
        found = plugin("engines", name)
    except ImportError as error:
        raise BackendError(f"engine {name!r} is installed but does not load: {error}") from error
    if found is not None and not isinstance(found, Engine):
        raise BackendError(f"engine {name!r}: its entry point refers to {found!r:.60}, no Engine")
    return found


def engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        BackendError: it is unknown, or does not load.

    >>> engine("openvino").suffixes
    ('.xml', '.onnx')
    """
    found = find_engine(name)
    if found is None:
        raise BackendError(f"engine {name!r} is unknown; choose {' or '.join(ENGINES)}")
    return found


def readers(path: Path, engines: Iterable[str] = ENGINES) -> list[str]:
    """Return those of `engines` that read files like `path`, by suffix, the native one first.

    >>> readers(Path("model.onnx"))
    ['onnxruntime', 'openvino']
    """
    ranks = {
        name: suffixes.index(path.suffix)
        for name in engines
        if path.suffix in (suffixes := engine(name).suffixes)
    }
    return sorted(ranks, key=ranks.__getitem__)


def engine_of(path: Path) -> str:
    """Return the engine whose own form `path` is in, by suffix.

    Raises:
        BackendError: no engine reads such files.

    >>> engine_of(Path("model.xml"))
    'openvino'
    """
    found = readers(path)
    if not found:
        raise BackendError(f"no engine reads {path.name}")
    return found[0]


def artifact_parts(path: Path, engine_name: str | None = None) -> list[Path]:
    """Return the files that belong to an artifact beside `path` itself, as an IR's `.bin`.

    >>> artifact_parts(Path("model.xml"))
    [PosixPath('model.bin')]
    """
    suffixes = engine(engine_name or engine_of(path)).parts.get(path.suffix, ())
    return [path.with_suffix(suffix) for suffix in suffixes]


def installed(name: str) -> bool:
    """Return whether the engine's package can be found."""
    return importlib.util.find_spec(engine(name).package) is not None


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of those that are installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def candidates(device: str, engine_name: str | None = None) -> tuple[str, ...]:
    """Return the installed engines that may serve `device`, the preferred first.

    On x86 OpenVINO is preferred for the CPU, elsewhere ONNX Runtime; `engine_name` restricts the
    choice.

    Raises:
        BackendError: the engine is unknown, or none is installed (names the extra to install).
    """
    wanted = [engine_name] if engine_name else _engines_for(device.lower())
    found = tuple(name for name in wanted if installed(name))
    if not found:
        extras = " or ".join(f"pip install '{engine(name).install}'" for name in wanted)
        raise BackendError(
            f"device {device!r} needs {' or '.join(wanted)}, not installed: {extras}"
        )
    return found


def _engines_for(device: str) -> list[str]:
    named = [name for name, known in ENGINES.items() if device in known.devices]
    found = named or [name for name, known in ENGINES.items() if known.any_device]
    if platform.machine().lower() in ("x86_64", "amd64"):
        found.sort(key=lambda name: not ENGINES[name].preferred_on_x86)
    return found


def devices(engine_name: str) -> tuple[str, ...]:
    """Return the devices of this machine that an installed engine offers, as `device` names them.

    Raises:
        BackendError: the engine is unknown or not installed, or does not load.
    """
    return _module(engine_name, "cpu").devices()


def open_backend(
    engine_name: str, path: Path, options: RuntimeOptions, *, checksum: str | None = None
) -> Backend:
    """Open `path` with an engine.

    With the `checksum` of its files, what an engine that can makes of it is kept for the next time.

    Raises:
        BackendError: the engine is not installed, the device is not available, or the file is
            refused.
    """
    module = _module(engine_name, options.device)
    if checksum is not None and engine(engine_name).keeps_compiled:
        return module.open_model(path, options, CompiledCache(checksum, options))
    return module.open_model(path, options)


def _module(engine_name: str, device: str) -> EngineModule:
    candidates(device, engine_name)
    try:
        return cast("EngineModule", importlib.import_module(engine(engine_name).module))
    except ImportError as error:
        raise BackendError(f"{engine_name} is installed but does not load: {error}") from error
