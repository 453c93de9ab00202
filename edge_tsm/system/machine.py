"""What Linux says about the machine: processor, cores, limits of a container, cameras."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

# Flags of /proc/cpuinfo that engines make use of, x86 and ARM, with the name people know.
_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "bf16",
    "avx512_fp16": "f16",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "asimdhp": "f16",
    "asimddp": "dot product",
    "i8mm": "int8 matrix",
    "bf16": "bf16",
    "sve": "SVE",
}
_FAST_INT8 = frozenset(("VNNI", "AMX int8", "dot product", "int8 matrix"))


@dataclass(frozen=True)
class Processor:
    """The model's name, what it can do, the cores this process may use, a container's limit."""

    model: str
    features: tuple[str, ...]
    cores: int
    quota: float | None

    @property
    def has_fast_int8(self) -> bool:
        """Whether it multiplies and adds bytes in one step; False where that is unknown."""
        return bool(_FAST_INT8.intersection(self.features))

    @property
    def int8_saturates(self) -> bool:
        """Whether it is an x86 CPU that sums pairs of uint8 x int8 products in 16 bits."""
        return not self.has_fast_int8 and "AVX2" in self.features


@dataclass(frozen=True)
class VideoDevice:
    """One camera: the device file, its name, its path that survives replugging, our permission."""

    path: str
    name: str
    stable: str | None
    allowed: bool


def processor(root: Path = Path("/")) -> Processor:
    """Read /proc/cpuinfo and the cgroup below `root`; what is missing is left out."""
    lines = _text(root / "proc/cpuinfo").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    facts = {key.strip(): value.strip() for key, value in reversed(pairs)}
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    model = facts.get("model name") or _text(root / "proc/device-tree/model").strip("\0\n ")
    names = dict.fromkeys(name for flag, name in _FEATURES.items() if flag in flags)
    return Processor(model or "unknown processor", tuple(names), usable_cores(), _quota(root))


def processor_identity(root: Path = Path("/")) -> str:
    """Return the CPU's name and all its features, which decide how fast and how exact int8 is."""
    lines = _text(root / "proc/cpuinfo").splitlines()
    kept = ("model name", "flags", "Features", "CPU part", "Hardware", "Model")
    found = dict.fromkeys(line for line in lines if line.startswith(kept))
    return "\n".join(found) or platform.processor() or platform.machine()


def process_age_s(root: Path = Path("/")) -> float | None:
    """Return the seconds since this process was started; None where Linux does not say it.

    >>> process_age_s() > 0
    True
    """
    facts = _text(root / "proc/self/stat").rpartition(")")[2].split()
    up = _text(root / "proc/uptime").split()
    if len(facts) < 20 or not up:
        return None
    return float(up[0]) - int(facts[19]) / os.sysconf("SC_CLK_TCK")


def usable_cores() -> int:
    """Return the number of logical cores this process may run on: for threads that wait a lot."""
    return len(_cpus())


def physical_cores() -> int:
    """Return the number of physical cores this process may run on: for threads that compute.

    From the affinity mask and not the host's count: in a container the host's is wrong, and ONNX
    Runtime fails to pin threads outside the mask (onnxruntime #8313). Hyper-threads are counted
    once: convolutions keep a core busy alone.
    """
    return len({_core(cpu) for cpu in _cpus()})


def _cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core(cpu: int) -> str:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return "/".join((topology / n).read_text() for n in ("physical_package_id", "core_id"))
    except OSError:
        return str(cpu)


def video_devices(root: Path = Path("/")) -> list[VideoDevice]:
    """Return the cameras that Linux knows, from /sys/class/video4linux below `root`.

    A camera has further nodes for its metadata; only the first of each is for pictures.
    """
    nodes = sorted((root / "sys/class/video4linux").glob("video*"), key=_number)
    return [
        VideoDevice(
            f"/dev/{node.name}",
            _text(node / "name").strip() or node.name,
            _stable(root, node.name),
            os.access(root / "dev" / node.name, os.R_OK | os.W_OK),
        )
        for node in nodes
        if _text(node / "index").strip() in ("", "0")
    ]


def _stable(root: Path, name: str) -> str | None:
    for link in sorted((root / "dev/v4l/by-id").glob("*")):
        if link.is_symlink() and link.readlink().name == name:
            return f"/dev/v4l/by-id/{link.name}"
    return None


def _quota(root: Path) -> float | None:
    """Return the CPU time in cores that a container is limited to (cgroup v2, then v1)."""
    limit = _text(root / "sys/fs/cgroup/cpu.max").split()
    if not limit:
        v1 = root / "sys/fs/cgroup/cpu"
        limit = [_text(v1 / f"cpu.cfs_{part}_us").strip() for part in ("quota", "period")]
    if len(limit) != 2 or not all(part.isdecimal() for part in limit) or not int(limit[1]):
        return None
    return int(limit[0]) / int(limit[1])


def _number(node: Path) -> int:
    digits = node.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
