"""What every inference engine offers, and the options all of them understand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edge_tsm.datatypes import Tensor

Math = Literal["f32", "f16", "bf16", "int8"]


@dataclass(frozen=True)
class RuntimeOptions:
    """Options of an engine.

    `device`: cpu, cuda or tensorrt (ONNX Runtime); cpu, gpu (the Intel iGPU), auto or any device
    OpenVINO lists. `threads`: CPU threads, by default the physical cores this process may use.
    `precision`: arithmetic the engine may use; the default f32 keeps answers as verified, where
    engines left alone choose f16 or bf16. `cache_dir`: compiled engines (TensorRT, iGPU), by
    default the user's cache folder.
    """

    device: str = "cpu"
    threads: int | None = None
    precision: Math = "f32"
    cache_dir: Path | None = None


class Backend(Protocol):
    """An opened model: tensors in, tensors out, no state of its own (R5)."""

    engine: str
    device: str
    card_text: str | None

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name."""
        ...

    def close(self) -> None:
        """Release the engine."""
        ...


def default_threads() -> int:
    """Return the number of physical cores this process may run on.

    From the affinity mask and not the host's count: in a container the host's is wrong, and ONNX
    Runtime fails to pin threads outside the mask (onnxruntime #8313). Hyper-threads are counted
    once: convolutions keep a core busy alone.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_core(cpu) for cpu in os.sched_getaffinity(0)})


def _core(cpu: int) -> str:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return "/".join((topology / n).read_text() for n in ("physical_package_id", "core_id"))
    except OSError:
        return str(cpu)
