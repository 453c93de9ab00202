"""What every inference engine offers, and the options that all of them understand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from edge_tsm.datatypes import Tensor
from edge_tsm.errors import BackendError

if TYPE_CHECKING:
    from edge_tsm.backends.compiled import CompiledCache

Math = Literal["f32", "f16", "bf16", "int8"]


@dataclass(frozen=True)
class RuntimeOptions:
    """Options of an engine.

    `device`: cpu, cuda or tensorrt (ONNX Runtime); cpu, gpu (the Intel iGPU), auto or any device
    OpenVINO lists. `threads`: CPU threads, by default the physical cores this process may use.
    `precision`: arithmetic the engine may use; the default f32 keeps answers as verified, where
    engines left alone choose f16 or bf16. `cache_dir`: compiled engines (TensorRT, iGPU), by
    default the user's cache folder. `streams`: runs of the model that may overlap, which share the
    threads: more clips a second, each of them later.

    >>> RuntimeOptions(threads=2).device
    'cpu'
    """

    device: str = "cpu"
    threads: int | None = None
    precision: Math = "f32"
    cache_dir: Path | None = None
    streams: int = 1


class Backend(Protocol):
    """An opened model: tensors in, tensors out, no state of its own.

    `engine` and `device` name what it runs on; `card_text` is the card embedded in the file, None
    without one. A backend may say by an attribute `streams` how many runs, from threads of the
    caller, it works on at once; without it they take turns.

    >>> import numpy as np
    >>> from edge_tsm import demo, load
    >>> with load(demo.bundle()) as recognizer:
    ...     outputs = recognizer.backend.run({"clip": np.zeros((1, 24, 224, 224), np.float32)})
    >>> outputs["logits"].shape
    (1, 9)
    """

    engine: str
    device: str
    card_text: str | None

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name.

        Raises:
            BackendError: the model is closed, or the engine fails.
        """
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


class EngineModule(Protocol):
    """What the module of an engine offers; its import needs the engine's package."""

    def open_model(
        self, path: Path, options: RuntimeOptions, cache: CompiledCache | None = None
    ) -> Backend:
        """Open an artifact; an engine that `keeps_compiled` is also given a `CompiledCache`.

        Raises:
            BackendError: the device is not available, or the file is refused.
        """
        ...

    def devices(self) -> tuple[str, ...]:
        """Return the devices of this machine that the engine offers, as `device` names them."""
        ...


@dataclass(frozen=True)
class Engine:
    """An inference engine: everything the runtime decides by the kind of engine.

    `module` implements it (see `EngineModule`) and is imported when a model is opened; `package`
    is the top-level module it needs, `distributions` are what may bring that package, the usual
    one first, and `install` is what to pass to pip. `suffixes` of files it reads start with its
    native one; `parts` are the suffixes of files that accompany one of a suffix. It serves
    `devices`, and with `any_device` all that no other engine names. `title` is its name in text.
    `int8_saturates`: on an x86 CPU without VNNI its int8 sums may saturate. `preferred_on_x86`:
    there it comes before others that serve the same device. `crashes_on_damage`: a damaged file may
    end the process, so a file is checked before the engine sees it. `keeps_compiled`: its
    `open_model` also takes a `CompiledCache`.
    """

    title: str
    module: str
    package: str
    distributions: tuple[str, ...]
    install: str
    suffixes: tuple[str, ...]
    devices: tuple[str, ...]
    any_device: bool = False
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    int8_saturates: bool = False
    preferred_on_x86: bool = False
    crashes_on_damage: bool = False
    keeps_compiled: bool = False


def check_device(device: str, title: str, offered: Collection[str]) -> None:
    """Refuse a device that an engine does not have here.

    Raises:
        BackendError: it is none of those offered.
    """
    if device.lower() not in offered:
        here = ", ".join(offered)
        raise BackendError(f"device {device!r} is not available; {title} here offers {here}")


def check_precision(precision: str, title: str, offered: Collection[str]) -> None:
    """Refuse an arithmetic that an engine does not have.

    Raises:
        BackendError: it is none of those offered.
    """
    if precision not in offered:
        choices = ", ".join(offered)
        raise BackendError(f"precision {precision!r} is not offered by {title}; choose {choices}")
