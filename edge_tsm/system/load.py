"""How busy and how hot the machine is, from Linux; what is not there is None or left out."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Megabytes: of this process, of the machine, and what is free of it."""

    used_mb: float
    total_mb: float
    free_mb: float


@dataclass(frozen=True)
class Disk:
    """Megabytes of the file system that a folder is on."""

    free_mb: int
    total_mb: int


def memory(root: Path = Path("/")) -> Memory:
    """Read /proc/meminfo and /proc/self/status below `root`.

    >>> memory().used_mb > 1
    True
    """
    machine, process = _kilobytes(root / "proc/meminfo"), _kilobytes(root / "proc/self/status")
    return Memory(
        used_mb=round(process.get("VmRSS", 0) / 1024, 1),
        total_mb=round(machine.get("MemTotal", 0) / 1024, 1),
        free_mb=round(machine.get("MemAvailable", 0) / 1024, 1),
    )


def temperature_c(root: Path = Path("/")) -> float | None:
    """Return the highest temperature of the thermal zones; None where there are none."""
    found = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):  # a sensor that is switched off
            continue
    return max((value for value in found if -50 < value < 200), default=None)


def load_1() -> float:
    """Return how many processes wanted to run, on average over a minute.

    >>> load_1() >= 0
    True
    """
    return round(os.getloadavg()[0], 2)


def disk(path: Path) -> Disk | None:
    """Return the room on the file system of a path, or of the folder it will be in.

    >>> disk(Path("/tmp/not/there/yet")).total_mb > 0
    True
    """
    for folder in (path, *path.absolute().parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return Disk(usage.free // 1_000_000, usage.total // 1_000_000)
    return None


def _kilobytes(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    parts = [line.replace(":", " ").split() for line in lines]
    return {p[0]: int(p[1]) for p in parts if len(p) == 3 and p[2] == "kB" and p[1].isdecimal()}
